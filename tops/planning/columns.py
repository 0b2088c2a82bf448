"""Columns of an experiment: the convention that each is asked in, and the scorer that reads its answers."""

from __future__ import annotations

from dataclasses import replace

from tops.benchmarks.benchmark import Benchmark, load_benchmark
from tops.errors import ConfigurationError, nearest_names
from tops.settings.schema import ColumnConfig, Experiment, ProfileConfig


def by_toolkit(column: ColumnConfig, exp: Experiment, profile: ProfileConfig) -> ColumnConfig:
    """A column with its convention and scorer filled in.

    Where the column names none, it takes those of the experiment's toolkit, if the benchmark has them. A benchmark that
    the profile asks in lmms-eval's words (``stock_words``) takes the toolkit's scorer but not its convention.

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
