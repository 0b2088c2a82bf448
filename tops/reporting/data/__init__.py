"""What the store holds for a plan, as numbers with their resamples."""
