"""TOPS: the greedy selection of its algorithms."""

from __future__ import annotations

from tops.selection import select_tops

from .compare import Arrays, Comparison

SURE_GAP = 2e-6


def case(case: Arrays, check: Comparison) -> None:
    """Order of selection for every subset of the principles and both normalisations."""
    features, relevance, k = case["features"], case["relevance"], case.number("k")
    alpha, lam = case.real("alpha"), case.real("lam")
    for name in case.names("order_"):
        _, normalisation, principles = name.split("_")
        want = case[name]
        if case.real(f"gap_{normalisation}_{principles}") <= SURE_GAP:
            continue  # two scores so close that the order of float32 sums decides
        order = select_tops(
            features,
            relevance,
            k,
            alpha=alpha,
            lam=lam,
            principles=principles,
            normalisation="mean" if normalisation == "mean" else "minmax",
        )
        check.same(name, order, want)
