"""``tops doctor``: what would run on this machine, and what is missing."""

from __future__ import annotations

from functools import partial

from tops.cli.grammar import Command, Key, keys_text, values

MARKS = {"ok": "ok", "warning": "! ", "missing": "--"}


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    return {
        "profile": Key("paper (default) or miniature", partial(choice_names, "profile"), "paper"),
        "judge": Key("address of a judge to try"),
    }


def _help() -> str:
    return (
        "usage: tops doctor [KEY=VALUE ...]\n\nWhat this machine has, and for every suite what would run and what is "
        f"missing. Nothing is downloaded.\nExit status 1 when something is missing.\n\n{keys_text(_keys())}"
    )


def _run(words: tuple[str, ...]) -> int:
    from tops.planning.doctor import examine, summary

    options = values(words, _keys(), "tops doctor profile=miniature")
    findings = examine(options["profile"], options["judge"] or None)
    width = max(len(f.topic) for f in findings)
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            print(f"{part[:1].upper()}{part[1:]}")
        print(f"  {MARKS[finding.state]} {finding.topic:<{width}}  {finding.text}")
    print(f"\n{summary(findings, options['profile'])}")
    return 1 if any(f.state == "missing" for f in findings) else 0


command = Command("doctor", _run, text=_help, keys=_keys)
