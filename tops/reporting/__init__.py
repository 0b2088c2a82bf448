"""Reports of an experiment, written from the store alone. Nothing here imports torch."""
