"""Errors that a user of tops may meet. Each message states the value, the constraint and the next step."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class TopsError(Exception):
    """Base of every error that tops raises on purpose."""


class ConfigurationError(TopsError, ValueError):
    """A setting is wrong in itself: unknown name, wrong type, contradiction."""


class BudgetError(ConfigurationError):
    """A token budget that this method cannot meet on this prompt."""


class MissingSignalError(ConfigurationError):
    """A method asks for something this backbone does not have, such as a CLIP text tower."""


class UnsupportedModelError(TopsError, TypeError):
    """A model class without an adapter, or a model in a mode that pruning cannot serve."""


class NonFiniteError(TopsError, ValueError):
    """NaN or infinity where a selection needs finite numbers."""


class DataError(TopsError):
    """A data set, checkpoint or stored result is missing, damaged or of another version."""


def nearest_names(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known ones, then all of them.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.
    """
    names = sorted(known)
    by_lower = {n.lower(): n for n in names}
    near = [by_lower[n] for n in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]
    hint = f"Did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
