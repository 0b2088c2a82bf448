"""``python -m scripts.miniature.power``: how small a difference between two methods a table can show, from its answers.

The answers of the store are resampled as the report does it. A table of ``n_b`` documents of benchmark ``b`` has
Rel differences with the variance ``sum_b v_b``; ``v_b`` is what remains when ``b`` alone is resampled, and falls as
``1 / n_b``. Documents that cost ``c_b`` seconds each are best spent in proportion to ``sqrt(v_b n_b / c_b)``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tops.errors import DataError, TopsError
from tops.planning.plan import plan
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import collect
from tops.statistics.intervals import minimum_detectable_effect


@dataclass(frozen=True)
class Part:
    """One benchmark of a table.

    Attributes
    ----------
    documents : int
        Number of documents that were asked.
    seconds : float
        Seconds per document, median over the methods.
    variances : ndarray, shape (pairs,)
        Variance of the difference in Rel of each pair of methods when this benchmark alone is resampled, in squared
        points.
    """

    documents: int
    seconds: float
    variances: np.ndarray


def parts_of(resamples: Resamples, backbone: str, level: str) -> dict[str, Part]:
    """Every benchmark behind Rel on one backbone, with the pairs of methods at one level.

    Raises
    ------
    DataError
        Fewer than two methods are complete there.
    """
    results, scale = resamples.results, resamples.scales[backbone]
    reference = results.reference(backbone)
    rows = [
        row
        for row in results.rows(backbone)
        if row.level == level and row.role == "method" and row.protocol == "layer_average"
    ]
    rows = [row for row in rows if resamples.rel(backbone, row) is not None]
    if scale is None or reference is None or len(rows) < 2:
        raise DataError(f"fewer than two methods have a Rel at {level} on {backbone}; run the experiment first")
    every = [*rows, reference]
    points = {(row, slug): resamples.places[row, column].point for row in every for slug, column in scale.slugs.items()}
    found = {}
    for slug, column in scale.slugs.items():

        def rel(row: Any, slug: str = slug) -> Any:
            scores: dict[str, Any] = {
                name: resamples.places[row, of].resampled if name == slug else points[row, name]
                for name, of in scale.slugs.items()
            }
            return scale.rule.acc(scores)

        base = rel(reference)
        draws = {row: 100 * rel(row) / base for row in rows}
        briefs = [resamples.of(record) for row in rows for record in results.entries[row, column].records]
        found[slug] = Part(
            len(briefs[0].ids),
            float(np.median([brief.seconds for brief in briefs])),
            np.array([np.var(draws[one] - draws[other], ddof=1) for one, other in combinations(rows, 2)]),
        )
    return found


def detectable(parts: dict[str, Part], documents: dict[str, int]) -> np.ndarray:
    """Smallest true difference in Rel that so many documents show with 80 % power, of each pair, in points."""
    total = sum(part.variances * part.documents / documents[slug] for slug, part in parts.items())
    return np.array([minimum_detectable_effect(float(v) ** 0.5) for v in np.atleast_1d(total)])


def needed(parts: dict[str, Part], points: float) -> dict[str, int]:
    """The cheapest documents of each benchmark with which half of the pairs show a difference of so many points."""
    typical = {slug: float(np.median(p.variances)) * p.documents for slug, p in parts.items()}
    shares = {slug: (typical[slug] / max(part.seconds, 1e-6)) ** 0.5 for slug, part in parts.items()}
    low, high = 1e-3, 1e9
    for _ in range(80):
        middle = (low * high) ** 0.5
        asked = {slug: max(1, round(middle * share)) for slug, share in shares.items()}
        low, high = (low, middle) if np.median(detectable(parts, asked)) <= points else (middle, high)
    return {slug: max(1, round(high * share)) for slug, share in shares.items()}


def lines(resamples: Resamples, level: str, points: float) -> list[str]:
    """Lines to print."""
    out = []
    for backbone in resamples.results.backbones:
        try:
            parts = parts_of(resamples, backbone, level)
        except DataError as unfinished:
            out.append(str(unfinished))
            continue
        now = detectable(parts, {slug: part.documents for slug, part in parts.items()})
        share = {slug: float(np.median(part.variances)) for slug, part in parts.items()}
        wanted = needed(parts, points)
        out.append(f"{backbone}, {level}: {len(now)} pairs of methods; shown with 80 % power is a difference in Rel of")
        out.append(f"  {np.median(now):.1f} points (median pair; {now.min():.1f} to {now.max():.1f})")
        out.append(f"  {'benchmark':<18}{'documents':>10}{'of variance':>13}{'s each':>8}{f'for {points:g}':>8}")
        for slug, part in parts.items():
            ratio = share[slug] / sum(share.values())
            out.append(f"  {slug:<18}{part.documents:>10}{ratio:>12.0%} {part.seconds:>8.3f}{wanted[slug]:>8}")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.miniature.power", description=__doc__.split("\n")[0])
    parser.add_argument("--experiment", default="table1", help="experiment with complete runs (default: table1)")
    parser.add_argument("--profile", default="miniature", help="its profile (default: miniature)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="result store (default: results)")
    parser.add_argument("--level", default="77.8", help="level of the experiment (default: 77.8)")
    parser.add_argument("--points", type=float, default=5.0, help="difference in Rel that is to show (default: 5)")
    parser.add_argument("--limit", type=int, help="documents of each benchmark, if the run was limited so")
    options = parser.parse_args(arguments)
    try:
        planned = plan(options.experiment, options.profile, results=options.results, limit=options.limit)
        resamples = Resamples(unmixed(collect(planned, options.results)))
        print("\n".join(lines(resamples, options.level, options.points)))
    except TopsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
