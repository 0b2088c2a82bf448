"""Selections as their authors state them, in plain torch: what ours are timed against.

Each is written from the paper and the published description of its code: float32, everything evaluated anew at every
step, as batched as the original. Scratch that is as large as the similarity is allocated once, since paging it in at
every step would cost more than the step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ALPHA, LAM = 0.5, 0.7


def cosines(features: Tensor) -> Tensor:
    """(B, N, N) float32: products of rows divided by their norms."""
    unit: Tensor = features / features.norm(dim=-1, keepdim=True)
    return unit @ unit.mT


def tops(features: Tensor, relevance: Tensor, k: int) -> Tensor:
    """Algorithm 1 of TOPS."""
    return greedy_tops(cosines(features), relevance, k)


def greedy_tops(similarity: Tensor, relevance: Tensor, k: int) -> Tensor:
    """The loop of TOPS with mean normalisation, all pairs at every step, in the dtype of ``similarity``.

    Parameters
    ----------
    similarity : Tensor, (B, N, N)
        Cosine similarities.
    relevance : Tensor, (B, N)
        Relevance scores.
    k : int
        Tokens to keep.

    Returns
    -------
    Tensor, (B, k) int64
        Indices in order of selection.
    """
    entry = torch.arange(len(relevance), device=relevance.device)
    relevance = relevance.to(similarity.dtype)
    left = torch.ones_like(relevance, dtype=torch.bool)
    chosen = relevance.argmax(1)
    covered = similarity[entry, chosen]
    order = [chosen]
    pairs = torch.empty_like(similarity)
    for _ in range(k - 1):
        left[entry, chosen] = False
        gain = torch.maximum(similarity, covered[:, :, None], out=pairs).sum(1) - covered.sum(1, keepdim=True)
        score = torch.zeros_like(relevance)
        for weight, term in ((1.0, relevance), (LAM, gain), (ALPHA, 1 - covered)):
            mean = (term * left).sum(1, keepdim=True) / left.sum(1, keepdim=True)
            score += weight * torch.where(mean == 0, 0.0, term / mean)
        chosen = torch.where(left, score, -torch.inf).argmax(1)
        covered = torch.maximum(covered, similarity[entry, chosen])
        order.append(chosen)
    return torch.stack(order, 1)


def scope(features: Tensor, saliency: Tensor, k: int) -> Tensor:
    """SCOPE: the gain in coverage of every token, over all tokens, times its saliency, at every step."""
    similarity = cosines(features)
    entry = torch.arange(len(saliency), device=saliency.device)
    covered, taken = torch.zeros_like(saliency), torch.zeros_like(saliency, dtype=torch.bool)
    pairs, order = torch.empty_like(similarity), []
    for _ in range(k):
        gain = torch.sub(similarity, covered[:, :, None], out=pairs).clamp_(min=0).sum(1)
        chosen = (gain * saliency).masked_fill(taken, -torch.inf).argmax(1)
        order.append(chosen)
        taken[entry, chosen] = True
        covered = torch.maximum(covered, similarity[entry, :, chosen])
    return torch.stack(order, 1)


def divprune(features: Tensor, scores: Tensor, k: int) -> Tensor:
    """DivPrune, image by image: the smallest distance to all picks so far, looked up anew at every step."""
    return torch.stack([_divprune(distance, k) for distance in 1 - cosines(features)])


def _divprune(distance: Tensor, k: int) -> Tensor:
    order = torch.empty(k, dtype=torch.int64, device=distance.device)
    order[0] = distance.topk(2, dim=0, largest=False).values[1].argmax()
    for step in range(1, k):
        order[step] = distance[order[:step]].amin(0).argmax()
    return order


def cdpruner(features: Tensor, quality: Tensor, k: int) -> Tensor:
    """CDPruner: the conditional kernel, then greedy MAP in the incremental Cholesky form."""
    kernel = quality[:, :, None] * cosines(features) * quality[:, None]
    entry = torch.arange(len(quality), device=quality.device)
    factors = kernel.new_zeros(k, *quality.shape)
    residual, order = kernel.diagonal(dim1=1, dim2=2).clone(), []
    for step in range(k):
        chosen = residual.argmax(1)
        order.append(chosen)
        past = factors[:step]
        own = kernel[entry, chosen] - torch.einsum("tb,tbn->bn", past[:, entry, chosen], past)
        factors[step] = own / residual[entry, chosen].sqrt()[:, None]
        residual = residual - factors[step].square()
        residual[entry, chosen] = -torch.inf
    return torch.stack(order, 1)


def trim(hidden: Tensor, joint: Tensor, text: Tensor, k: int) -> Tensor:
    """TRIM, image by image: (B, k + 1, d), the k rows whose product with the question is lowest and the others' mean.

    Parameters
    ----------
    hidden : Tensor, (B, N, d)
        Encoder features.
    joint, text : Tensor, (B, N, j) and (j,)
        Patches and question in CLIP's joint space.
    k : int
        Rows to keep.
    """
    out = []
    for rows, patches in zip(hidden, joint, strict=True):
        kept = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        kept[(-(patches @ text)).softmax(-1).topk(k, sorted=False).indices] = True
        out.append(torch.cat([rows[kept], rows[~kept].mean(0, keepdim=True)]))
    return torch.stack(out)


STATEMENTS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "tops": tops,
    "scope": scope,
    "divprune": divprune,
    "cdpruner": cdpruner,
}
"""Methods whose choice is one selection from features (B, N, d), scores (B, N) and k."""
