"""``tops report``: tables, figures and the page of an experiment, from the store alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from tops.errors import ConfigurationError, nearest_names

_OPTIONS = {
    "experiment": "one of configs/experiment, or several separated by commas",
    "profile": "paper (default) or miniature",
    "results": "root of the result store (default: results)",
    "reports": "where reports go (default: reports)",
    "limit": "documents per benchmark that the run was limited to",
    "full": "true: all documents, whatever the experiment's limit",
    "backbones": "only these, separated by commas",
}


def main(argv: list[str]) -> int:
    """Build reports; exit status 0 also for a half-finished store, whose tables then have holes."""
    listed = "\n".join(f"  {k}=...  {v}" for k, v in _OPTIONS.items())
    parser = argparse.ArgumentParser(
        prog="tops report", description=__doc__, epilog=listed, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    options = _parse(parser.parse_args(argv).settings)
    if "experiment" not in options:
        raise ConfigurationError("which experiment? for example: tops report experiment=table1 profile=miniature")

    from tops.experiments.plan import plan
    from tops.reporting.build import build
    from tops.reporting.results import collect

    profile = options.get("profile", "paper")
    for name in options["experiment"].split(","):
        planned = plan(
            name,
            profile,
            results=options.get("results", "results"),
            limit=int(options["limit"]) if options.get("limit", "").isdigit() else None,
            full=options.get("full", "false").lower() in ("true", "1", "yes"),
            backbones=options["backbones"].split(",") if options.get("backbones") else None,
        )
        results = collect(planned, options.get("results", "results"))
        for path in build(results, Path(options.get("reports", "reports")) / profile):
            print(path)
    return 0


def _parse(settings: list[str]) -> dict[str, str]:
    found = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            raise ConfigurationError(f"{setting!r} is not KEY=VALUE; for example: tops report experiment=table1")
        if key not in _OPTIONS:
            raise ConfigurationError(f"unknown setting {key!r}. {nearest_names(key, _OPTIONS)}")
        found[key] = value
    return found
