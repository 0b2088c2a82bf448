"""The audit of the published numbers: every check, and what contradicts what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from tops.paper.audit_budgets import flops_findings, schedule_findings
from tops.paper.audit_reach import excess_findings, matched_findings, reach_findings
from tops.paper.audit_tables import acc_findings, cross_table_findings, rel_findings, table2_findings
from tops.paper.claims import CLAIMS
from tops.paper.findings import Finding, Verdict
from tops.paper.published import SOURCE

_SIGNS = {"agrees": "ok", "rounding": "rounding", "contradiction": "CONTRADICTION", "open": "open"}


def audit() -> list[Finding]:
    """All findings, grouped by section."""
    return [
        *acc_findings(),
        *rel_findings(),
        *table2_findings(),
        *cross_table_findings(),
        *schedule_findings(),
        *matched_findings(),
        *reach_findings(),
        *excess_findings(),
        *flops_findings(),
        *claim_findings(),
    ]


def claim_findings() -> Iterator[Finding]:
    """Every sentence that the printed numbers speak to."""
    for claim in CLAIMS:
        if claim.published is not None:
            text, holds = claim.published()
            verdict: Verdict = "open" if holds is None else "agrees" if holds else "contradiction"
            yield Finding("Claims in the text", claim.where, claim.text, text, verdict)


def as_markdown(findings: list[Finding], only_contradictions: bool = False) -> str:
    """A Markdown document with one table a section."""
    shown = [f for f in findings if not only_contradictions or f.verdict == "contradiction"]
    count = sum(f.verdict == "contradiction" for f in findings)
    parts = [f"# Audit of the published numbers\n\n{SOURCE}: {len(findings)} checks, {count} contradictions.\n"]
    for section, group in groupby(sorted(shown, key=_section_order(findings)), key=lambda f: f.section):
        rows = "\n".join(f"| {f.where} | {f.printed} | {f.recomputed} | {_SIGNS[f.verdict]} |" for f in group)
        parts.append(f"## {section}\n\n| where | printed | recomputed | verdict |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _section_order(findings: list[Finding]) -> Callable[[Finding], int]:
    order = {name: i for i, name in enumerate(dict.fromkeys(f.section for f in findings))}
    return lambda f: order[f.section]
