"""``tops plan``: the cells of an experiment, their state, and the cost of the missing ones."""

from __future__ import annotations

import sys

from tops.cli.grammar import Command
from tops.cli.run import MULTIRUN, run_keys

_HELP = """usage: tops plan [-m] [--cells] KEY=VALUE ...

The same keys as `tops run`; nothing is run.

  -m, --multirun   take several values per key and plan every combination
  --cells          every cell on a line of its own"""


def _run(words: tuple[str, ...], multirun: bool, cells: bool) -> int:
    from tops.planning.request import request
    from tops.planning.show import plan_text

    asked = request(words, multirun=multirun)
    print(plan_text(asked.plan, cells=cells, gpus_per_worker=asked.config.launcher.gpus_per_worker))
    sys.stdout.flush()
    return 0


command = Command(
    "plan", _run, text=lambda: _HELP, keys=run_keys, switches={MULTIRUN: "every combination", "--cells": "every cell"}
)
