"""transformers' own model tests, run on pruned models: ``python -m scripts.transformers_tests FOLDER``."""
