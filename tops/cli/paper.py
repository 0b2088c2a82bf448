"""``tops paper``: the audit of the published numbers, and the evidence for each claim."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tops.cli.grammar import Command, Key, keys_text, values
from tops.errors import ConfigurationError, nearest_names

PARTS = ("audit", "claims", "settings")


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    return {
        "profile": Key("of the claims: paper (default) or miniature", partial(choice_names, "profile"), "paper"),
        "results": Key("root of the result store (default: results)", default="results"),
        "reports": Key("where reports go (default: reports)", default="reports"),
    }


def _help() -> str:
    return f"""usage: tops paper audit [--contradictions] [--json]
       tops paper claims [KEY=VALUE ...]
       tops paper settings [reports=FOLDER]

  audit     recompute the published tables and list every contradiction; these are findings, exit status 0
  claims    each claim, the experiment that tests it, our evidence, a verdict, as a page
  settings  Tables 7 to 10, the weights and schedules, as a page

{keys_text(_keys())}
  --contradictions   of the audit only what contradicts
  --json             the audit for machines"""


def _run(words: tuple[str, ...], contradictions: bool, as_json: bool) -> int:
    part = words[0] if words else ""
    if part not in PARTS:
        raise ConfigurationError(f"unknown part {part!r}. {nearest_names(part, PARTS)}")
    options = values(words[1:], _keys(), "tops paper claims profile=paper")
    if part == "audit":
        return _audit(contradictions, as_json)
    if part == "settings":
        return _settings(Path(options["reports"]))
    from tops.reporting.build import write_claims
    from tops.reporting.tables.claims import claims_table

    folder = Path(options["reports"]) / options["profile"]
    table = claims_table(options["profile"], options["results"], folder / ".cache")
    for path in write_claims(table, folder, options["profile"]):
        print(path)
    return 0


def _settings(folder: Path) -> int:
    from tops.reporting.build import write_settings
    from tops.reporting.tables.settings import settings_tables

    for path in write_settings(settings_tables(), folder):
        print(path)
    return 0


def _audit(contradictions: bool, as_json: bool) -> int:
    from tops.paper.audit import as_markdown, audit

    findings = audit()
    if as_json:
        shown = [f for f in findings if not contradictions or f.verdict == "contradiction"]
        print(json.dumps([asdict(f) for f in shown], indent=1, ensure_ascii=False))
    else:
        print(as_markdown(findings, only_contradictions=contradictions))
    return 0


command = Command(
    "paper",
    _run,
    text=_help,
    keys=_keys,
    switches={"--contradictions": "only what contradicts", "--json,as_json": "for machines"},
)
