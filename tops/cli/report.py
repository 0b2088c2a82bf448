"""``tops report``: tables, figures and the page of an experiment, from the store alone."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tops.cli.grammar import Command, Key, keys_text, names, values
from tops.errors import ConfigurationError


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


def _help() -> str:
    return (
        "usage: tops report experiment=NAME [KEY=VALUE ...]\n\nTables as Markdown, CSV and LaTeX, figures, and one "
        "self-contained page. A half-finished store gives tables with holes; a damaged cell is named, with exit status "
        f"1.\n\n{keys_text(_keys())}"
    )


def _run(words: tuple[str, ...]) -> int:
    example = "tops report experiment=table1 profile=miniature"
    options = values(words, _keys(), example)
    if not options["experiment"]:
        raise ConfigurationError(f"which experiment? for example: {example}")

    from tops.planning.plan import plan
    from tops.reporting.build import build
    from tops.reporting.data.results import collect
    from tops.running.tracking import publish_tables
    from tops.settings.compose import composed

    profile = options["profile"]
    shared = [
        f"{key}={options[key]}"
        for key in ("limit", "full", "backbones", "results", "stale", "tracking", "engine", "stop", "margin")
        if options[key]
    ]
    damaged = 0
    for name in names(options["experiment"]):
        asked = composed([f"experiment={name}", f"profile={profile}", *shared])
        planned = plan(
            name,
            profile,
            results=asked.results,
            limit=asked.limit,
            full=asked.full,
            backbones=asked.backbones,
            stale=asked.stale,
            stop=asked.stop,
        )
        results = collect(planned, asked.results)
        measured = Path(options["efficiency"]) if options["efficiency"] else None
        paths = build(results, Path(options["reports"]) / profile, measured)
        print("\n".join(map(str, paths)))
        publish_tables(name, profile, asked.tracking, paths)
        for sentence in results.damaged:
            print(sentence, file=sys.stderr)
        damaged += len(results.damaged)
    return 1 if damaged else 0


command = Command("report", _run, text=_help, keys=_keys)
