"""A local scan, window by window, and a global one (VScan)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tops.selection.checks import check_count, check_features, check_finite

Windows = Literal["sixteen", "four"]
SIDE = 4  # windows in a row (``sixteen``), or tokens in a row of a window (``four``)


@dataclass(frozen=True)
class Scans:
    """What is chosen among B units of N tokens.

    Attributes
    ----------
    local : Tensor, (B, l) int64
        Chosen by windows, by falling score.
    globally : Tensor, (B, g) int64
        The best of the others in the deep layer, by falling score.
    """

    local: Tensor
    globally: Tensor

    @property
    def kept(self) -> Tensor:
        """(B, l + g) int64: both, ascending."""
        return torch.cat([self.local, self.globally], 1).sort(1).values


def window_of(row: Tensor, column: Tensor, windows: Windows) -> Tensor:
    """(B, N) int64: window of each token, numbered row by row.

    Parameters
    ----------
    row, column : Tensor, (B, N) int64
        Places in each unit's grid, from 0.
    windows : {"sixteen", "four"}
        ``sixteen``: four by four windows of like size. ``four``: windows of four by four tokens, to the last of which
        the rows and columns that are over belong.
    """
    rows, columns = row.amax(1, keepdim=True) + 1, column.amax(1, keepdim=True) + 1
    if windows == "sixteen":
        return row * SIDE // rows * SIDE + column * SIDE // columns
    down, across = (rows // SIDE).clamp_min(1), (columns // SIDE).clamp_min(1)
    return torch.minimum(row // SIDE, down - 1) * across + torch.minimum(column // SIDE, across - 1)


def select_scans(shallow: Tensor, deep: Tensor, window: Tensor, keep: int, *, windows: Windows, exact: bool) -> Scans:
    """Half of the tokens from a shallow layer, spread over windows, and the rest from a deep layer.

    Parameters
    ----------
    shallow, deep : Tensor, (B, N)
        Attention of each token in either layer.
    window : Tensor, (B, N) int64
        From :func:`window_of`.
    keep : int
        1..N.
    windows : {"sixteen", "four"}
        ``sixteen``: every window gives the same whole number of tokens. ``four``: tokens are visited by falling score,
        and a window gives at most its share, rounded up.
    exact : bool
        The global scan fills up to ``keep``. False: it takes what is not the local half, so that tokens are missing
        where the half is no multiple of the windows.

    Returns
    -------
    Scans

    Raises
    ------
    BudgetError
        ``keep`` outside 1..N.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: VScan, arXiv 2505.22654, section 4.1, and its official code for LLaVA and for Qwen2.5-VL.
    """
    check_count(keep, shallow.shape[1])
    check_finite("attention", shallow)
    check_finite("attention", deep)
    half = keep // 2
    count = int(window.max()) + 1
    limit = half // SIDE**2 if windows == "sixteen" else -(-half // count)
    most = min(half, limit * SIDE**2) if windows == "sixteen" else half
    by_score = shallow.sort(dim=1, descending=True, stable=True).indices
    visited = window.gather(1, by_score)
    # Rank of each visited token among those of its window: stable by window, then places minus where the window starts.
    by_window = visited.sort(dim=1, stable=True).indices
    sizes = torch.zeros(len(window), count, dtype=torch.int64, device=window.device)
    sizes.scatter_add_(1, window, torch.ones_like(window))
    starts = (sizes.cumsum(1) - sizes).gather(1, visited.gather(1, by_window))
    rank = torch.empty_like(visited).scatter_(
        1, by_window, torch.arange(window.shape[1], device=window.device) - starts
    )
    taken = rank < limit
    taken &= taken.long().cumsum(1) <= most
    local = [order[mask] for order, mask in zip(by_score, taken, strict=True)]
    least = min(map(len, local))  # windows of fewer tokens than their share leave some units with fewer
    chosen = torch.stack([own[:least] for own in local])
    rest = deep.scatter(1, chosen, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    return Scans(chosen, rest[:, : keep - (least if exact else half)])


def merge_into_nearest(features: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Every kept token becomes the mean of itself and of the others that are most like it.

    Parameters
    ----------
    features : Tensor, (B, N, d)
        Any float dtype; compared by cosine and accumulated in float32.
    kept : Tensor, (B, K) int64
        Ascending.

    Returns
    -------
    rows : Tensor, (B, K, d)
        In the dtype of ``features``.
    member : Tensor, (B, N) int64
        Place in ``kept`` of the token that each one belongs to; a kept one belongs to itself.
    """
    check_features(features, kept.shape[1])
    values = features.float()
    unit = normalize(values, dim=-1, eps=1e-8)
    width = features.shape[-1]
    nearest = (unit @ unit.gather(1, kept[..., None].expand(-1, -1, width)).mT).argmax(-1)
    member = nearest.scatter(1, kept, torch.arange(kept.shape[1], device=kept.device).expand_as(kept))
    total = values.new_zeros(*kept.shape, width).scatter_add_(1, member[..., None].expand_as(values), values)
    size = values.new_zeros(kept.shape).scatter_add_(1, member, torch.ones_like(member, dtype=torch.float32))
    return (total / size[..., None]).to(features.dtype), member
