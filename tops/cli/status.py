"""``tops status``: the present state of an experiment's cells, read from the store."""

from __future__ import annotations

import sys
import time

from tops.cli.grammar import Command
from tops.cli.run import MULTIRUN, run_keys

EVERY = 5.0  # seconds between two looks of --watch
_CLEAR = "\x1b[2J\x1b[H"  # a terminal's codes: clear the screen, go to its first line

_HELP = """usage: tops status [-m] [--watch] KEY=VALUE ...

The same keys as `tops run`, such as experiment=table1 profile=miniature. Exit status 1 while something is missing.

  --watch   again every few seconds on the same screen, with the rate and the time left, until nothing is missing"""


def _run(words: tuple[str, ...], multirun: bool, watch: bool) -> int:
    from tops.planning.request import request
    from tops.planning.show import status_text

    first: tuple[float, int] | None = None
    while True:
        plan = request(words, multirun=multirun).plan
        left, now = len(plan.todo()), time.monotonic()
        first = first or (now, left)
        if watch and sys.stdout.isatty():
            print(_CLEAR, end="")
        print(status_text(plan))
        if not watch or not left:
            return 0 if plan.complete else 1
        print(rate_text(first[1] - left, now - first[0], left), flush=True)
        time.sleep(EVERY)


def rate_text(done: int, seconds: float, left: int) -> str:
    """Text with the rate at which cells were completed during the watch, and the time left at this rate."""
    from tops.running.duration import duration

    if not seconds:
        return f"\n{left} cells left; the rate is told after {EVERY:.0f} s (Ctrl-C ends the watch, not the run)"
    if done <= 0:
        return f"\n{left} cells left; none was completed in {duration(seconds)}"
    return (
        f"\n{left} cells left; {60 * done / seconds:.1f} cells a minute, about {duration(seconds / done * left)} left"
    )


command = Command(
    "status",
    _run,
    text=lambda: _HELP,
    keys=run_keys,
    switches={MULTIRUN: "every combination", "--watch": "again every few seconds"},
)
