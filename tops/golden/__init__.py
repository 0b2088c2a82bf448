"""Golden vectors: every method against what its authors' code gives on the same arrays."""
