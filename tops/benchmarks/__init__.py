"""A benchmark: its definition, its staged data, its documents, its stock task, and the rules that score answers."""
