"""What is new in a frame: change since the frame before (EVS), and distance from video and frame centres (VidCom2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tops.selection.checks import check_features, check_finite

WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)
TEMPERATURE = 0.01


def change_since_last(frames: Tensor) -> Tensor:
    """1 minus the cosine of every token with the one in the same place of the frame before.

    Parameters
    ----------
    frames : Tensor, (T, N, d)
        Any float dtype; computed in float32.

    Returns
    -------
    Tensor, (T - 1, N) float32
        Of all frames but the first. A token of zeros has changed by 1.

    Raises
    ------
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: EVS, arXiv 2510.14624, as described for the version that vLLM serves.
    """
    check_finite("frames", frames)
    unit = normalize(frames.float(), dim=-1, eps=1e-8)
    return 1 - (unit[1:] * unit[:-1]).sum(-1)


@dataclass(frozen=True)
class Uniqueness:
    """How unlike their video and their frame the tokens of M = T * N are.

    Attributes
    ----------
    variance : Tensor, (d,) float64
        Of each channel over all tokens.
    channels : Tensor, (d // 2,) int64
        The ones of lowest variance, ascending: only they are compared.
    video, frame : Tensor, (M,) float64
        Kernel sums against the video's and the own frame's centre, 0..5; low is unlike.
    """

    variance: Tensor
    channels: Tensor
    video: Tensor
    frame: Tensor


def uniqueness(features: Tensor, frame: Tensor) -> Uniqueness:
    """Compare every token with the centre of the video and with that of its frame.

    Parameters
    ----------
    features : Tensor, (M, d)
        Any float dtype; computed in float64: a softmax at temperature 0.01 follows.
    frame : Tensor, (M,) int64
        Frame of each token, from 0.

    Returns
    -------
    Uniqueness

    Raises
    ------
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: VidCom2, arXiv 2505.14454, section 3.2, and its official code.
    """
    check_features(features, 1)
    # Some channels at a time: float64 copies of long videos are large.
    variance = torch.cat([part.double().var(0, correction=0) for part in torch.split(features, 256, dim=1)])
    count = max(1, features.shape[1] // 2)
    channels = variance.sort(stable=True).indices[:count].sort().values
    unit = normalize(features[:, channels].double(), dim=-1)
    frames = int(frame.max()) + 1
    total = unit.new_zeros(frames, count).index_add_(0, frame, unit)
    centre = total / torch.bincount(frame, minlength=frames)[:, None]
    video = _kernel((unit - unit.mean(0)).square().sum(-1))
    return Uniqueness(variance, channels, video, _kernel((unit - centre[frame]).square().sum(-1)))


def _kernel(square: Tensor) -> Tensor:
    return torch.stack([(-square / (2 * width)).exp() for width in WIDTHS]).sum(0)


def frame_scales(found: Uniqueness, frame: Tensor, ratio: float) -> Tensor:
    """(T,) float64: share of its tokens that each frame keeps, unlike frames more than others, at most all.

    Parameters
    ----------
    found : Uniqueness
        Of the tokens.
    frame : Tensor, (M,) int64
        Frame of each token.
    ratio : float
        Share of the whole video, in (0, 1].
    """
    frames = int(frame.max()) + 1
    total = found.video.new_zeros(frames).index_add_(0, frame, found.video)
    share = (-total / torch.bincount(frame, minlength=frames) / TEMPERATURE).softmax(0)
    return (ratio * (1 + share - 1 / frames)).clamp_max(1.0)


def select_unique(found: Uniqueness, frame: Tensor, ratio: float, *, exact: int | None) -> Tensor:
    """The tokens most unlike video and frame, more of them in frames that are unlike the others.

    Parameters
    ----------
    found : Uniqueness
        Of the tokens.
    frame : Tensor, (M,) int64
        Frame of each token.
    ratio : float
        Share to keep, in (0, 1]. Counts are rounded half to even frame by frame, at least one each, so that the total
        is near the share, not equal to it.
    exact : int or None
        The total: the least unlike of all kept tokens go, or the most unlike of all dropped ones come back, until it is
        met. None leaves the total as it is.

    Returns
    -------
    Tensor, (K,) int64
        Ascending.
    """
    score = found.video + found.frame
    sizes = torch.bincount(frame)
    counts = (frame_scales(found, frame, ratio) * sizes).round().long().clamp_min(1)
    order = score.sort(stable=True).indices
    by_frame = order[frame[order].argsort(stable=True)]
    first = (sizes.cumsum(0) - sizes)[frame[by_frame]]
    rank = torch.arange(len(frame), device=frame.device) - first
    kept = torch.zeros_like(frame, dtype=torch.bool)
    kept[by_frame] = rank < counts[frame[by_frame]]
    if exact is not None:
        over = int(kept.sum()) - exact
        # Kept ones from the least unlike, or dropped ones from the most unlike; among equals the lower index.
        queue = (-score if over > 0 else score).masked_fill(kept if over < 0 else ~kept, torch.inf)
        kept[queue.sort(stable=True).indices[: abs(over)]] = over < 0
    return kept.nonzero()[:, 0]
