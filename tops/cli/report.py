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
    "backbones": "only these: one name, or [one,another]",
    "tracking": "wandb-offline or wandb: send the tables as an artifact",
    "efficiency": "record of `tops bench efficiency --json` for table 4 (default: the newest in RESULTS/benchmarks)",
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

    from tops.planning.plan import plan
    from tops.reporting.build import build
    from tops.reporting.data.results import collect
    from tops.running.tracking import publish_tables
    from tops.settings.compose import composed

    profile = options.get("profile", "paper")
    shared = [
        f"{key}={options[key]}" for key in ("limit", "full", "backbones", "results", "tracking") if key in options
    ]
    for name in options["experiment"].split(","):
        asked = composed([f"experiment={name}", f"profile={profile}", *shared])
        planned = plan(
            name, profile, results=asked.results, limit=asked.limit, full=asked.full, backbones=asked.backbones
        )
        results = collect(planned, asked.results)
        measured = Path(options["efficiency"]) if options.get("efficiency") else None
        paths = build(results, Path(options.get("reports", "reports")) / profile, measured)
        print("\n".join(map(str, paths)))
        publish_tables(name, profile, asked.tracking, paths)
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
