"""Durations for people."""

from __future__ import annotations


def duration(seconds: float, *, short: bool = False) -> str:
    """Hours and minutes, or minutes and seconds; ``short`` keeps tenths below a minute."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if short else f"{rest} s"
