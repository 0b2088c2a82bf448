"""``tops plan``: what an experiment would run, what is there, what it would cost."""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Print the plan; the same words as ``tops run``."""
    if {"-h", "--help"} & set(argv):
        print("usage: tops plan [-m] [--cells] KEY=VALUE ...\n\nThe same keys as `tops run`; nothing is run.")
        return 0
    from tops.planning.request import request, split_words
    from tops.planning.show import plan_text

    words, given = split_words(argv, ("-m", "--multirun", "--cells"))
    asked = request(words, multirun=bool(given & {"-m", "--multirun"}))
    print(plan_text(asked.plan, cells="--cells" in given))
    sys.stdout.flush()
    return 0
