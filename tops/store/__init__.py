"""Stored results: the cell that names them, the answers, the store, and its checks."""
