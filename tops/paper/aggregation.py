"""How benchmark scores become Acc and Rel: the paper's rules beside the proper ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, Decimal, np.ndarray)

LLAVA_IMAGE = ("gqa", "scienceqa_img", "textvqa", "pope", "mme", "mmbench_en", "mmbench_cn", "mmvet")
ADVANCED = ("ai2d", "pope", "hallusionbench", "mme", "mmbench_en", "mmbench_cn", "mmstar", "scienceqa_img")
VIDEO_COLUMNS = (
    "mlvu",
    "longvideobench_val",
    "longvideobench_perception",
    "longvideobench_relation",
    "videomme",
    "videomme_short",
    "videomme_medium",
    "videomme_long",
)
VIDEO_TOTALS = ("mlvu", "longvideobench_val", "videomme")


@dataclass(frozen=True)
class AccRule:
    """Acc = the mean over benchmarks of score / divisor; divisors bring each score to 0-100.

    Attributes
    ----------
    text : str
        The rule in words, for captions.
    divisors : dict of str to int
        Benchmark to divisor, in printed order.
    """

    text: str
    divisors: dict[str, int]

    @property
    def weights(self) -> dict[str, float]:
        """What a point of each benchmark counts in Acc."""
        return {name: 1 / (divisor * len(self.divisors)) for name, divisor in self.divisors.items()}

    def acc(self, scores: Mapping[str, Number]) -> Number:
        """Mean of the scaled scores; shape of the scores.

        Raises
        ------
        KeyError
            If a benchmark of the rule is missing: an average over fewer benchmarks is another number.
        """
        terms = [scores[name] / divisor for name, divisor in self.divisors.items()]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total / len(terms)


def _rule(text: str, names: tuple[str, ...], **divisors: int) -> AccRule:
    return AccRule(text, {name: divisors.get(name, 1) for name in names})


_LLAVA = _rule("mean of 8 benchmarks, MME perception / 20", LLAVA_IMAGE, mme=20)
# By the name that an experiment gives: the rule that the paper's numbers follow, and the one in which every benchmark
# counts alike on a 0-100 scale (the same where that is already so).
PRINTED: dict[str, AccRule] = {
    "llava": _LLAVA,
    "advanced": _rule("mean of 8, the 2,800-point MME / 20 and POPE / 10", ADVANCED, mme=20, pope=10),
    "video": _rule("mean of 8 columns, totals and their splits alike", VIDEO_COLUMNS),
}
PROPER: dict[str, AccRule] = {
    "llava": _LLAVA,
    "advanced": _rule("mean of 8, the 2,800-point MME / 28, POPE as it is", ADVANCED, mme=28),
    "video": _rule("mean of the 3 benchmark totals", VIDEO_TOTALS),
}
_OF_TABLE = {"2": "advanced", "3": "video"}


def printed_rule(table: str) -> AccRule:
    """The rule that reproduces the printed Acc of a table (found by regression; see the audit)."""
    return PRINTED[_OF_TABLE.get(table, "llava")]


def proper_rule(table: str) -> AccRule:
    """The rule in which every benchmark of a table counts alike."""
    return PROPER[_OF_TABLE.get(table, "llava")]


def round_half_up(value: Decimal, digits: int = 1) -> Decimal:
    """Rounding as printed tables do it: halves go up."""
    return value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
