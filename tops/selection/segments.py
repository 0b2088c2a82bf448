"""Segments of a video, and in each salient tokens and dense anchors into which the others merge (FastVID)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tops.selection.checks import check_features, check_finite, check_scores
from tops.selection.clustering import cluster_density_peaks
from tops.selection.similarity import cosine_similarity
from tops.selection.topk import top_k_lowest_index

NEIGHBOURS = 4  # of a token's density


@dataclass(frozen=True)
class Dense:
    """What is kept of T frames of N tokens each.

    Attributes
    ----------
    salient : Tensor, (S,) int64
        Number ``t * N + i`` of the tokens kept as they are, ascending.
    anchors : Tensor, (C,) int64
        Of those that others merge into, ascending.
    merged : Tensor, (C, d)
        Their new vectors, in the dtype of the features.
    group_sizes : Tensor, (C,) int64
        Tokens merged into each.
    """

    salient: Tensor
    anchors: Tensor
    merged: Tensor
    group_sizes: Tensor


def neighbour_similarity(frames: Tensor) -> Tensor:
    """(T - 1,) float32: cosine of each frame vector (T, d) with the next one's."""
    check_finite("frame vectors", frames)
    return cosine_similarity(frames[:-1, None], frames[1:, None])[:, 0, 0]


def segment_sizes(similarity: Tensor, least: int, threshold: float) -> list[int]:
    """Cut a video where neighbouring frames are least alike.

    Parameters
    ----------
    similarity : Tensor, (T - 1,)
        From :func:`neighbour_similarity`.
    least : int
        Segments there are at least; the video's frames where it has fewer.
    threshold : float
        Frames less alike than this are always cut apart.

    Returns
    -------
    list of int
        Frames of each segment.
    """
    frames = len(similarity) + 1
    apart = similarity < threshold
    apart[similarity.sort(stable=True).indices[: min(least, frames) - 1]] = True
    ends = [*(apart.nonzero()[:, 0] + 1).tolist(), frames]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def spread(total: int, holders: int) -> list[int]:
    """A total in equal parts, the first ones one more."""
    return [total // holders + (i < total % holders) for i in range(holders)]


def share_in_segments(
    sizes: Sequence[int], keep: Sequence[int], tokens: int, context: float, step: int, *, equal: bool
) -> tuple[list[int], list[int]]:
    """How many salient tokens and anchors each frame has.

    Parameters
    ----------
    sizes : sequence of int
        Frames of each segment.
    keep : sequence of int
        Tokens that each frame is given.
    tokens : int
        Tokens that each frame has.
    context : float
        Share of anchors, in [0, 1).
    step : int
        Every ``step``-th frame of a segment, counted from its last, has anchors.
    equal : bool
        Every frame has the same number of salient tokens, every anchor frame the same number of anchors, and what does
        not divide is lost. Otherwise a segment's whole count is used.

    Returns
    -------
    salient, anchors : list of int
        Per frame.
    """
    salient, anchors, first = [], [], 0
    for length in sizes:
        own = keep[first : first + length]
        first += length
        places = [i for i in range(length) if (length - 1 - i) % step == 0]
        if equal:
            each = int(own[0] * context)
            salient += [count - each for count in own]
            given = [each * length // len(places)] * len(places)
        else:
            total = int(sum(own) * context)
            salient += spread(sum(own) - total, length)
            given = spread(total, len(places))[::-1]  # the last anchor frame takes the remainder first
        counts = dict(zip(places, given, strict=True))
        anchors += [counts.get(i, 0) for i in range(length)]
    if not equal:
        _fit(salient, anchors, tokens)
    return salient, anchors


def _fit(salient: list[int], anchors: list[int], tokens: int) -> None:
    """Anchors for which a frame has no tokens left become salient tokens of the frames that have."""
    over = 0
    for frame, count in enumerate(salient):
        anchors[frame], over = min(anchors[frame], tokens - count), over + max(0, anchors[frame] - (tokens - count))
    for frame in range(len(salient)):
        more = min(over, tokens - salient[frame] - anchors[frame])
        salient[frame] += more
        over -= more


def select_dense(
    frames: Tensor,
    attention: Tensor,
    sizes: Sequence[int],
    salient: Sequence[int],
    anchors: Sequence[int],
    *,
    beta: float,
    apart: bool,
    alone: int | None = None,
) -> Dense:
    """Salient tokens by attention, anchors by density peaks, and everything else of a segment merged into them.

    Parameters
    ----------
    frames : Tensor, (T, N, d)
        Any float dtype; compared and accumulated in float32.
    attention : Tensor, (T, N)
        Of each token.
    sizes : sequence of int
        Frames of each segment.
    salient, anchors : sequence of int
        From :func:`share_in_segments`.
    beta : float
        Least weight of an anchor in the mean with its group, in [0, 1].
    apart : bool
        A frame's own anchors do not merge. Otherwise they may, with themselves as a rule.
    alone : int or None
        Frames with this many anchors merge within themselves, whatever their segment: the count of a frame that is a
        segment of its own, by which the official OneVision code tells those.

    Returns
    -------
    Dense

    Raises
    ------
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: FastVID, arXiv 2503.11187, sections 3.2 to 3.4, and its official code, whose noise of 1e-6 on densities is
    left out. Each token of a segment merges once for every anchor frame of it.
    """
    check_features(frames, 1)
    check_scores("attention", attention, frames)
    n = frames.shape[1]
    is_salient = torch.zeros_like(attention, dtype=torch.bool)
    for frame, count in enumerate(salient):
        if count:
            is_salient[frame, top_k_lowest_index(attention[frame], count)] = True
    chosen, rows, groups, first = [], [], [], 0
    for length in sizes:
        segment = range(first, first + length)
        first += length
        for frame in segment:
            if not anchors[frame]:
                continue
            free = (~is_salient[frame]).nonzero()[:, 0]
            found = cluster_density_peaks(frames[frame, free], anchors[frame], neighbours=min(NEIGHBOURS, len(free)))
            own = free[found.centres].sort().values
            members = [frame] if anchors[frame] == alone else list(segment)
            pool = ~is_salient[members]
            if apart:
                pool[members.index(frame), own] = False
            merged, counts = _merged(frames[frame, own], frames[members][pool], beta)
            chosen.append(frame * n + own)
            rows.append(merged)
            groups.append(counts)
    nothing = is_salient.new_empty(0, dtype=torch.long)
    return Dense(
        salient=is_salient.flatten().nonzero()[:, 0],
        anchors=torch.cat([nothing, *chosen]),
        merged=torch.cat([frames.new_empty(0, frames.shape[-1]), *rows]),
        group_sizes=torch.cat([nothing, *groups]),
    )


def _merged(anchors: Tensor, pool: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """(C, d) weighted means of each anchor and its group, and the (C,) sizes of the groups."""
    own, values = anchors.float(), pool.float()
    member = cosine_similarity(pool, anchors).argmax(-1)
    size = torch.bincount(member, minlength=len(anchors))
    mean = torch.zeros_like(own).index_add_(0, member, values) / size.clamp_min(1)[:, None]
    weight = (1 / (size + 1.0)).clamp_min(beta)
    weight = torch.where(size > 0, weight, 1.0)[:, None]
    return (weight * own + (1 - weight) * mean).to(anchors.dtype), size
