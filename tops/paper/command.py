"""``tops paper``: what is wrong with the published numbers, and what speaks for each claim."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from tops.paper.audit import as_markdown, audit


def main(argv: list[str]) -> int:
    """Print the audit. Exit status 0: contradictions in the paper are findings, not failures."""
    parser = argparse.ArgumentParser(prog="tops paper", description=__doc__)
    parser.add_argument("what", choices=["audit"])
    parser.add_argument("--contradictions", action="store_true", help="only what contradicts")
    parser.add_argument("--json", action="store_true", help="for machines")
    args = parser.parse_args(argv)
    findings = audit()
    if args.json:
        shown = [f for f in findings if not args.contradictions or f.verdict == "contradiction"]
        print(json.dumps([asdict(f) for f in shown], indent=1, ensure_ascii=False))
    else:
        print(as_markdown(findings, only_contradictions=args.contradictions))
    return 0
