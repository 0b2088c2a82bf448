"""``tops status``: where the cells of an experiment stand now, read from the store."""

from __future__ import annotations

import time

from tops.cli.grammar import Command
from tops.cli.run import MULTIRUN, run_keys

_HELP = """usage: tops status [-m] [--watch] KEY=VALUE ...

The same keys as `tops run`, such as experiment=table1 profile=miniature. Exit status 1 while something is missing.

  --watch   again every few seconds, until nothing is missing"""


def _run(words: tuple[str, ...], multirun: bool, watch: bool) -> int:
    from tops.planning.request import request
    from tops.planning.show import status_text

    while True:
        plan = request(words, multirun=multirun).plan
        print(status_text(plan))
        if not watch or not plan.todo():
            return 0 if plan.complete else 1
        time.sleep(5)


command = Command(
    "status",
    _run,
    text=lambda: _HELP,
    keys=run_keys,
    switches={MULTIRUN: "every combination", "--watch": "again every few seconds"},
)
