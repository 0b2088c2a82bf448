"""The ``tops`` command: a thin table of subcommands, each imported only when it runs."""

from __future__ import annotations

import errno
import importlib
import os
import sys

from tops.errors import TopsError, nearest_names

# name -> (module with ``main(argv: list[str]) -> int``, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "golden": ("tops.golden.command", "check the baselines against golden vectors of their authors' code"),
    "plan": ("tops.cli.plan", "what an experiment or sweep would run, what is done, what it costs"),
    "run": ("tops.cli.run", "run one cell, a sweep, or an experiment, here or on a cluster"),
    "evaluate": ("tops.cli.evaluate", "benchmarks on one backbone and method, with a progress bar"),
    "score": ("tops.cli.score", "score stored answers again, by other rules or by a judge"),
    "fetch": ("tops.cli.fetch", "stage data sets and checkpoints, for machines without network too"),
    "doctor": ("tops.cli.doctor", "what would run on this machine, and what is missing"),
    "results": ("tops.cli.results", "check a whole result store and name every fault"),
    "status": ("tops.cli.status", "where the cells of an experiment stand now"),
    "miniature": ("tops.cli.miniature", "the embedded benchmarks and models: build, contact sheets"),
    "compatibility": ("tops.cli.compatibility", "which method runs on which model family"),
    "bench": ("tops.cli.bench", "speed: selection against the direct evaluation, scaling"),
    "paper": ("tops.cli.paper", "audit of the published numbers and their claims"),
    "report": ("tops.cli.report", "tables, figures and the page of an experiment, from the store alone"),
}


def usage() -> str:
    """The text of ``tops --help``."""
    width = max((len(name) for name in COMMANDS), default=0)
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in sorted(COMMANDS.items()))
    return f"usage: tops COMMAND [options]\n\ncommands:\n{rows}\n\n`tops COMMAND --help` tells more."


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status (2 for wrong usage or configuration)."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        print(f"tops: unknown command {name!r}. {nearest_names(name, COMMANDS)}", file=sys.stderr)
        return 2
    try:
        main_of: object = importlib.import_module(COMMANDS[name][0]).main
        assert callable(main_of)
        return int(main_of(rest) or 0)
    except TopsError as error:
        print(f"tops {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ntops {name}: stopped; nothing complete is lost, the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `tops plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # A path that cannot be read or written, or a full disk; anything else is a fault of tops: traceback.
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(f"tops {name}: {error}; check the path, its permissions and the space left", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
