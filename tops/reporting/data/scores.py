"""Acc and Rel of a row, over the benchmarks that can be scored at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tops.benchmarks.benchmark import load_benchmark, load_suite
from tops.paper.aggregation import PRINTED, PROPER, AccRule
from tops.planning.plan import Column, PlanStatus, Row
from tops.reporting.data.names import benchmark_title
from tops.reporting.data.results import Results


@dataclass(frozen=True)
class Aggregate:
    """Acc and Rel of one row on one backbone.

    Attributes
    ----------
    acc, rel : float or None
        None where ``reason`` says why.
    """

    acc: float | None = None
    rel: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Scale:
    """The rule of Acc on one backbone.

    Attributes
    ----------
    rule : AccRule
        Restricted to what can be scored.
    absent : tuple of str
        Benchmarks of the paper's rule that no row can have here, with the reason.
    slugs : dict of str to Column
        Column of each benchmark in the rule.
    whole : bool
        Whether this is the paper's rule with all of its benchmarks.
    """

    rule: AccRule
    absent: tuple[tuple[str, str], ...]
    slugs: dict[str, Column]
    whole: bool = True

    @property
    def note(self) -> str:
        """Sentence for the caption when benchmarks are absent; empty when none is."""
        if not self.absent:
            return ""
        names = ", ".join(f"{benchmark_title(name)} ({why})" for name, why in self.absent)
        have = len(self.rule.divisors)
        return f"over {have} of {have + len(self.absent)} benchmarks, without {names}"


def scale_of(results: Results, backbone: str, *, printed: bool = False) -> Scale | None:
    """The Acc rule of an experiment on a backbone; None when it has no benchmark of the rule.

    A benchmark that is refused for every row, or not judged, is left out for all rows, and the caption says so. An
    unfinished benchmark stays in: rows without it have no Acc yet.
    """
    rule = (PRINTED if printed else PROPER)[results.plan.experiment.acc]
    columns = {column.slug: column for column in results.columns(backbone)}
    if _others(columns):
        rule, whole = _even(columns), False
    else:
        if not set(rule.divisors) & set(columns):
            rule = AccRule("plain mean of the benchmarks shown", dict.fromkeys(columns, 1))
        whole = set(rule.divisors) <= set(columns)
        rule = rule if whole else _shown(rule, columns)
    absent, slugs = [], {}
    for slug in rule.divisors:
        column = columns[slug]
        states = [e for (_, c), e in results.entries.items() if c == column]
        refused = [e for e in states if e.status is PlanStatus.REFUSED]
        unjudged = [e for e in states if e.status is PlanStatus.ANSWERED]
        if unjudged and not any(e.values for e in states):
            absent.append((slug, unjudged[0].reason))
        elif states and len(refused) == len(states):
            absent.append((slug, refused[0].reason))
        else:
            slugs[slug] = column
    if not slugs:
        return None
    rule = _shown(rule, slugs) if absent else rule
    return Scale(rule, tuple(absent), slugs, whole and not absent)


def _others(columns: Mapping[str, Column]) -> bool:
    """Whether a benchmark is shown that the paper does not have: its rules of Acc would leave that out."""
    papers = load_suite("all")
    asked = [load_benchmark(column.benchmark) for column in columns.values()]
    return any(bench.measure == "answers" and bench.source not in papers for bench in asked)


def _even(columns: Mapping[str, Column]) -> AccRule:
    """A rule with equal weights, each benchmark in percent of its best score; parts count with their benchmark."""
    divisors = {}
    for slug, column in columns.items():
        bench = load_benchmark(column.benchmark)
        if not column.metric and bench.measure == "answers":
            divisors[slug] = max(1, round(bench.maximum / 100))
    if not divisors:
        return AccRule("plain mean of the benchmarks shown", dict.fromkeys(columns, 1))
    scaled = "".join(f", {benchmark_title(slug)} / {divisor}" for slug, divisor in divisors.items() if divisor != 1)
    return AccRule(f"mean of the {len(divisors)} benchmarks shown{scaled}", divisors)


def _shown(rule: AccRule, columns: Mapping[str, Column]) -> AccRule:
    """The rule restricted to the shown benchmarks, with its own description."""
    kept = {slug: divisor for slug, divisor in rule.divisors.items() if slug in columns}
    scaled = "".join(f", {benchmark_title(slug)} / {divisor}" for slug, divisor in kept.items() if divisor != 1)
    text = f"mean of the {len(kept)} benchmarks with scores" if len(kept) > 1 else "the one benchmark with scores"
    return AccRule(f"{text}{scaled}", kept)


def aggregate(results: Results, scale: Scale, row: Row) -> Aggregate:
    """Acc and Rel of a row; Rel is in percent of the unpruned row on the same benchmarks; neither is rounded."""
    scores = _scores(results, scale, row)
    missing = [slug for slug in scale.slugs if slug not in scores]
    if missing:
        return Aggregate(reason=_why(results, scale, row, missing))
    acc = float(scale.rule.acc(scores))
    backbone = next(iter(scale.slugs.values())).backbone
    reference = results.reference(backbone)
    base = _scores(results, scale, reference) if reference else {}
    if any(slug not in base for slug in scale.slugs):
        return Aggregate(acc, None, "the unpruned model has no Acc yet")
    whole = float(scale.rule.acc(base))
    if whole == 0:
        return Aggregate(acc, None, "the unpruned model scores 0")
    return Aggregate(acc, 100 * acc / whole)


def _why(results: Results, scale: Scale, row: Row, missing: list[str]) -> str:
    """The reason that all missing benchmarks share, else a list of the missing ones."""
    entries = [results.entries.get((row, scale.slugs[slug])) for slug in missing]
    reasons = {e.reason if e is not None else "not planned" for e in entries}
    if len(missing) == len(scale.slugs) and len(reasons) == 1:
        return reasons.pop()
    names = ", ".join(benchmark_title(s) for s in missing)
    return f"{len(missing)} of {len(scale.slugs)} benchmarks without a number: {names}"


def _scores(results: Results, scale: Scale, row: Row) -> Mapping[str, float]:
    found = {}
    for slug, column in scale.slugs.items():
        entry = results.entries.get((row, column))
        if entry is not None and entry.value is not None:
            found[slug] = entry.value
    return found
