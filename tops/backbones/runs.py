"""Runs of visual placeholders in a prompt, for families whose processor sets marks around every image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tops.backbones.base import Call
from tops.errors import UnsupportedModelError


def placeholder_runs(call: Call, sample: int, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Token id and length of every run of equal visual placeholders in one sample, in prompt order.

    Raises
    ------
    UnsupportedModelError
        Without ``input_ids``, which alone tell one image from the next.
    """
    tokens = call.get("input_ids")
    if tokens is None:
        raise UnsupportedModelError("pruning this family needs input_ids; inputs_embeds alone do not tell images apart")
    return [(token, len(list(run))) for token, run in groupby(tokens[sample].tolist()) if token in ids]
