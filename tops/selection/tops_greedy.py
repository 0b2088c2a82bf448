"""TOPS: the greedy choice of a token subset by relevance, coverage and diversity (Algorithms 1 and 2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tops.errors import ConfigurationError
from tops.selection.checks import check_features, check_scores
from tops.selection.similarity import ONE, fixed_point_similarity

Normalisation = Literal["mean", "minmax"]
LETTERS = "RCD"


def select_tops(
    features: Tensor,
    relevance: Tensor,
    k: int,
    *,
    alpha: float,
    lam: float,
    principles: str = "RCD",
    normalisation: Normalisation = "mean",
) -> Tensor:
    """Keep k tokens by relevance, coverage and diversity, one greedy step at a time.

    The first token is the most relevant one. With S the tokens kept so far, U the others, F the cosine similarity and
    ``m_j = max over s in S of F[j, s]``, each further token maximises over i in U

        relevance_i + lam * (sum over j in U of max(0, F[j, i] - m_j)) + alpha * (1 - m_i)

    where each of the three terms is normalised over U anew at every step. Ties go to the lowest index.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Token features of any float dtype. Similarities are exact to 5e-10, their sums are exact, scores are float64.
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
        Wrong shapes, unknown principles or normalisation, a bad weight.

    Notes
    -----
    Source: *TOPS*, arXiv 2606.27161, Algorithms 1 and 2, equation 7.
    """
    check_features(features, k)
    check_scores("relevance", relevance, features)
    letters = check_principles(principles)
    check_normalisation(normalisation)
    for name, weight in (("alpha", alpha), ("lam", lam)):
        if not 0 <= weight < float("inf"):
            raise ConfigurationError(f"{name}={weight!r}: a finite weight of at least 0 is needed.")
    with torch.no_grad():
        single = features.ndim == 2
        entries = [(features, relevance)] if single else list(zip(features, relevance, strict=True))
        orders = [
            tops_direct(
                fixed_point_similarity(x) if letters != "R" else None,
                r.float(),
                k,
                alpha=alpha,
                lam=lam,
                principles=letters,
                normalisation=normalisation,
            )
            for x, r in entries
        ]
        return orders[0] if single else torch.stack(orders)


def check_principles(principles: str) -> str:
    """The principles in the order R, C, D.

    Raises
    ------
    ConfigurationError
        If empty, or with anything but the letters R, C and D, each at most once.
    """
    if not principles or len(set(principles)) != len(principles) or not set(principles) <= set(LETTERS):
        raise ConfigurationError(
            f"principles={principles!r}: a non-empty subset of 'RCD' is needed "
            "(R relevance, C coverage, D diversity), such as 'RC'."
        )
    return "".join(letter for letter in LETTERS if letter in principles)


def check_normalisation(normalisation: str) -> None:
    """Refuse an unknown normalisation.

    Raises
    ------
    ConfigurationError
        If it is neither "mean" nor "minmax".
    """
    if normalisation not in ("mean", "minmax"):
        raise ConfigurationError(f"normalisation={normalisation!r}: 'mean' or 'minmax' is needed.")


def tops_direct(
    similarity: Tensor | None,
    relevance: Tensor,
    k: int,
    *,
    alpha: float,
    lam: float,
    principles: str,
    normalisation: Normalisation,
) -> Tensor:
    """The formulas as they stand: each step sums coverage over all pairs, k N^2 in all.

    Parameters
    ----------
    similarity : Tensor or None, (N, N) int32
        From :func:`fixed_point_similarity`; may be None for ``principles="R"``.
    relevance : Tensor, (N,) float32
        Relevance scores.
    k, alpha, lam, principles, normalisation
        As in :func:`select_tops`, checked.

    Returns
    -------
    Tensor, (k,) int64
        Indices in order of selection.
    """
    relevance = relevance.double()
    left = torch.ones_like(relevance, dtype=torch.bool)
    chosen = relevance.argmax()
    order = [chosen]
    covered: Tensor | None = None
    for _ in range(k - 1):
        left[chosen] = False
        if similarity is not None:
            covered = similarity[chosen] if covered is None else torch.maximum(covered, similarity[chosen])
        score = torch.zeros_like(relevance)
        if "R" in principles:
            score += _normalised(relevance, left, normalisation)
        if "C" in principles:
            assert similarity is not None
            assert covered is not None
            gain = torch.maximum(similarity, covered[:, None]).sum(0) - covered.sum()
            score += lam * _normalised(gain.double(), left, normalisation)
        if "D" in principles:
            assert covered is not None
            score += alpha * _normalised((ONE - covered).double(), left, normalisation)
        chosen = score.masked_fill_(~left, -torch.inf).argmax()
        order.append(chosen)
    return torch.stack(order)


def _normalised(term: Tensor, left: Tensor, normalisation: Normalisation) -> Tensor:
    """A term over its mean, or over its range, of the tokens that are left; zero where that is zero."""
    if normalisation == "mean":
        mean = torch.where(left, term, 0.0).sum() / left.sum()
        return torch.where(mean == 0, 0.0, term / mean)
    low = torch.where(left, term, torch.inf).min()
    width = torch.where(left, term, -torch.inf).max() - low
    return torch.where(width == 0, 0.0, (term - low) / width)
