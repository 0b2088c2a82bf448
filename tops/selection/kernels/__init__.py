"""Triton kernels: a whole greedy selection in one launch, one program per batch entry."""
