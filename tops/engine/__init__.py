"""Pruning inside a running model: hooks, segments on the cache, positions, masks, row attention."""

from tops.engine.record import PromptRecord, Run
from tops.engine.session import prune

__all__ = ["PromptRecord", "Run", "prune"]
