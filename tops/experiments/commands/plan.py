"""``tops plan``: what an experiment would run, what is there, what it would cost."""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Print the plan; the same words as ``tops run``."""
    if {"-h", "--help"} & set(argv):
        print("usage: tops plan [-m] [--cells] KEY=VALUE ...\n\nThe same keys as `tops run`; nothing is run.")
        return 0
    from tops.experiments.request import request
    from tops.experiments.show import plan_text

    words = [word for word in argv if not word.startswith("-")]
    asked = request(words, multirun=bool({"-m", "--multirun"} & set(argv)))
    print(plan_text(asked.plan, cells="--cells" in argv))
    sys.stdout.flush()
    return 0
