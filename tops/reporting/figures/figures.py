"""Figures of an experiment; each is drawn if the experiment has the data that it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.planning.plan import Row
from tops.planning.printed import compared_rows
from tops.reporting.data.headings import level_title
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.figures.fidelity_curves import fidelity_curves
from tops.reporting.figures.frontier import frontier
from tops.reporting.figures.kept_figures import agreement_maps, evenness_curves, keep_maps
from tops.reporting.figures.overview import overview
from tops.reporting.figures.picture import Picture
from tops.reporting.figures.qualitative import qualitative_pages
from tops.reporting.figures.rank_figure import rank_intervals
from tops.reporting.figures.style import look, place, places, save, styled, tokens_of
from tops.reporting.figures.turn_curves import turn_curves
from tops.reporting.tables.efficiency import Measured
from tops.reporting.tables.fidelity import fidelity_columns
from tops.statistics.drawn import Drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WEIGHTS = re.compile(r"alpha=([\d.]+);lambda=([\d.]+)")
_RADARS = range(13, 19)
_Maker = Callable[[Resamples], Iterator[tuple[str, str, Any]]]


def write_figures(
    resamples: Resamples, folder: Path, measured: Measured | None = None
) -> tuple[list[Path], list[Picture]]:
    """Draw and save all figures of an experiment; returns all files, and those figures that the page shows.

    ``measured`` is the record of times for the frontier figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, pictures = [], []
    prefix = "Miniature, not comparable with the paper. " if resamples.results.miniature else ""
    with styled():
        by_time: _Maker = partial(frontier, measured=measured or Measured(why="not measured"))
        makers: tuple[_Maker, ...] = (*_MAKERS, by_time)
        for maker in makers:
            for name, title, figure in maker(resamples):
                print_only = maker is qualitative_pages  # no pictures for the page, which draws documents by itself
                kinds = ("pdf", "png") if print_only else ("svg", "pdf", "png")
                files, svg = save(figure, folder / f"{resamples.results.name}_{name}", kinds)
                paths += files
                if print_only:
                    continue
                first, wide = (
                    maker in (budget_curves, rank_intervals),
                    figure.get_figwidth() > 2 * figure.get_figheight(),
                )
                pictures.append(Picture(prefix + title, title, svg, first, wide))
    return paths, pictures


