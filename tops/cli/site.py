"""``tops site``: the reports of all experiments of a profile as one folder, with an index and a leaderboard."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tops.cli.grammar import Command, Key, keys_text, values


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    return {
        "profile": Key("paper (default) or miniature", partial(choice_names, "profile"), "paper"),
        "results": Key("root of the result store (default: results)", default="results"),
        "reports": Key(
            "where reports go; the site is its folder of that profile (default: reports)", default="reports"
        ),
    }


def _help() -> str:
    return f"""usage: tops site [KEY=VALUE ...]

Writes every experiment that has numbers, an index with the leaderboard, the claims and the audit, as one folder that
any web server can hand out. Exit status 1 when a report could not be built.

{keys_text(_keys())}"""


def _run(words: tuple[str, ...]) -> int:
    from tops.reporting.site import build_site
    from tops.settings.choices import load_profile

    options = values(words, _keys(), "tops site profile=miniature")
    profile = load_profile(options["profile"]).name
    faults = build_site(profile, Path(options["results"]), Path(options["reports"]) / profile)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


command = Command("site", _run, text=_help, keys=_keys)
