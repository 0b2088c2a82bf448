"""A worker process of the local launcher: ``python -m tops.running.launchers.process ASSIGNMENT INDEX``.

Events go to stdout, one JSON line each; everything else to stderr, which the launcher keeps as a log. When the launcher
ends, in whatever way, stdin closes and the worker ends too: otherwise it would keep the GPU and the lock of its cell.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from tops.running.events import Event
from tops.running.worker import Assignment, work


def main(argv: list[str]) -> int:
    """Work through the assignment; the exit status is 0 even when cells failed: the store knows which."""
    assignment, index = Assignment.load(Path(argv[0])), int(argv[1])
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; only events may reach the launcher

    def emit(event: Event) -> None:
        pipe.write(event.to_line() + "\n")
        pipe.flush()

    work(assignment, index, emit=emit)
    return 0


def _end_with_launcher() -> None:
    os.read(0, 1)  # nothing is ever written
    os._exit(1)  # safe at any moment: every stored answer survives a kill


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
