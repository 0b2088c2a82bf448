"""The claims page: each claim, what the paper's numbers say, what the store says, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tops.errors import ConfigurationError
from tops.paper.claims import CLAIMS, Claim, Contrast
from tops.paper.published import SOURCE
from tops.planning.plan import Row, plan
from tops.reporting.data.headings import level_title
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import collect
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, signed
from tops.statistics.comparison import Comparison, holm

Outcome = Literal["supported", "contradicted", "yes", "no", "cannot tell", "not run"]
MARGIN = 1.0  # points of Rel within which a rival counts as as good

RULE = (
    "better: supported when the 95 % interval of the difference to the best rival lies above zero (Holm-adjusted in "
    "the claim), contradicted when it lies below. as good: yes when ours leads by less than "
    f"{MARGIN:g} point of Rel with 97.5 % confidence, no when ours leads beyond chance. Everything else: cannot tell. "
    "A claim about several settings is supported when all are, contradicted when one is."
)


@dataclass(frozen=True)
class Evidence:
    """One comparison in one setting. ``comparison`` is ours minus the best rival."""

    contrast: Contrast
    setting: str
    rival: str
    comparison: Comparison
    outcome: Outcome

    @property
    def text(self) -> str:
        """``LLaVA-1.5-7B, 128 tokens: +1.2 (+0.3 to +2.1) against SCOPE: supported``."""
        d = self.comparison.difference
        return (
            f"{self.setting}: {signed(d.estimate)} ({signed(d.low)} to {signed(d.high)}) against {self.rival}: "
            f"{self.outcome}; detectable {self.comparison.detectable:.1f}"
        )


class Stores:
    """Resamples of each experiment, made once."""

    def __init__(self, profile: str, results: str | Path, cache: Path | None) -> None:
        self.profile, self.results, self.cache = profile, results, cache
        self._known: dict[str, Resamples | None] = {}

    def of(self, experiment: str) -> Resamples | None:
        """None when the experiment does not exist or nothing of it has run."""
        if experiment not in self._known:
            try:
                found = collect(plan(experiment, self.profile, results=self.results), self.results)
            except ConfigurationError:
                self._known[experiment] = None
            else:
                there = any(e.values for e in found.entries.values())
                self._known[experiment] = Resamples(unmixed(found), self.cache) if there else None
        return self._known[experiment]


def evidence(claim: Claim, stores: Stores) -> list[Evidence]:
    """All comparisons of a claim that can be made, Holm-adjusted within the claim."""
    found: list[tuple[Contrast, str, str, Comparison]] = []
    for contrast in claim.contrasts:
        resamples = stores.of(contrast.experiment)
        if resamples is not None:
            found += ((contrast, *rest) for rest in _compare(resamples, contrast))
    adjusted = holm({i: c.p for i, (_, _, _, c) in enumerate(found)})
    return [
        Evidence(contrast, setting, rival, comparison, _outcome(contrast, comparison, adjusted[i]))
        for i, (contrast, setting, rival, comparison) in enumerate(found)
    ]


def _compare(resamples: Resamples, contrast: Contrast) -> Iterator[tuple[str, str, Comparison]]:
    for backbone in resamples.results.backbones:
        for level in resamples.results.plan.experiment.levels:
            if contrast.level not in ("", level):
                continue
            rows = [r for r in resamples.results.rows(backbone) if r.level == level and r.protocol == "layer_average"]
            ours = next((r for r in rows if (r.method, r.variant) == contrast.ours), None)
            mine = resamples.measure(backbone, ours, contrast.measure) if ours is not None else None
            drawn = {
                r: d for r in rows if _is_rival(r, contrast) and (d := resamples.measure(backbone, r, contrast.measure))
            }
            if mine is None or not drawn:
                continue
            best = max(drawn, key=lambda r: drawn[r].point)
            setting = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
            if contrast.measure != "rel":
                setting += f", {contrast.measure}"
            yield setting, row_title(best), mine.against(drawn[best])


def _is_rival(row: Row, contrast: Contrast) -> bool:
    if (row.method, row.variant) == contrast.ours or row.role != "method":
        return False
    return not contrast.rivals or (row.method, row.variant) in contrast.rivals


def _outcome(contrast: Contrast, comparison: Comparison, adjusted: float) -> Outcome:
    d = comparison.difference
    if contrast.question == "as good":
        if d.high < MARGIN:
            return "yes"
        return "no" if d.low > 0 and adjusted < 0.05 else "cannot tell"
    if adjusted < 0.05 and d.excludes_zero:
        return "supported" if d.low > 0 else "contradicted"
    return "cannot tell"


def overall(found: list[Evidence]) -> Outcome:
    """One verdict for a claim from its settings."""
    outcomes = [e.outcome for e in found]
    if not outcomes:
        return "not run"
    decisive: tuple[Outcome, ...] = ("contradicted", "yes")  # one such setting settles a general statement
    for outcome in decisive:
        if outcome in outcomes:
            return outcome
    return outcomes[0] if len(set(outcomes)) == 1 else "cannot tell"


def claims_table(profile: str, results: str | Path = "results", cache: Path | None = None) -> Table:
    """Claims and evidence as a table, for every format."""
    stores = Stores(profile, results, cache)
    lines = []
    for claim in CLAIMS:
        found = evidence(claim, stores)
        printed, holds = claim.published() if claim.published else ("", None)
        verdict = "" if not printed else "cannot tell" if holds is None else "borne out" if holds else "not borne out"
        data = (
            Datum(claim.where or "a referee's question"),
            Datum(printed) if printed else hole("the printed numbers do not speak to it"),
            Datum(verdict),
            Datum(", ".join(dict.fromkeys(c.experiment for c in claim.contrasts))),
            Datum("; ".join(e.text for e in found)) if found else _nothing(claim),
            Datum(overall(found) if claim.contrasts else ""),
        )
        lines.append(Line(claim.text, data))
    titles = ("where", "printed numbers", "borne out", "experiment", "our evidence", "our verdict")
    small = "MINIATURE, says nothing about the paper's models: " if profile == "miniature" else ""
    return Table(
        "claims",
        f"{small}Claims and evidence ({SOURCE})",
        tuple(Header(t) for t in titles),
        tuple(lines),
        (RULE,),
        label_title="Claim",
        short="Claims and evidence",
    )


def _nothing(claim: Claim) -> Datum:
    return hole("not run yet" if claim.contrasts else "nothing here can be measured by an experiment")
