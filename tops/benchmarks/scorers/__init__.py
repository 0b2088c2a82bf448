"""Scoring of stored answers by named rules. Needs no model, no data set, no torch.

A rule turns one answer into a row and rows into metrics; a metric can be evaluated on resamples of the documents
(:mod:`tops.statistics.metrics`). The benchmark's YAML file lists its rules with their public names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tops.benchmarks.benchmark import Benchmark, load_benchmark
from tops.benchmarks.scorers import choice, fidelity, grounding, lettered, mmmu, open, video, written, yes_no
from tops.benchmarks.scorers import stock as stock_module
from tops.benchmarks.scorers import turns as turns_module
from tops.benchmarks.scorers.code import code_of_rule
from tops.benchmarks.scorers.rule import Row, Rule
from tops.benchmarks.scorers.stock import STOCK, stock_rule
from tops.benchmarks.scorers.turns import in_turns
from tops.errors import ConfigurationError, DataError, nearest_names
from tops.fingerprint import combined
from tops.references import is_reference, load, locate
from tops.settings.choices import choice_file
from tops.statistics.metrics import Metric
from tops.store.answers import Answer
from tops.store.hashes import remember_earlier

__all__ = ["RULES", "Row", "Rule", "aggregate", "metrics", "rule_code", "rule_of", "score_answers", "summarise"]

_MODULES = (yes_no, choice, open, video, fidelity, written, lettered, mmmu, grounding)
RULES: dict[str, Rule] = {name: rule for module in _MODULES for name, rule in module.RULES.items()}


def rule_of(benchmark: Benchmark | str, scorer: str | None = None) -> Rule:
    """The rule behind a benchmark's scorer; the default one for None.

    Raises
    ------
    ConfigurationError
        For an unknown benchmark, scorer or rule, with the nearest names.
    """
    bench = load_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    name = scorer or bench.scorer
    if name not in bench.scorers:
        raise ConfigurationError(f"{bench.name} has no scorer {name!r}. {nearest_names(name, bench.scorers)}")
    found = _rule_named(bench, bench.scorers[name])
    return found if bench.turns is None else in_turns(found)


def _rule_named(bench: Benchmark, rule: str) -> Rule:
    if rule.startswith(STOCK):
        return stock_rule(rule.removeprefix(STOCK), f"configs/benchmark/{bench.name}.yaml")
    if is_reference(rule):
        found, source = load(rule, choice_file("benchmark", bench.name).parent, Path())
        if not isinstance(found, Rule):
            raise ConfigurationError(
                f"benchmark {bench.name}: {source.reference} is no tops.benchmarks.scorers.Rule but a "
                f"{type(found).__name__}; see docs/add-a-benchmark.md"
            )
        return found
    if rule not in RULES:
        raise ConfigurationError(f"configs/benchmark/{bench.name}.yaml: no rule {rule!r}. {nearest_names(rule, RULES)}")
    return RULES[rule]


def rule_code(benchmark: Benchmark | str, scorer: str | None = None) -> str:
    """Fingerprint of the code of a scorer's rule; a changed rule may read the same answer differently.

    Raises
    ------
    ConfigurationError
        For an unknown benchmark, scorer or rule, with the nearest names.
    """
    bench = load_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    rule_of(bench, scorer)
    own = _code_named(bench, bench.scorers[scorer or bench.scorer])
    return own if bench.turns is None else combined({"rule": own, "turns": code_of_rule(str(turns_module.__file__))})


def _code_named(bench: Benchmark, rule: str) -> str:
    if rule.startswith(STOCK):
        return code_of_rule(str(stock_module.__file__), rule.removeprefix(STOCK).split(":")[0])
    if is_reference(rule):
        own = locate(rule, choice_file("benchmark", bench.name).parent, Path())
        remember_earlier(own.digest, own.earlier[:16])
        return own.digest
    return next(code_of_rule(str(module.__file__)) for module in _MODULES if rule in module.RULES)


def score_answers(benchmark: Benchmark | str, scorer: str | None, answers: Iterable[Answer]) -> dict[int, Row]:
    """Rows of all answers, by document.

    Raises
    ------
    ConfigurationError
        If the scorer needs a judge.
    DataError
        If a stored answer cannot be scored: its target is not what the rule expects, or the document failed.
    """
    rule = rule_of(benchmark, scorer)
    if rule.row is None:
        raise ConfigurationError(f"scorer {scorer!r} needs a judge; pass its address with --judge URL")
    rows: dict[int, Row] = {}
    for answer in answers:
        if answer.error is not None:
            raise DataError(f"document {answer.doc_id} failed ({answer.error}); run the cell again before scoring")
        try:
            rows[answer.doc_id] = rule.row(answer.answer, answer.target)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"document {answer.doc_id} cannot be scored by {rule.source}: {error!r}") from error
    return rows


def metrics(benchmark: Benchmark | str, scorer: str | None, rows: Sequence[Row]) -> dict[str, Metric]:
    """Metrics over rows, for resampling; the rows must be in the order of the clusters given to the resampler."""
    return rule_of(benchmark, scorer).metrics(rows)


def aggregate(benchmark: Benchmark | str, scorer: str | None, rows: Sequence[Row]) -> dict[str, float]:
    """Values of all metrics of a scorer, on the scale that papers print.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if not rows:
        raise DataError("no documents: there is nothing to score")
    return {name: metric.point for name, metric in metrics(benchmark, scorer, rows).items()}


def summarise(
    benchmark: Benchmark | str, scorer: str | None, answers: Sequence[Answer], rows: Mapping[int, Row]
) -> dict[str, Any]:
    """The entry that the store keeps of one scorer.

    Returns
    -------
    dict
        ``metrics``, ``metric`` (the one to print), ``scale``, ``documents``, ``invalid_rate`` (answers that could not
        be read), ``yes_rate`` (of the predictions; None unless yes/no), ``mean_output_tokens``, ``rule``, ``code``
        (:func:`rule_code`).
    """
    bench = load_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    ordered = [rows[a.doc_id] for a in answers]
    values = aggregate(bench, scorer, ordered)
    count = len(ordered)
    says_yes = [row["prediction"] == "yes" for row in ordered]
    return {
        "metrics": values,
        "metric": bench.metric if bench.metric in values else next(iter(values)),
        "scale": bench.scale,
        "documents": count,
        "invalid_rate": sum(not row["valid"] for row in ordered) / count,
        "yes_rate": sum(says_yes) / count if bench.group == "yes/no" else None,
        "mean_output_tokens": sum(a.output_tokens for a in answers) / count,
        "rule": rule_of(bench, scorer).source,
        "code": rule_code(bench, scorer),
    }
