"""Pruning inside vLLM: a plugin that shortens images before the language model of a vLLM engine sees them.

Selection and methods are those of the rest of the package; here is only what vLLM must be told.
:mod:`tops.serving.pruning` and :mod:`tops.serving.served` need neither torch nor vLLM.
"""
