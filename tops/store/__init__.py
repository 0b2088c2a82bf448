"""Stored results: cells and their keys, answers, the store, and its checks."""
