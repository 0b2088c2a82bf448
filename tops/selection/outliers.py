"""How many scores stand out."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.selection.checks import check_finite


def quartile_outliers(scores: Tensor) -> int:
    """How many scores lie strictly above Q3 + 1.5 (Q3 - Q1), with linearly interpolated quartiles.

    Parameters
    ----------
    scores : Tensor, (N,)
        Any float dtype, computed in float32.

    Raises
    ------
    NonFiniteError
        NaN or infinity in the scores.

    Notes
    -----
    Source: PruMerge (arXiv 2403.15388, section 3.2) and TRIM (arXiv 2409.10994, section 3.2).
    """
    check_finite("scores", scores)
    values = scores.float()
    q1, q3 = torch.quantile(values, torch.tensor([0.25, 0.75], device=values.device))
    return int((values > q3 + 1.5 * (q3 - q1)).sum())
