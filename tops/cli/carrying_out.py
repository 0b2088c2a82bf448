"""Steps that ``tops run`` and ``tops compare`` share: prepare, run, print the outcome, and show the table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tops.errors import ConfigurationError

if TYPE_CHECKING:
    from tops.planning.plan import Plan
    from tops.planning.request import Request


def carried_out(ask: Callable[[], Request], reports: str = "") -> int:
    """Run what ``ask`` plans; exit status 1 when a cell is missing at the end, 130 after Ctrl-C.

    Parameters
    ----------
    ask : callable
        Makes the request. It is called twice where documents are built first, because their hash enters the cells'
        keys.
    reports : str
        Folder of reports: build the report, and print its first table. Empty: only run.
    """
    from tops.planning.requirements import check_requirements
    from tops.planning.show import plan_text
    from tops.planning.staging import prepare
    from tops.running.judging import with_judge
    from tops.running.run import run

    asked = ask()
    if asked.config.profile.miniature:
        prepare(asked.config.profile)
        asked = ask()
    _check_any(asked)
    if asked.plan.todo():
        check_requirements(asked.plan, asked.config.launcher)
    if asked.plan.stops and asked.config.launcher.detach:
        raise ConfigurationError("stop= looks at each round before the next; leave --detach out")
    try:
        while True:
            print(plan_text(asked.plan, short=True), file=sys.stderr)
            summary = run(with_judge(asked.plan), asked.config.launcher, asked.config.results)
            after = ask() if asked.plan.stops and not summary.missing else None
            if after is None or not after.plan.todo():
                asked = after or asked
                break
            asked = after
    except KeyboardInterrupt:
        if asked.config.launcher.kind == "slurm":  # the array goes on; its launcher has printed that
            return 130
        stored = "every answer so far is stored, the same command goes on where it stopped"
        print(f"\nstopped with {_complete(asked.plan)}; {stored}", file=sys.stderr)
        return 130
    if asked.config.launcher.detach:
        return 0
    print(summary.text(), file=sys.stderr)
    if asked.config.tracking.mode != "disabled":
        from tops.running.tracking import publish

        publish(asked.plan, asked.config.tracking, asked.config.results)
    _check_any(asked)
    if reports and summary.done:
        show_report(asked, Path(reports))
    return 1 if summary.missing else 0


def show_report(asked: Request, reports: Path) -> None:
    """Build the report of a plan; print its first table, its summary in words, and the path of its page."""
    from tops.planning.plan import refreshed
    from tops.reporting.build import build_from, make
    from tops.reporting.data.results import collect
    from tops.reporting.tables import render

    results = collect(refreshed(asked.plan), asked.config.results)
    folder = reports / asked.plan.profile.name
    made = make(results, folder / ".cache")
    paths = build_from(made, folder)
    print("\n\n".join([*(render.plain(table) for table in made.main), "\n".join(made.summary)]))
    print(f"\n{next(path for path in paths if path.suffix == '.html')}")


def _check_any(asked: Request) -> None:
    """Refuse a plan of refused cells alone: a run that does nothing is no success."""
    if not asked.plan.unique():
        refused = [planned.reason for planned in asked.plan.cells] or ["it has no cells"]
        more = f" ({len(refused)} cells are refused; this is the first reason)" if len(refused) > 1 else ""
        raise ConfigurationError(f"nothing can run: {refused[0]}{more}")


def _complete(plan: Plan) -> str:
    """Text with the number of cells of a plan that are complete now."""
    from tops.store.store import Store

    store = Store(plan.store or "results", plan.profile.name)
    keys = list(plan.unique())
    return f"{sum(store.status(key).done for key in keys)} of {len(keys)} cells complete"
