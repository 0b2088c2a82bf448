"""``tops status``: where the cells of an experiment stand now, read from the store."""

from __future__ import annotations

import time


def main(argv: list[str]) -> int:
    """Print the state once, or every few seconds with ``--watch``; exit status 1 while something is missing."""
    if {"-h", "--help"} & set(argv):
        print("usage: tops status [--watch] experiment=NAME [profile=...] [results=...]")
        return 0
    from tops.planning.request import request, split_words
    from tops.planning.show import status_text

    words, given = split_words(argv, ("--watch", "-m", "--multirun"))
    while True:
        plan = request(words, multirun=bool(given & {"-m", "--multirun"})).plan
        print(status_text(plan))
        if "--watch" not in given or not plan.todo():
            return 0 if plan.complete else 1
        time.sleep(5)
