"""Benchmarks: each compares in one run, says on what hardware, and never quotes a number from elsewhere."""
