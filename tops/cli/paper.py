"""``tops paper``: what is wrong with the published numbers, and what speaks for each claim."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path


def main(argv: list[str]) -> int:
    """Print the audit, or write the claims page. Contradictions are findings, not failures: exit status 0."""
    parser = argparse.ArgumentParser(prog="tops paper", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    audit = commands.add_parser("audit", help="recompute the published tables and list every contradiction")
    audit.add_argument("--contradictions", action="store_true", help="only what contradicts")
    audit.add_argument("--json", action="store_true", help="for machines")
    claims = commands.add_parser("claims", help="each claim, the experiment that tests it, our evidence, a verdict")
    claims.add_argument("--profile", default="paper", help="paper (default) or miniature")
    claims.add_argument("--results", default="results", help="root of the result store (default: results)")
    claims.add_argument("--reports", default="reports", help="where reports go (default: reports)")
    args = parser.parse_args(argv)
    return _audit(args) if args.what == "audit" else _claims(args)


def _audit(args: argparse.Namespace) -> int:
    from tops.paper.audit import as_markdown, audit

    findings = audit()
    if args.json:
        shown = [f for f in findings if not args.contradictions or f.verdict == "contradiction"]
        print(json.dumps([asdict(f) for f in shown], indent=1, ensure_ascii=False))
    else:
        print(as_markdown(findings, only_contradictions=args.contradictions))
    return 0


def _claims(args: argparse.Namespace) -> int:
    from tops.reporting.build import write_claims
    from tops.reporting.tables.claims import claims_table

    folder = Path(args.reports) / args.profile
    for path in write_claims(claims_table(args.profile, args.results, folder / ".cache"), folder, args.profile):
        print(path)
    return 0
