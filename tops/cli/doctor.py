"""``tops doctor``: what would run on this machine, and what is missing."""

from __future__ import annotations

import argparse

from tops.planning.doctor import examine, summary

MARKS = {"ok": "ok", "warning": "! ", "missing": "--"}


def main(argv: list[str]) -> int:
    """Exit status 1 when something is missing."""
    parser = argparse.ArgumentParser(prog="tops doctor", description=__doc__, allow_abbrev=False)
    parser.add_argument("--profile", default="paper", help="paper or miniature")
    parser.add_argument("--judge", help="address of a judge to probe")
    options = parser.parse_args(argv)
    findings = examine(options.profile, options.judge)
    width = max(len(f.topic) for f in findings)
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            print(f"{part[:1].upper()}{part[1:]}")
        print(f"  {MARKS[finding.state]} {finding.topic:<{width}}  {finding.text}")
    print(f"\n{summary(findings, options.profile)}")
    return 1 if any(f.state == "missing" for f in findings) else 0
