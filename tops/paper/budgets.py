"""What a printed token number means for each method: which of our rows is the one to compare with the print."""

from __future__ import annotations

from dataclasses import dataclass

from tops.budget import Protocol


@dataclass(frozen=True)
class Meaning:
    """How a method's printed budget is to be read.

    Attributes
    ----------
    protocols : tuple of str
        Meanings of the budget, the likeliest first; later ones stand in where a backbone or budget has no earlier one.
    why : str
        The evidence.
    """

    protocols: tuple[Protocol, ...]
    why: str


_AVERAGE = Meaning(
    ("layer_average", "kept"),
    "tokens that a layer sees on average: FastV's 4.4 TFLOPs in Table 4 need it, and no method that cuts at layer 2 "
    "has a row below the floor that this has; kept tokens where the average cannot be met",
)
MEANINGS: dict[str, Meaning] = {
    "tops": Meaning(
        ("layer_average", "as_printed", "kept"),
        "Table 17's schedule of the same scores averages T, and Table 4's FLOPs fit it; Table 9's, which averages "
        "1.19 T, stands beside it",
    ),
    "sparsevlm": Meaning(
        ("as_printed", "layer_average", "kept"),
        "the authors' own schedules for 128 and 64 of 576 tokens, which papers run; they have none for other budgets",
    ),
    "dart": Meaning(
        ("as_printed", "kept", "layer_average"),
        "tokens after the cut, as the authors' code counts them (inferred: the printed rows at 32 and 160 tokens lie "
        "below the floor of a layer average)",
    ),
}


def meaning(method: str) -> Meaning:
    """How the paper's number is to be read for a method."""
    return MEANINGS.get(method, _AVERAGE)
