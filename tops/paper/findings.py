"""One finding of the audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["agrees", "rounding", "contradiction", "open"]


@dataclass(frozen=True)
class Finding:
    """What a check of the paper's numbers found.

    Attributes
    ----------
    section : str
        Group of checks.
    where : str
        Table, row or sentence that was checked.
    printed, recomputed : str
        What the paper says and what follows from its own numbers.
    verdict : {"agrees", "rounding", "contradiction", "open"}
        ``rounding``: the difference can come from rounding of what is printed. ``open``: what is printed cannot tell.
    """

    section: str
    where: str
    printed: str
    recomputed: str
    verdict: Verdict
