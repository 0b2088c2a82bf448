"""The greedy selections: features in, indices in order of selection out.

All four are exact: whatever implementation runs, the choice is that of the direct evaluation of the formulas on
similarities correct to 1e-9, with ties to the lowest index.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from tops.errors import ConfigurationError
from tops.selection.checks import check_features, check_scores
from tops.selection.dispatch import Implementation, run

Normalisation = Literal["mean", "minmax"]


def select_tops(
    features: Tensor,
    relevance: Tensor,
    k: int,
    *,
    alpha: float,
    lam: float,
    principles: str = "RCD",
    normalisation: Normalisation = "mean",
    implementation: Implementation = "auto",
) -> Tensor:
    """Keep k tokens by relevance, coverage and diversity, one greedy step at a time.

    The first token is the most relevant one. With S the tokens kept so far, U the others, F the cosine similarity and
    ``m_j = max over s in S of F[j, s]``, each further token maximises over i in U

        relevance_i + lam * (sum over j in U of max(0, F[j, i] - m_j)) + alpha * (1 - m_i)

    where each of the three terms is normalised over U anew at every step.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Token features of any float dtype; scores are computed in float64 whatever it is.
    relevance : Tensor, (N,) or (B, N)
        Relevance scores, on the device of ``features``. ``"mean"`` divides by their mean and is meant for scores
        that are not negative, such as attention.
    k : int
        Tokens to keep, 1..N, the first included.
    alpha, lam : float
        Weights of diversity and of coverage, finite and not negative.
    principles : str
        Any non-empty subset of "RCD". A dropped term counts zero; the first token stays the most relevant.
    normalisation : {"mean", "minmax"}
        Divide by the mean (Algorithms 1 and 2), or map the range to 0..1 (section 4.1). A term whose mean, or
        range, is zero counts zero.
    implementation : {"auto", "incremental", "direct", "triton"}
        How it is computed; see :func:`tops.selection.dispatch.choose`.

    Returns
    -------
    Tensor, (k,) or (B, k) int64
        Indices in order of selection, on the device of ``features``.

    Raises
    ------
    BudgetError
        ``k`` outside 1..N.
    NonFiniteError
        NaN or infinity in features or relevance.
    ConfigurationError
        Wrong shapes, unknown principles, normalisation or implementation, a bad weight.

    Notes
    -----
    Source: *TOPS*, arXiv 2606.27161, Algorithms 1 and 2, equation 7.
    """
    check_features(features, k)
    check_scores("relevance", relevance, features)
    check_principles(principles)
    if normalisation not in ("mean", "minmax"):
        raise ConfigurationError(f"normalisation={normalisation!r}: 'mean' or 'minmax' is needed.")
    for name, weight in (("alpha", alpha), ("lam", lam)):
        if not 0 <= weight < math.inf:
            raise ConfigurationError(f"{name}={weight!r}: a finite weight of at least 0 is needed.")
    return run(
        "tops",
        features,
        relevance,
        k,
        implementation=implementation,
        needs_similarity=principles != "R",
        alpha=float(alpha),
        lam=float(lam),
        principles=principles,
        normalisation=normalisation,
    )


def select_max_min(features: Tensor, k: int, *, implementation: Implementation = "auto") -> Tensor:
    """Keep k tokens that are far from one another: DivPrune's max-min diversity.

    The first token is the one farthest from its nearest neighbour; each further one is the farthest from those kept.
    Distance is one minus cosine similarity. No token is chosen twice.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Token features of any float dtype. A row of zeros has distance 1 from every other.
    k : int
        Tokens to keep, 1..N.
    implementation : str
        As in :func:`select_tops`.

    Returns
    -------
    Tensor, (k,) or (B, k) int64
        Indices in order of selection.

    Raises
    ------
    BudgetError, NonFiniteError, ConfigurationError
        As in :func:`select_tops`.

    Notes
    -----
    Source: *DivPrune*, arXiv 2503.02175, and its official code (vbdi/divprune 799e2d9).
    """
    check_features(features, k)
    return run("max_min", features, None, k, implementation=implementation)


def select_coverage(
    features: Tensor,
    saliency: Tensor,
    k: int,
    *,
    alpha: float = 1.0,
    combine: Literal["multiply", "add"] = "multiply",
    implementation: Implementation = "auto",
) -> Tensor:
    """Keep k tokens that cover all others and are salient: SCOPE's greedy.

    Each token maximises ``gain_i * saliency_i ** alpha`` with ``gain_i = sum over all j of max(0, F[j, i] - m_j)``,
    F the cosine similarity, and ``m_j = max(0, max over kept s of F[j, s])``: negative similarity never covers.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Token features of any float dtype.
    saliency : Tensor, (N,) or (B, N)
        Not negative.
    k : int
        Tokens to keep, 1..N.
    alpha : float
        Exponent of the saliency, finite and not negative; 0 is plain facility location.
    combine : {"multiply", "add"}
        Gain times, or plus, the power of the saliency (``COMBINED=multi`` and ``add`` in the official code).
    implementation : str
        As in :func:`select_tops`.

    Returns
    -------
    Tensor, (k,) or (B, k) int64
        Indices in order of selection.

    Raises
    ------
    BudgetError, NonFiniteError, ConfigurationError
        As in :func:`select_tops`, and for a negative saliency.

    Notes
    -----
    Source: *SCOPE*, arXiv 2510.24214, and its official code (kinredon/SCOPE 6bf7306).
    """
    check_features(features, k)
    check_scores("saliency", saliency, features)
    if not 0 <= alpha < math.inf:
        raise ConfigurationError(f"alpha={alpha!r}: a finite exponent of at least 0 is needed.")
    if combine not in ("multiply", "add"):
        raise ConfigurationError(f"combine={combine!r}: 'multiply' or 'add' is needed.")
    if bool((saliency < 0).any()):
        raise ConfigurationError(
            f"saliency goes down to {float(saliency.min())}: it must not be negative. Use attention, or shift it."
        )
    weight = saliency.double() ** alpha
    return run("coverage", features, weight, k, implementation=implementation, combine=combine)


def select_dpp(features: Tensor, quality: Tensor, k: int, *, implementation: Implementation = "auto") -> Tensor:
    """Keep k tokens by greedy MAP of a determinantal point process: CDPruner's choice.

    The kernel is ``quality_i * F[i, j] * quality_j`` with F the cosine similarity. Each token maximises the
    determinant of the kernel of those kept, by the incremental Cholesky form.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Token features of any float dtype.
    quality : Tensor, (N,) or (B, N)
        CDPruner: relevance to the question after min-max.
    k : int
        Tokens to keep, 1..N. Beyond the rank of the kernel every determinant is zero: what the formula leaves open is
        then filled in index order (the official code ends in NaN there).
    implementation : str
        As in :func:`select_tops`.

    Returns
    -------
    Tensor, (k,) or (B, k) int64
        Indices in order of selection.

    Raises
    ------
    BudgetError, NonFiniteError, ConfigurationError
        As in :func:`select_tops`.

    Notes
    -----
    Source: *CDPruner*, arXiv 2506.10967, and its official code (Theia-4869/CDPruner bbd5653).
    """
    check_features(features, k)
    check_scores("quality", quality, features)
    return run("dpp", features, quality, k, implementation=implementation)


def check_principles(principles: str) -> None:
    """Refuse anything but a non-empty subset of "RCD".

    Raises
    ------
    ConfigurationError
        If empty, or with anything but the letters R, C and D, each at most once.
    """
    if not principles or len(set(principles)) != len(principles) or not set(principles) <= set("RCD"):
        raise ConfigurationError(
            f"principles={principles!r}: a non-empty subset of 'RCD' is needed "
            "(R relevance, C coverage, D diversity), such as 'RC'."
        )
