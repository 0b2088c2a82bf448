"""Numerical tests of the paper's propositions on random features: a counter-example would contradict them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Gain = Callable[[Floats, list[int], int], float]

TRIALS = 400
TOLERANCE = 1e-9  # of float64


def cosine(features: Floats) -> Floats:
    """Cosine similarity of every pair of rows; features of shape (n, d), the result (n, n)."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(rows @ rows.T, dtype=np.float64)


def coverage(similarity: Floats, chosen: list[int]) -> float:
    """Sum over all tokens of the similarity to the nearest chosen one; nothing chosen covers nothing."""
    return float(similarity[:, chosen].max(axis=1).clip(0).sum()) if chosen else 0.0


def coverage_gain(similarity: Floats, chosen: list[int], token: int) -> float:
    """What a further token adds to the coverage."""
    return coverage(similarity, [*chosen, token]) - coverage(similarity, chosen)


def diversity_gain(similarity: Floats, chosen: list[int], token: int) -> float:
    """One minus the similarity of a further token to the nearest chosen one."""
    return 1.0 - float(similarity[token, chosen].max(initial=-1.0))


def rising_gains(similarity: Floats, gain: Gain, generator: np.random.Generator, trials: int = TRIALS) -> int:
    """How often a token gains more beside a larger set than beside a part of it; 0 for diminishing returns.

    Parameters
    ----------
    similarity : array, shape (n, n)
        Of all tokens.
    gain : callable
        ``(similarity, chosen, token) -> float``.
    generator : numpy.random.Generator
        Draws the sets.
    trials : int
        Pairs of sets.
    """
    count, found = len(similarity), 0
    for _ in range(trials):
        order = generator.permutation(count).tolist()
        small, large = sorted(generator.integers(0, count - 1, size=2).tolist())
        token = order[-1]
        few, many = gain(similarity, order[:small], token), gain(similarity, order[:large], token)
        found += many > few + TOLERANCE
    return found


def _features(generator: np.random.Generator) -> list[Floats]:
    """Isotropic, clustered and nearly equal tokens."""
    noise = generator.normal(size=(48, 16))
    centres = generator.normal(size=(6, 16))[generator.integers(6, size=48)]
    return [noise, centres + 0.2 * noise, np.ones(16) + 0.05 * noise]


def coverage_is_submodular() -> tuple[str, bool]:
    """Gains of coverage never rise and are never negative, on three kinds of random tokens."""
    generator = np.random.default_rng(2026)
    rising = falling = 0
    for features in _features(generator):
        similarity = cosine(features)
        rising += rising_gains(similarity, coverage_gain, generator)
        for _ in range(TRIALS):
            order = generator.permutation(len(similarity)).tolist()
            size = int(generator.integers(0, len(order) - 1))
            falling += coverage_gain(similarity, order[:size], order[-1]) < -TOLERANCE
    return (
        f"{rising} of {3 * TRIALS} pairs of sets with a rising gain, {falling} of {3 * TRIALS} gains below 0 "
        "(similarities below 0 cover nothing)",
        rising == falling == 0,
    )


def diversity_diminishes() -> tuple[str, bool]:
    """A token's distance to the chosen set never grows as the set does, on three kinds of random tokens."""
    generator = np.random.default_rng(2027)
    rising = sum(rising_gains(cosine(f), diversity_gain, generator) for f in _features(generator))
    return f"{rising} of {3 * TRIALS} pairs of sets with a rising distance", rising == 0
