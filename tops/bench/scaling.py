"""``tops bench scaling``: time and memory of selection, and of an evaluated document, against N and K.

Four series with the fitted exponents: one pool of N tokens at a fixed K; one pool of fixed N at growing K; units
(tiles, frames) of 729 tokens, 64 kept in each, up to 64 frames (46,656 tokens); and whole documents, from pixels to the
answer of a small model with random weights under TOPS, of 1 to 81 images of 576 tokens (46,656). Every point runs in a
process of its own, so that its peak memory is its own; a point that would not fit is left out and said.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from tops.bench.measure import machine, median_seconds, write_json
from tops.bench.plain import ALPHA, LAM
from tops.bench.selection import clustered
from tops.selection import select_tops
from tops.selection.similarity import LARGE

WIDTH = 64
POOLS = (576, 1152, 2304, 4608, 9216, 18432, 46656)
PICKS = (32, 64, 128, 256, 512, 1024, 2048)
FRAMES = (1, 2, 4, 8, 16, 32, 64)
IMAGES = (1, 2, 5, 10, 20, 40, 81)


class Point(NamedTuple):
    """One size: K of N tokens in each of B units, selected alone or as part of a document."""

    batch: int
    n: int
    k: int
    whole: bool = False

    @property
    def similarity_bytes(self) -> int:
        """int32 similarities and their float64 scratch, the two large things a selection holds."""
        # Of a document the largest is Stage II's: one pool of the 2K that Stage I kept of each image.
        batch, n = (1, 2 * self.k * self.batch) if self.whole else (self.batch, self.n)
        return batch * n**2 * 4 + n * (8 * n if n <= LARGE else 512 * 12)


def main(argv: list[str]) -> int:
    """Measure all series, print them with exponents, write the record."""
    options = _parser().parse_args(argv)
    series = {
        "tokens, K=64": ("n", [Point(1, n, 64) for n in POOLS]),
        "picks, N=2304": ("k", [Point(1, 2304, k) for k in PICKS]),
        "frames of 729, K=64": ("batch", [Point(b, 729, 64) for b in FRAMES]),
        "documents, images of 576, K=64": ("batch", [Point(b, 576, 64, whole=True) for b in IMAGES]),
    }
    record: dict[str, object] = {"benchmark": "scaling", "machine": machine(torch.device("cpu")), "width": WIDTH}
    for name, (axis, points) in series.items():
        small = [point for point in points if point.similarity_bytes <= options.gigabytes * 1e9]
        rows = [row(point, options.repeats) for point in small]
        axis_values = [getattr(point, axis) for point in small]
        fits = {
            "time_exponent": exponent(axis_values, [r["seconds"] for r in rows]),
            "memory_exponent": exponent(axis_values, [r["peak_bytes"] for r in rows]),
        }
        record[name] = {"axis": axis, "rows": rows, **fits}
        print(f"{name}: time ~ {axis}^{fits['time_exponent']:.2f}, memory ~ {axis}^{fits['memory_exponent']:.2f}")
        for r in rows:
            print(
                f"  {r['batch']:.0f} x {r['n']:.0f} -> {r['k']:.0f}"
                f"  {1e3 * r['seconds']:9.2f} ms  {r['peak_bytes'] / 1e6:8.1f} MB"
            )
        for point in points[len(small) :]:
            print(f"  {point.batch} x {point.n} -> {point.k}  not run: {point.similarity_bytes / 1e9:.1f} GB to hold")
    print(record["machine"])
    if options.json:
        write_json(options.json, record)
    if options.plot:
        plot(record, options.plot)
    return 0


def row(point: Point, repeats: int) -> dict[str, float]:
    """One point, in a fresh process: its sizes, seconds (median), peak_bytes above what the process held before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak = pool.apply(_measure, (point, repeats, torch.get_num_threads()))
    return {"batch": point.batch, "n": point.n, "k": point.k, "seconds": seconds, "peak_bytes": peak}


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of the least-squares line of log y over log x; NaN with fewer than two points.

    Parameters
    ----------
    x, y : sequence of float
        Positive.
    """
    if len(x) < 2:
        return math.nan
    a, b = [math.log(v) for v in x], [math.log(v) for v in y]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    spread = sum((u - mean_a) ** 2 for u in a)
    return sum((u - mean_a) * (v - mean_b) for u, v in zip(a, b, strict=True)) / spread


def plot(record: dict[str, object], path: Path) -> None:
    """Both quantities of every series on logarithmic axes, as the file's suffix says (png, svg, pdf)."""
    import matplotlib.pyplot as plt

    names = [name for name, content in record.items() if isinstance(content, dict) and "rows" in content]
    figure, axes = plt.subplots(2, len(names), figsize=(4 * len(names), 6), squeeze=False, layout="constrained")
    for column, name in enumerate(names):
        content = record[name]
        assert isinstance(content, dict)
        x = [r[content["axis"]] for r in content["rows"]]
        for line, (key, fit, unit) in enumerate(
            (("seconds", "time_exponent", "seconds"), ("peak_bytes", "memory_exponent", "bytes"))
        ):
            panel = axes[line][column]
            panel.loglog(x, [r[key] for r in content["rows"]], marker="o")
            panel.set(title=f"{name}: exponent {content[fit]:.2f}", xlabel=content["axis"], ylabel=unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _measure(point: Point, repeats: int, threads: int) -> tuple[float, int]:
    torch.set_num_threads(threads)
    make = _document if point.whole else _selection
    # A small one first: what the libraries hold from their first call on is not the point's.
    make(Point(1, min(point.n, 64), 8))()
    run = make(point)
    before = _peak()
    run()
    peak = max(_peak() - before, 1)
    return median_seconds(run, torch.device("cpu"), repeats=repeats, warmup=0), peak


def _selection(point: Point) -> Callable[[], object]:
    features, relevance = clustered(point.batch, point.n, WIDTH, torch.device("cpu"))
    return lambda: select_tops(features, relevance, point.k, alpha=ALPHA, lam=LAM)


def _document(point: Point) -> Callable[[], object]:
    from tops.bench.document import document

    return document(point.batch, point.k)


def _peak() -> int:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench scaling", description=__doc__)
    parser.add_argument(
        "--gigabytes", type=float, default=1.0, help="leave out points with more similarities than this"
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed calls, of which the median")
    parser.add_argument("--json", type=Path, help="also write the record here")
    parser.add_argument("--plot", type=Path, help="also draw it here (png, svg or pdf)")
    return parser
