"""The judge of a run: probed before the run, passed to every worker, asked at the end for verdicts that are missing."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TextIO

from tops.benchmarks.benchmark import load_benchmark
from tops.errors import TopsError
from tops.evaluation.judge import Judge, judge_record
from tops.planning.plan import Plan, PlanStatus
from tops.settings.schema import ProfileConfig
from tops.store.store import Store

VARIABLE = "TOPS_JUDGE_URL"


def judge_of(profile: ProfileConfig) -> Judge | None:
    """The judge that a profile names, else that of ``TOPS_JUDGE_URL``; None where neither names one.

    An address that carries a key is never written into a run's files: workers read it from the environment, where it is
    found by the address without the key.
    """
    named = Judge.from_environment()
    if profile.judge and (named is None or named.base != Judge(profile.judge).base):
        return Judge(profile.judge, profile.judge_model)
    return named if named is None or not profile.judge_model else replace(named, model=profile.judge_model)


def with_judge(plan: Plan, out: TextIO | None = None) -> Plan:
    """The plan with a judge in its profile that was probed, if cells of judged benchmarks are left to run.

    Without a judge the run goes on, and ``out`` gets a line with the benchmarks that will have answers but no score.

    Raises
    ------
    JudgeError
        If there is a judge and it does not answer, or cannot tell right from wrong.
    """
    waiting = [p.cell for p in plan.unique().values() if p.status is PlanStatus.ANSWERED and p.cell is not None]
    cells = [*plan.todo(), *waiting]
    asked = [load_benchmark(name) for name in dict.fromkeys(cell.benchmark.name for cell in cells)]
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
    if judge.secret:
        os.environ[VARIABLE] = judge.url
    return replace(plan, profile=replace(plan.profile, judge=judge.base, judge_model=judge.model))


def judge_the_rest(plan: Plan) -> dict[str, str]:
    """Judge the cells of a plan that are answered but not judged, if there is a judge.

    Such cells remain where the judge stopped during a run; the verdicts that it gave before are kept.

    Returns
    -------
    dict
        Key of each cell that still has no score, to the reason. Empty where no judge is configured.
    """
    waiting = [p for p in plan.unique().values() if p.status is PlanStatus.ANSWERED and p.cell is not None]
    judge = judge_of(plan.profile) if waiting else None
    if judge is None or plan.store is None:
        return {}
    store, failed = Store(plan.store, plan.profile.name), {}
    for planned in waiting:
        assert planned.cell is not None
        try:
            judge_record(store, planned.stored, load_benchmark(planned.cell.benchmark.name), judge)
        except TopsError as error:
            failed[planned.cell.key] = f"answered, not judged: {error}"
    return failed
