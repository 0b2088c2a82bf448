"""What a claim compares in the store: rows of an experiment, a quantity, and the region it should lie in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Question = Literal[
    "better",  # ours minus the best rival, above 0
    "as good",  # ours minus the best rival, below a margin: a referee's question
    "value",  # the measure of ours, between low and high
    "difference",  # ours minus the best rival, between low and high
    "change",  # that difference at the level, minus the same at ``mild``, above 0
    "against unpruned",  # ours minus the unpruned model, above 0
    "spread",  # the largest variant over the smallest, minus 1, in percent, at most high
    "optimum",  # the best of the rivals (variants) minus the best of the other variants, above 0
    "gini",  # evenness of kept places over documents, at most high
    "entropy",  # the same by normalised entropy, at least low
    "bottom",  # share of kept tokens in the lower half of the image, at least low
    "agreement",  # Jaccard index of selections at different layers, at most high
    "prefill",  # from the record of the benchmark: times faster than the unpruned model
    "memory",  # the same: GB less
    "fastest",  # the same: prefill time of ours over the median of the other methods, at most high
    "flops",  # FLOPs of the unpruned model over ours, by the layer log
    "growth",  # from the record of scaling: exponent of the time over the number of tokens, at most high
]


@dataclass(frozen=True)
class Contrast:
    """A comparison of stored rows, at every backbone and budget of an experiment.

    Attributes
    ----------
    experiment : str
        Name under ``configs/experiment``; of records of the benchmark, the experiment that shows them.
    ours : tuple of str
        Method and variant.
    rivals : tuple of tuple
        Methods and variants; empty: every other method of the experiment.
    measure : str
        ``rel``, ``loss`` (100 minus Rel), ``acc`` or a column.
    level : str
        Only this level; empty for all.
    question : str
        Which quantity, and the region it should lie in.
    low, high : float or None
        Bounds of the region, where the question has none of its own.
    backbones : tuple of str
        Only these; empty for all.
    mild : str
        The level that ``change`` starts from.
    """

    experiment: str
    ours: tuple[str, str]
    rivals: tuple[tuple[str, str], ...] = ()
    measure: str = "rel"
    level: str = ""
    question: Question = "better"
    low: float | None = None
    high: float | None = None
    backbones: tuple[str, ...] = ()
    mild: str = ""

    @property
    def region(self) -> tuple[float, float]:
        """Where the quantity should lie; without a bound on the side that has none."""
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )

    @property
    def printed(self) -> bool:
        """Whether the region is made of numbers that the paper prints, which no miniature may be held against."""
        return self.question in ("value", "difference", "gini", "entropy", "prefill", "memory", "flops")
