"""Which text tokens judge the visual ones, and a correction of what they see (SparseVLM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tops.selection.checks import check_finite
from tops.selection.topk import top_k_lowest_index


def select_raters(visual: Tensor, text: Tensor) -> Tensor:
    """Text tokens that visual tokens point to more than to the average one.

    Parameters
    ----------
    visual : Tensor, (N, d)
        Input embeddings of the visual tokens.
    text : Tensor, (T, d)
        Input embeddings of the text after them.

    Returns
    -------
    Tensor, (R,) int64
        Offsets into ``text``, ascending; all of them where none stands out.

    Raises
    ------
    NonFiniteError
        NaN or infinity in the embeddings.

    Notes
    -----
    Softmax over the text of the plain product, mean over visual tokens, strictly above the mean. Source: *SparseVLM*,
    arXiv 2410.04417, section 3.2, and its official code.
    """
    score = (visual.float() @ text.float().mT).softmax(-1).mean(0)
    check_finite("rater scores", score)
    raters = (score > score.mean()).nonzero()[:, 0]
    return raters if len(raters) else torch.arange(len(text), device=text.device)


def rope_gravity(queries: Tensor, keys: Tensor, head_dim: int, theta: float) -> Tensor:
    """What RoPE alone gives two vectors of ones at these positions: nearness, not content.

    Parameters
    ----------
    queries, keys : Tensor, (R,) and (N,) int64
        Position ids.
    head_dim : int
        Width of a head.
    theta : float
        Base of the rotary frequencies.

    Returns
    -------
    Tensor, (R, N) float32
        ``2 / sqrt(d) * sum over f of cos((p_i - p_j) * theta_f)``.

    Notes
    -----
    Source: *SparseVLM+* in the official code (``USE_VERSION=2_0``), which divides attention by it.
    """
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float64, device=queries.device) / head_dim
    distance = (queries[:, None] - keys[None]).double()
    out = torch.zeros_like(distance)
    for frequency in torch.pow(theta, -exponent):  # one (R, N) matrix at a time instead of a stack of them
        out += torch.cos(distance * frequency)
    return out.mul(2 / math.sqrt(head_dim)).float()


def most_looking_heads(attention: Tensor, k: int) -> Tensor:
    """The k heads with the largest sum of attention, best first.

    Parameters
    ----------
    attention : Tensor, (H, R, N)
        Rater rows, visual columns.
    k : int
        1..H.

    Returns
    -------
    Tensor, (k,) int64
    """
    return top_k_lowest_index(attention.sum((1, 2)), k)
