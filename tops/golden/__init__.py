"""Golden vectors: baselines against what their authors' code gives on the same arrays, TOPS against its algorithms."""
