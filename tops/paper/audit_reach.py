"""Which budgets a schedule can reach at all, which ones would have met the printed targets, and what the excess is
worth."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tops.budget import Cut, Schedule
from tops.paper.audit_budgets import published_schedules
from tops.paper.findings import Finding
from tops.paper.published import published_rows

_TABLE_OF = {"llava-1.5-7b": "11", "llava-next-7b": "12", "llava-1.5-13b": "13", "llava-next-13b": "14"}
# Counts for 28 layers; the first two pairs are the paper's own, one row further up.
_MATCHED_28 = {256: (139, 39), 128: (71, 19), 64: (34, 10)}
_CUT_AT_2 = ("fastv", "pdrop", "sparsevlm")


def matched_findings() -> Iterator[Finding]:
    """Schedules with the printed first stage and layers whose layer average is the target."""
    for s in published_schedules():
        if s.table not in ("9", "10"):
            continue
        budgets = (s.target // 2, s.target // 4) if s.table == "9" else _MATCHED_28[s.target]
        cuts = (Cut(0, s.stage1), *(Cut(p, k) for p, k in zip(s.layers, budgets, strict=True)))
        average = Schedule(s.initial, s.depth, cuts).layer_average
        yield Finding(
            "Schedules that meet the budget",
            f"{s.backbone} at {s.target}",
            s.text,
            f"{'>'.join(map(str, (s.stage1, *budgets)))} at {'/'.join(map(str, s.layers))} averages {average:.4g}",
            "agrees" if average == s.target else "contradiction",
        )


def reach_findings() -> Iterator[Finding]:
    """Budgets that lie below what full layers alone cost."""
    shapes = {s.backbone: s for s in published_schedules()}
    base = next(s for s in published_schedules() if (s.table, s.backbone, s.target) == ("9", "llava-1.5-7b", 128))
    alone = Schedule(base.initial, base.depth, tuple(Cut(p, k) for p, k in zip(base.layers, (64, 32), strict=True)))
    yield Finding(
        "Budgets out of reach",
        "Table 6, stage 2 alone, cuts at 12/24",
        "128 tokens, no schedule given",
        f"the {base.layers[0]} full layers alone average {base.initial * base.layers[0] / base.depth:g}; "
        f"{base.initial}>64>32 averages {alone.layer_average:g}",
        "contradiction",
    )
    for backbone in ("llava-1.5-7b", "llava-next-7b"):
        s, rows = shapes[backbone], published_rows(_TABLE_OF[backbone])
        floor = 2 * s.initial / s.depth
        least = min(r.budget for r in rows)
        inside = {r.method for r in rows if r.budget == least}
        absent = not inside & set(_CUT_AT_2)
        yield Finding(
            "Budgets out of reach",
            f"{backbone} at {least}, cut at layer 2",
            "no rows of FastV, PDrop, SparseVLM" if absent else "rows of methods that cut at layer 2",
            f"two full layers alone average {floor:g}",
            "agrees" if absent and floor > least else "contradiction",
        )
        if "dart" in inside:
            yield Finding(
                "Budgets out of reach",
                f"{backbone} at {least}, DART",
                f"a row at {least} tokens",
                f"it cuts at layer 2, too, and averages {floor:g} at least: its number counts tokens after the cut",
                "contradiction",
            )
    yield Finding(
        "Budgets out of reach",
        "LLaVA-Video at 64, 32 and 16 tokens a frame",
        "no schedule is published",
        "cannot be recomputed; 2T > T/2 > T/4 with cuts at 11/18 of 28 layers would average T",
        "open",
    )


def excess_findings() -> Iterator[Finding]:
    """What 18.75 % more tokens are worth, from the slope of TOPS's own Rel over the logarithm of the budget."""
    doublings = math.log2(1.1875)
    for backbone, table in _TABLE_OF.items():
        rel = {
            method: [
                float(value)
                for row in sorted(published_rows(table), key=lambda r: -r.budget)
                if row.method == method and (value := row.values["rel"]) is not None
            ]
            for method in ("tops", "scope")
        }
        slopes = [doublings * (a - b) for a, b in zip(rel["tops"], rel["tops"][1:], strict=False)]
        margins = [a - b for a, b in zip(rel["tops"], rel["scope"], strict=True)]
        yield Finding(
            "Worth of the excess tokens",
            f"{backbone}: 18.75 % more tokens than printed",
            "margins over SCOPE of " + ", ".join(f"{m:.1f}" for m in margins),
            "about " + " / ".join(f"{s:.2f}" for s in slopes) + " points of Rel, by interpolation",
            "agrees" if max(slopes) < min(margins) else "open",
        )
