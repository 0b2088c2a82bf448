"""The judge of a run: probed before anything starts, then named to every worker."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TextIO

from tops.benchmarks.benchmark import load_benchmark
from tops.evaluation.judge import Judge
from tops.planning.plan import Plan
from tops.settings.schema import ProfileConfig


def judge_of(profile: ProfileConfig) -> Judge | None:
    """The judge that a profile names, else that of ``TOPS_JUDGE_URL``; None without."""
    if profile.judge:
        return Judge(profile.judge, profile.judge_model)
    return Judge.from_environment()


def with_judge(plan: Plan, out: TextIO | None = None) -> Plan:
    """A plan whose profile names a judge that has been tried, where the plan has judged benchmarks left.

    Without one the run goes on; ``out`` is told which benchmarks will have answers and no number.

    Raises
    ------
    JudgeError
        If there is a judge and it does not answer, or cannot tell right from wrong.
    """
    asked = [load_benchmark(name) for name in dict.fromkeys(cell.benchmark.name for cell in plan.todo())]
    judged = ", ".join(benchmark.title for benchmark in asked if benchmark.judged)
    if not judged:
        return plan
    judge = judge_of(plan.profile)
    if judge is None:
        print(
            f"{judged}: no judge, so the cells end answered, not judged; set TOPS_JUDGE_URL or profile.judge to an "
            "OpenAI-compatible address, or judge later with `tops score judge=URL`",
            file=out or sys.stderr,
        )
        return plan
    judge = judge.probe()
    return replace(plan, profile=replace(plan.profile, judge=judge.base, judge_model=judge.model))
