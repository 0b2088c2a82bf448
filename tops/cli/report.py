"""``tops report``: tables, figures and the page of an experiment, from the store alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tops.cli.grammar import Command, Key, keys_text, names, values
from tops.cli.run import MULTIRUN
from tops.errors import ConfigurationError

if TYPE_CHECKING:
    from tops.planning.plan import Plan
    from tops.settings.schema import TrackingConfig


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    return {
        "experiment": Key(
            "one of configs/experiment, or several separated by commas", partial(choice_names, "experiment")
        ),
        "profile": Key("paper (default) or miniature", partial(choice_names, "profile"), "paper"),
        "results": Key("root of the result store (default: results)"),
        "reports": Key("where reports go (default: reports)", default="reports"),
        "limit": Key("documents per benchmark that the run was limited to"),
        "full": Key("true: all documents, whatever the experiment's limit", lambda: ("true", "false")),
        "backbones": Key("only these: one name, or [one,another]", partial(choice_names, "backbone")),
        "stop": Key("separable: of a run with stop=separable", lambda: ("separable",)),
        "margin": Key("with stop: the margin of that run (default 2)"),
        "stale": Key("keep: mark cells of other code in place of leaving them out", lambda: ("refuse", "keep")),
        "engine": Key("vllm: the cells that ran in vLLM", lambda: ("library", "vllm")),
        "tracking": Key("wandb-offline or wandb: send the tables as an artifact", partial(choice_names, "tracking")),
        "efficiency": Key("record of `tops bench efficiency --json` for table 4 (default: the newest that is found)"),
    }


def _all_keys() -> dict[str, Key]:
    from tops.cli.run import run_keys

    return {**run_keys(), **_keys()}


def _help() -> str:
    return (
        "usage: tops report experiment=NAME [KEY=VALUE ...]\n       tops report [-m] WORDS ...\n\n"
        "Tables as Markdown, CSV and LaTeX, figures, and one self-contained page. A half-finished store gives tables "
        "with holes; a damaged cell is named, with exit status 1. The words of a sweep or a suite that `tops run` "
        "carried out give its report again.\n\n"
        "  tops report experiment=table1\n  tops report -m method=tops,fastv budget=0.25,0.5 benchmark=pope,gqa\n\n"
        f"{keys_text(_keys())}"
    )


def _run(words: tuple[str, ...], multirun: bool) -> int:
    heads = [word.lstrip("+").split("=")[0].split(".")[0] for word in words]
    if "experiment" in heads and multirun:
        raise ConfigurationError("an experiment is already a sweep; leave -m out, or the experiment")
    if "experiment" not in heads and {"method", "benchmark", "suite", "backbone", "budget"} & set(heads):
        return _sweep(words, multirun)
    return _experiments(words)


def _sweep(words: tuple[str, ...], multirun: bool) -> int:
    """Build the report of cells that no experiment file names, found by the words that ran them."""
    from tops.planning.request import request

    mine = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith(_OWN)}
    asked = request([word for word in words if not word.startswith(_OWN)], multirun=multirun)
    folder = Path(mine.get("reports", "reports")) / asked.plan.profile.name
    return _written([(asked.plan, asked.config.results, asked.config.tracking)], folder, mine.get("efficiency", ""))


_OWN = ("reports=", "efficiency=")


def _experiments(words: tuple[str, ...]) -> int:
    example = "tops report experiment=table1 profile=miniature"
    options = values(words, _keys(), example)
    if not options["experiment"]:
        raise ConfigurationError(f"which experiment? for example: {example}")

    from tops.planning.plan import plan
    from tops.settings.compose import composed

    profile = options["profile"]
    shared = [
        f"{key}={options[key]}"
        for key in ("limit", "full", "backbones", "results", "stale", "tracking")
        if options[key]
    ]
    asked = []
    for name in names(options["experiment"]):
        config = composed([f"experiment={name}", f"profile={profile}", *shared])
        planned = plan(
            name,
            profile,
            results=config.results,
            limit=config.limit,
            full=config.full,
            backbones=config.backbones,
            stale=config.stale,
        )
        asked.append((planned, config.results, config.tracking))
    return _written(asked, Path(options["reports"]) / profile, options["efficiency"])


def _written(asked: Iterable[tuple[Plan, str, TrackingConfig]], folder: Path, efficiency: str) -> int:
    """Build the reports of some plans and print their paths; exit status 1 when a cell is damaged."""
    from tops.reporting.build import build_from, make
    from tops.reporting.data.results import collect
    from tops.running.tracking import publish_tables

    damaged = 0
    for planned, root, tracking in asked:
        results = collect(planned, root)
        made = make(results, folder / ".cache", Path(efficiency) if efficiency else None)
        paths = build_from(made, folder)
        print("\n".join(map(str, paths)))
        publish_tables(planned.experiment.name, planned.profile.name, tracking, paths)
        faults = [*results.damaged, *made.resamples.faults]
        print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
        damaged += len(faults)
    return 1 if damaged else 0


command = Command("report", _run, text=_help, keys=_all_keys, switches={MULTIRUN: "every combination"})
