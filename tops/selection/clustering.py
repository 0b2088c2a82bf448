"""Density-peak clustering of a few tokens (SparseVLM's recycling, after TCFormer; FastVID's anchors)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tops.selection.checks import check_count, check_finite
from tops.selection.topk import top_k_lowest_index


@dataclass(frozen=True)
class Clusters:
    """Clusters of r vectors.

    Attributes
    ----------
    density : Tensor, (r,) float32
        With the noise added.
    centres : Tensor, (C,) int64
        Their places, in the order that numbers the clusters.
    member : Tensor, (r,) int64
        Cluster of every vector.
    """

    density: Tensor
    centres: Tensor
    member: Tensor


def cluster_density_peaks(
    vectors: Tensor, k: int, *, neighbours: int | None = None, noise: Tensor | None = None
) -> Clusters:
    """Group vectors around k centres that are dense and far from anything denser.

    Parameters
    ----------
    vectors : Tensor, (r, d)
        Compared in float32 by Euclidean distance over sqrt(d).
    k : int
        Clusters, 1..r.
    neighbours : int or None
        Nearest vectors that make a density, the vector itself included; None: as many as clusters.
    noise : Tensor or None, (r,)
        Uniform draws; 1e-6 times them is added to the densities, as the official code does unseeded. None: no noise,
        and the lowest place wins among equal densities.

    Returns
    -------
    Clusters

    Raises
    ------
    BudgetError
        ``k`` outside 1..r.
    NonFiniteError
        NaN or infinity in the vectors.

    Notes
    -----
    Source: ``Gumpest/SparseVLMs``, ``cluster_and_merge``; FastVID, arXiv 2503.11187, section 3.3.
    """
    check_count(k, len(vectors))
    check_finite("vectors", vectors)
    x = vectors.float()
    distance = torch.cdist(x[None], x[None], compute_mode="donot_use_mm_for_euclid_dist")[0] / x.shape[1] ** 0.5
    density = (-distance.sort(dim=-1).values[:, : neighbours or k].square().mean(-1)).exp()
    if noise is not None:
        density = density + 1e-6 * noise.to(density)
    denser = density[None, :] > density[:, None]
    if noise is None:
        place = torch.arange(len(x), device=x.device)
        denser |= (density[None, :] == density[:, None]) & (place[None, :] < place[:, None])
    separation = distance.masked_fill(~denser, torch.inf).amin(-1)
    separation = torch.where(separation.isinf(), distance.max(), separation)
    centres = top_k_lowest_index(density * separation, k)
    member = distance[:, centres].argmin(-1)
    member[centres] = torch.arange(k, device=x.device)
    return Clusters(density, centres, member)


def cluster_means(vectors: Tensor, clusters: Clusters) -> Tensor:
    """The mean of each cluster, with the official code's ``1 / (count + 1e-6)``.

    Parameters
    ----------
    vectors : Tensor, (r, d)
        Any float dtype; accumulated in float32.
    clusters : Clusters
        Of these vectors.

    Returns
    -------
    Tensor, (C, d)
        In the dtype of ``vectors``.
    """
    count = len(clusters.centres)
    total = vectors.new_zeros(count, vectors.shape[1], dtype=torch.float32)
    total.index_add_(0, clusters.member, vectors.float())
    size = torch.bincount(clusters.member, minlength=count)[:, None]
    return (total / (size + 1e-6)).to(vectors.dtype)
