"""Do the published schedules meet the budgets they are printed for, and do the FLOPs follow?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from tops.accounting import paper_flops
from tops.budget import Cut, Schedule
from tops.paper.findings import Finding, Verdict
from tops.paper.published import published_rows, read_csv


@dataclass(frozen=True)
class PublishedSchedule:
    """A printed schedule. ``averages`` are visual tokens per layer when a cut acts a layer early, as listed, late."""

    table: str
    backbone: str
    target: int
    depth: int
    initial: int
    stage1: int
    layers: tuple[int, ...]
    budgets: tuple[int, ...]

    def schedule(self, shift: int = 0) -> Schedule:
        """The schedule with a cut listed at layer p acting from layer index p + ``shift`` on (0-based)."""
        cuts = [Cut(0, self.stage1)] if self.stage1 < self.initial else []
        cuts += [Cut(p + shift, keep) for p, keep in zip(self.layers, self.budgets, strict=True)]
        return Schedule(self.initial, self.depth, tuple(cuts))

    @property
    def averages(self) -> tuple[float, float, float]:
        """Layer averages for cuts one layer earlier, as listed, one layer later."""
        early, listed, late = (self.schedule(shift).layer_average for shift in (-1, 0, 1))
        return early, listed, late

    @property
    def over_percent(self) -> float:
        """How far the average exceeds the target, in percent."""
        return 100 * (self.averages[1] / self.target - 1)

    @property
    def text(self) -> str:
        """``256>128>32 at 12/24``."""
        return ">".join(map(str, (self.stage1, *self.budgets))) + " at " + "/".join(map(str, self.layers))


def published_schedules() -> tuple[PublishedSchedule, ...]:
    """Every schedule of Tables 9, 10 and 17 in printed order."""
    return tuple(
        PublishedSchedule(
            line["table"],
            line["backbone"],
            int(line["target"]),
            int(line["llm_layers"]),
            int(line["initial_tokens"]),
            int(line["stage1_budget"]),
            tuple(map(int, line["stage2_layers"].split(";"))),
            tuple(map(int, line["stage2_budgets"].split(";"))),
        )
        for line in read_csv("schedules.csv")
    )


def schedule_findings() -> Iterator[Finding]:
    """Layer average of every published schedule against its target."""
    for s in published_schedules():
        early, average, late = s.averages
        verdict: Verdict = "agrees" if abs(average - s.target) < 0.5 else "contradiction"
        yield Finding(
            f"Schedules of Table {s.table}",
            f"{s.backbone}: {s.text}",
            f"{s.target} tokens",
            f"{average:.1f} on average over {s.depth} layers ({s.over_percent:+.2f} %); "
            f"{early:.1f} / {late:.1f} with cuts a layer earlier / later",
            verdict,
        )
    for s in published_schedules():
        if s.table == "10":
            spent = int(s.schedule().layer_average * s.depth)
            yield Finding(
                "Why Table 10 misses",
                f"{s.backbone}: {s.text}",
                f"{s.depth} layers x {s.target}",
                f"sums to {spent} = 32 x {spent / 32:g}: solved for {s.depth} layers, divided by 32",
                "contradiction",
            )


def flops_findings() -> Iterator[Finding]:
    """Table 4's FLOPs and factors from the formula."""
    cells = {row.method: row.values for row in published_rows("4")}

    def printed(method: str, column: str) -> Decimal:
        value = cells[method][column]
        assert value is not None
        return value

    by_schedule = {
        "unpruned, 2880": _tokens(),
        "constant 320": _tokens(Cut(0, 320)),
        "TOPS of Table 9, 640>320>80 at 12/24": _tokens(Cut(0, 640), Cut(12, 320), Cut(24, 80)),
        "TOPS matched, 640>160>80 at 12/24": _tokens(Cut(0, 640), Cut(12, 160), Cut(24, 80)),
        "FastV averaging 320, cut at 2": _tokens(Cut(2, round((320 * 32 - 2 * 2880) / 30))),
    }
    tflops = {name: 1e-12 * paper_flops(4096, 11008, tokens) for name, tokens in by_schedule.items()}
    whole = tflops["unpruned, 2880"]
    owner = dict(zip(by_schedule, ("none", "tops", "tops", "tops", "fastv"), strict=True))
    for name, value in tflops.items():
        want = printed(owner[name], "flops_t")
        verdict: Verdict = "agrees" if abs(value - float(want)) <= 0.055 else "contradiction"
        yield Finding(
            "FLOPs of Table 4", name, f"{want} T for {owner[name]}", f"{value:.2f} T (x{whole / value:.1f})", verdict
        )


def _tokens(*cuts: Cut) -> tuple[int, ...]:
    """Tokens per layer of LLaVA-NeXT-7B."""
    return Schedule(2880, 32, cuts).tokens_per_layer
