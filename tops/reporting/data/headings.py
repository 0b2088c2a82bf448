"""Headings of tables and levels, with what restricts them."""

from __future__ import annotations

from tops.reporting.data.names import backbone_title
from tops.reporting.data.results import Results


def heading_of(results: Results) -> str:
    """``Table 1: ...``, without the limits of the run."""
    exp = results.plan.experiment
    where = " and ".join([f"Table {t}" for t in exp.paper.tables] + [f"Figure {f}" for f in exp.paper.figures])
    return f"{where}: {exp.title}" if where else exp.title


def title_of(results: Results) -> str:
    """The heading with its restrictions, such as a limit on documents; a miniature is named as one."""
    text = heading_of(results)
    said = []
    if results.miniature:
        said.append("MINIATURE, not comparable with the paper")
    if results.untrained:
        said.append(f"PLUMBING ONLY, untrained weights of {' and '.join(map(backbone_title, results.untrained))}")
    note = f" ({results.plan.note})" if results.plan.note else ""
    return f"{'; '.join(said)}: {text}{note}" if said else f"{text}{note}"


def level_title(results: Results, backbone: str, level: str) -> str:
    """``128 tokens (↓ 77.8 %)``: the budget that was run, which in the miniature is not the printed number.

    A level that is named by its budget, as in a sweep, reads ``128 tokens``, or ``32 tokens (for 128)``.
    """
    if not level:
        return ""
    found = [e for (row, c), e in results.entries.items() if row.level == level and c.backbone == backbone]
    entry = next((e for e in found if e.budget is not None), None)
    budget = None if entry is None else entry.budget
    if entry is not None and budget is not None and level == str(entry.printed):
        if isinstance(budget.value, float):
            return f"{100 * budget.value:.3g} % of tokens"
        return f"{budget.value} tokens" + ("" if budget.value == entry.printed else f" (for {level})")
    reduction = f"↓ {level} %" if level.replace(".", "", 1).isdigit() else level
    if budget is None:
        return reduction
    value = budget.value
    return f"{value} tokens ({reduction})" if isinstance(value, int) else f"{100 * value:.1f} % of tokens ({reduction})"
