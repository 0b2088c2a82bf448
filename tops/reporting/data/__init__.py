"""Numbers of a plan, read from the store, with their resamples."""
