"""Columns of an experiment with the words and the rule that they are asked and scored by."""

from __future__ import annotations

from dataclasses import replace

from tops.benchmarks.benchmark import Benchmark, load_benchmark
from tops.errors import ConfigurationError, nearest_names
from tops.settings.schema import ColumnConfig, Experiment, ProfileConfig


def by_toolkit(column: ColumnConfig, exp: Experiment, profile: ProfileConfig) -> ColumnConfig:
    """A column with its convention and scorer, the toolkit's where it names none and the benchmark has them.

    Benchmarks that the profile asks in stock words take the toolkit's scorer alone.

    Raises
    ------
    ConfigurationError
        For a benchmark, convention or scorer that does not exist, or a toolkit that no benchmark here knows.
    """
    benchmark, toolkit = load_benchmark(column.benchmark), exp.toolkit
    for name in profile.stock_words:
        load_benchmark(name)
    try:
        benchmark.check_convention(column.convention)
        benchmark.check_scorer(column.scorer)
        known = {name for c in exp.benchmarks for name in _toolkits(load_benchmark(c.benchmark))}
        if toolkit and toolkit not in known:
            raise ConfigurationError(
                f"no benchmark here knows the toolkit {toolkit!r}. {nearest_names(toolkit, sorted(known))}"
            )
    except ConfigurationError as error:
        raise ConfigurationError(f"experiment {exp.name!r}: {error}") from None
    taught = toolkit in benchmark.conventions and column.benchmark not in profile.stock_words
    convention = column.convention or (toolkit if taught else "")
    scorer = column.scorer or (toolkit if toolkit in benchmark.scorers else "")
    return replace(column, convention=convention, scorer=scorer)


def _toolkits(benchmark: Benchmark) -> set[str]:
    return {*benchmark.conventions, *benchmark.scorers}