def budget_curves(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """Rel against the logged tokens per layer, with 95 % bands, for experiments with three budgets or more."""
    import matplotlib.pyplot as plt

    if len(resamples.results.plan.experiment.levels) < 3:
        return
    number = places(resamples.results.plan.rows)
    for backbone in resamples.results.backbones:
        if fidelity_columns(resamples, backbone):
            continue
        lines = _curves(resamples, backbone)
        if max(map(len, lines.values()), default=0) < 2:  # points alone are no curve
            continue
        figure, axes = plt.subplots(figsize=(6.6, 4.2))
        for i, (row, points) in enumerate(lines.items()):
            points.sort(key=lambda p: p[0])
            x = np.array([p[0] for p in points])
            intervals = [p[1].interval for p in points]
            subject = resamples.results.is_subject(row)
            style: dict[str, Any] = look(row, number[place(row)], subject=subject)
            low, middle, high = (np.array([getattr(v, k) for v in intervals]) for k in ("low", "estimate", "high"))
            axes.plot(x, middle, label=row_title(row), **style)
            if subject and row.protocol == "layer_average":
                axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
            else:  # a band for each would hide them all
                shift = x * (1 + 0.004 * (i - len(lines) / 2))
                bars = np.stack([middle - low, high - middle]).clip(0)
                axes.errorbar(shift, middle, bars, fmt="none", ecolor=style["color"], elinewidth=0.7, alpha=0.7)
        _reference_lines(resamples, backbone, axes)
        axes.set_xscale("log", base=2)
        ticks = sorted({round(p[0], 1) for r, points in lines.items() for p in points if r.protocol == "layer_average"})
        axes.set_xticks(_apart(ticks), [f"{t:g}" for t in _apart(ticks)])
        axes.minorticks_off()
        axes.set_xlabel("visual tokens per layer, as logged")
        axes.set_ylabel("Rel (% of the unpruned Acc)")
        axes.set_title(_titled(resamples, backbone_title(backbone)))
        figure.legend(loc="outside right upper", fontsize=8)
        shown = {place(row) for row in lines}
        without = [r for r in resamples.results.rows(backbone) if r.level and place(r) not in shown]
        names = ", ".join(dict.fromkeys(row_title(r) for r in without))
        left_out = f"; without {names}, which the main table gives no number" if names else ""
        yield (
            f"budgets_{backbone}",
            f"{backbone_title(backbone)}: Rel against the tokens each layer sees, with 95 % intervals{left_out}",
            figure,
        )


def _curves(resamples: Resamples, backbone: str) -> dict[Row, list[tuple[float, Drawn]]]:
    found: dict[Row, list[tuple[float, Drawn]]] = {}
    first: dict[tuple[str, str, str], Row] = {}
    for row in resamples.results.rows(backbone):
        if not row.level:
            continue
        drawn, tokens = resamples.rel(backbone, row), tokens_of(resamples, backbone, row)
        if drawn is not None and np.isfinite(tokens):
            leader = first.setdefault(place(row), row)
            found.setdefault(leader, []).append((tokens, drawn))
    return found


def _reference_lines(resamples: Resamples, backbone: str, axes: Any) -> None:
    axes.axhline(100, color="#1c2330", linewidth=0.9)
    blind = next((r for r in resamples.results.rows(backbone) if r.method == "text_only"), None)
    drawn = resamples.rel(backbone, blind) if blind is not None else None
    if drawn is not None:
        axes.axhline(drawn.point, color="#8a93a0", linewidth=0.9, linestyle=":")
        axes.annotate(
            "without the image",
            (1, drawn.point),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=7.5,
            color="#5a6475",
        )


def _apart(ticks: list[float]) -> list[float]:
    """Ticks at least a quarter of an octave apart."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick / kept[-1] > 1.19:
            kept.append(tick)
    return kept


def _titled(resamples: Resamples, text: str) -> str:
    return f"{text} (miniature)" if resamples.results.miniature else text


def radars(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """Each benchmark in percent of the unpruned model, a polygon per method, a panel per budget."""
    import matplotlib.pyplot as plt

    if not set(resamples.results.plan.experiment.paper.figures) & set(_RADARS):
        return
    number = places(resamples.results.plan.rows)
    for backbone in resamples.results.backbones:
        reference = resamples.results.reference(backbone)
        columns = [
            c for c in resamples.results.columns(backbone) if reference and resamples.score(reference, c) is not None
        ]
        levels = list(resamples.results.plan.experiment.levels)
        if len(columns) < 3 or reference is None:
            continue
        figure, panels = plt.subplots(
            1, len(levels), figsize=(3.6 * len(levels), 4.3), subplot_kw={"projection": "polar"}, squeeze=False
        )
        angles = np.linspace(0, 2 * np.pi, len(columns), endpoint=False)
        labels: dict[str, Any] = {}
        absent: dict[str, None] = {}
        for axes, level in zip(panels[0], levels, strict=True):
            found = compared_rows(resamples.results.plan, backbone)
            rows = [row for (at, _, _), row in found.items() if at == level and row.level]
            rows += [r for r in resamples.results.rows(backbone) if r.level == level and r.method == "random"]
            for row in rows:
                shares = [_share(resamples, row, reference, c) for c in columns]
                if any(s is None for s in shares):
                    absent.setdefault(row_title(row))
                    continue
                i, subject = number[place(row)], resamples.results.is_subject(row)
                style: dict[str, Any] = {
                    k: v for k, v in look(row, i, subject=subject).items() if not k.startswith("marker")
                }
                if not subject:
                    style["linestyle"] = ("-", "--", "-.", ":")[(i + i // 8) % 4]
                (line,) = axes.plot([*angles, angles[0]], [*shares, shares[0]], **style)
                labels.setdefault(row_title(row), line)
            axes.set_xticks(angles, [benchmark_title(c.slug) for c in columns], fontsize=7.5)
            axes.tick_params(axis="y", labelsize=7)
            axes.set_title(level_title(resamples.results, backbone, level), fontsize=9, pad=16)
        if not labels:
            plt.close(figure)
            continue
        figure.suptitle(_titled(resamples, f"{backbone_title(backbone)}, percent of the unpruned model"))
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=6, fontsize=8)
        left_out = f"; without {', '.join(absent)} where a benchmark has no number" if absent else ""
        text = f"{backbone_title(backbone)}: each benchmark in percent of the unpruned model{left_out}"
        yield f"radar_{backbone}", text, figure


def _share(resamples: Resamples, row: Row, reference: Row, column: Any) -> float | None:
    mine, base = resamples.score(row, column), resamples.score(reference, column)
    return None if mine is None or base is None or base.point == 0 else 100 * mine.point / base.point


def weight_maps(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """Acc and every benchmark over alpha and lambda, a row of panels per budget."""
    import matplotlib.pyplot as plt

    weighted = {r: m for r in resamples.results.plan.rows if (m := _WEIGHTS.fullmatch(r.variant))}
    if not weighted:
        return
    alphas = sorted({float(m[1]) for m in weighted.values()})
    lambdas = sorted({float(m[2]) for m in weighted.values()})
    for backbone in resamples.results.backbones:
        slugs = ["acc", *(c.slug for c in resamples.results.columns(backbone))]
        for level in resamples.results.plan.experiment.levels:
            maps = {slug: np.full((len(lambdas), len(alphas)), np.nan) for slug in slugs}
            for row, m in weighted.items():
                if row.level != level:
                    continue
                for slug, values in maps.items():
                    drawn = resamples.measure(backbone, row, slug)
                    if drawn is not None:
                        values[lambdas.index(float(m[2])), alphas.index(float(m[1]))] = drawn.point
            maps = {slug: v for slug, v in maps.items() if np.isfinite(v).any()}
            if not maps:
                continue
            columns = min(5, len(maps))
            lines = -(-len(maps) // columns)
            figure, panels = plt.subplots(lines, columns, figsize=(2.15 * columns, 2.2 * lines), squeeze=False)
            for axes in panels.flat[len(maps) :]:
                axes.set_axis_off()
            for axes, (slug, values) in zip(panels.flat, maps.items(), strict=False):
                _heat(axes, values, alphas, lambdas)
                axes.set_title(benchmark_title(slug), fontsize=9)
            figure.supxlabel("alpha", fontsize=9)
            figure.supylabel("lambda", fontsize=9)
            where = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
            figure.suptitle(_titled(resamples, where))
            yield f"weights_{backbone}_{level}", f"{where}: scores over alpha and lambda", figure


def _heat(axes: Any, values: np.ndarray, alphas: list[float], lambdas: list[float]) -> None:
    axes.imshow(np.ma.masked_invalid(values), cmap="cividis", origin="lower", aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(alphas)), [f"{a:g}" for a in alphas], fontsize=8)
    axes.set_yticks(range(len(lambdas)), [f"{x:g}" for x in lambdas], fontsize=8)
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            digits = 0 if value >= 1000 else 1
            colour = "#1c2330" if value > middle else "white"
            axes.text(j, i, f"{value:.{digits}f}", ha="center", va="center", fontsize=7, color=colour)


_MAKERS: tuple[_Maker, ...] = (
    overview,
    fidelity_curves,
    turn_curves,
    budget_curves,
    rank_intervals,
    radars,
    weight_maps,
    keep_maps,
    evenness_curves,
    qualitative_pages,
    agreement_maps,
)
