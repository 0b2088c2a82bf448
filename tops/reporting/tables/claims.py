"""The claims page: each claim with the paper's numbers, the evidence of the store, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tops.errors import ConfigurationError
from tops.paper.claims import CLAIMS, Claim
from tops.paper.contrasts import Contrast
from tops.paper.published import SOURCE
from tops.planning.plan import plan
from tops.reporting.data.evidence import MARGIN, Finding, findings
from tops.reporting.data.evidence_kept import QUESTIONS as KEPT
from tops.reporting.data.evidence_kept import kept_findings
from tops.reporting.data.evidence_records import QUESTIONS as RECORDS
from tops.reporting.data.evidence_records import record_findings, why_none
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import collect
from tops.reporting.tables.flops import flops_findings
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, signed
from tops.settings.choices import load_profile
from tops.statistics.comparison import Comparison
from tops.statistics.verdict import RULE, lies_in

Outcome = Literal["supported", "contradicted", "yes", "no", "cannot tell", "not run"]

NOTES = (
    RULE,
    "Ours against the best rival: supported when the interval of the difference lies above zero and its p-value, "
    "adjusted (Holm) over the experiment's table of best and runner-up, is below 0.05. as good: yes when ours leads by "
    f"less than {MARGIN:g} point of Rel with 97.5 % confidence, no when ours leads beyond chance.",
    "Numbers that the paper prints: within 0.5 points of them. Measured times are no samples: their interval is the "
    "value itself.",
    "A claim about several settings is supported when all are, contradicted when one is.",
)


@dataclass(frozen=True)
class Evidence:
    """One finding with its outcome for the contrast."""

    contrast: Contrast
    finding: Finding
    outcome: Outcome

    @property
    def rival(self) -> str:
        """The row that our method is compared with."""
        return self.finding.rival

    @property
    def text(self) -> str:
        """``LLaVA-1.5-7B, 128 tokens: +1.2 (+0.3 to +2.1) against SCOPE: supported``."""
        found, d = self.finding, self.finding.quantity
        sign = signed if found.rival else _plain
        span = f" ({sign(d.low)} to {sign(d.high)})" if d.se and not math.isnan(d.low) else ""
        against = f" against {found.rival}" if found.rival else ""
        more = [found.more] if found.more else []
        if not math.isnan(found.detectable):
            more.append(f"detectable {found.detectable:.1f}")
        said = f"; {'; '.join(more)}" if more else ""
        return f"{found.setting}: {sign(d.estimate)}{span}{against}: {self.outcome}{said}"


def _plain(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


class Stores:
    """Resamples of each experiment, made once; ``known`` holds resamples that exist already."""

    def __init__(
        self,
        profile: str,
        results: str | Path,
        cache: Path | None,
        known: Mapping[str, Resamples | None] | None = None,
    ) -> None:
        self.profile, self.results, self.cache = profile, results, cache
        self.miniature = load_profile(profile).miniature
        self._known: dict[str, Resamples | None] = dict(known or {})

    def of(self, experiment: str) -> Resamples | None:
        """Resamples of an experiment; None if it does not exist or none of its cells has run."""
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
    """All evidence of the store for a claim. Miniature results are never compared with a printed number."""
    found = []
    for contrast in claim.contrasts:
        if not (stores.miniature and contrast.printed):
            found += [Evidence(contrast, one, _said(contrast, one)) for one in _findings(contrast, stores)]
    return found


def _findings(contrast: Contrast, stores: Stores) -> list[Finding]:
    if contrast.question in RECORDS:
        return [] if stores.miniature else record_findings(Path(stores.results) / "benchmarks", contrast)
    resamples = stores.of(contrast.experiment)
    if resamples is None:
        return []
    if contrast.question in KEPT:
        return kept_findings(resamples, contrast)
    return flops_findings(resamples, contrast) if contrast.question == "flops" else findings(resamples, contrast)


def _said(contrast: Contrast, found: Finding) -> Outcome:
    if contrast.question in ("better", "as good"):
        return _outcome(contrast, Comparison(found.quantity, found.p, found.detectable), found.p)
    return found.outcome


def _outcome(contrast: Contrast, comparison: Comparison, adjusted: float) -> Outcome:
    """Outcome of a comparison with the best rival."""
    d = comparison.difference
    if contrast.question == "as good":
        if d.high < MARGIN:
            return "yes"
        return "no" if d.low > 0 and adjusted < 0.05 else "cannot tell"
    return lies_in(d, low=0.0) if adjusted < 0.05 else "cannot tell"


def overall(found: list[Evidence]) -> Outcome:
    """One verdict for a claim from its settings."""
    outcomes = [e.outcome for e in found]
    if not outcomes:
        return "not run"
    decisive: tuple[Outcome, ...] = ("contradicted", "yes")  # one such setting decides a general statement
    for outcome in decisive:
        if outcome in outcomes:
            return outcome
    return outcomes[0] if len(set(outcomes)) == 1 else "cannot tell"


def claims_table(
    profile: str,
    results: str | Path = "results",
    cache: Path | None = None,
    known: Mapping[str, Resamples | None] | None = None,
) -> Table:
    """Claims and evidence as a table, for every format. ``known`` holds experiments whose resamples have been made.

    The miniature's evidence stands alone, without a printed number or a verdict on the paper.
    """
    stores = Stores(profile, results, cache, known)
    lines = [_small_line(c, stores) if stores.miniature else _line(c, stores) for c in CLAIMS]
    titles = ("where", "printed numbers", "borne out", "experiment", "our evidence", "our verdict")
    small = "MINIATURE, says nothing about the paper's models: " if stores.miniature else ""
    return Table(
        "claims",
        f"{small}Claims and evidence ({SOURCE})",
        tuple(Header(t) for t in titles),
        tuple(lines),
        () if stores.miniature else NOTES,
        label_title="Question" if stores.miniature else "Claim",
        short="Claims and evidence",
    )


def _line(claim: Claim, stores: Stores) -> Line:
    found = evidence(claim, stores)
    printed, holds = claim.published() if claim.published else ("", None)
    verdict = "" if not printed else "cannot tell" if holds is None else "borne out" if holds else "not borne out"
    data = (
        Datum(claim.where or "a referee's question"),
        Datum(printed) if printed else hole("the printed numbers do not speak to it"),
        Datum(verdict),
        Datum(_experiments(claim)),
        Datum("; ".join(e.text for e in found)) if found else _nothing(claim),
        Datum(overall(found) if claim.contrasts else ""),
    )
    if claim.numerical is not None:
        text, holds = claim.numerical()
        data = (*data[:3], Datum("numerical test"), Datum(text), Datum("supported" if holds else "contradicted"))
    return Line(claim.text, data)


def _small_line(claim: Claim, stores: Stores) -> Line:
    """Line of a claim in the miniature profile: its evidence alone."""
    asked = [c for c in claim.contrasts if not c.printed and c.question not in RECORDS]
    text = "; ".join(e.text.replace(f": {e.outcome}", "") for e in evidence(claim, stores))
    unsaid = hole(_UNRUN if asked else "only the paper's own models or its text can tell")
    data = (
        Datum(claim.where or "a referee's question"),
        hole("no printed number stands beside the miniature's evidence, and no verdict"),
        Datum(),
        Datum(_experiments(claim)),
        Datum(text) if text else unsaid,
        Datum("" if text or not asked else "not run"),
    )
    return Line(claim.question or claim.text, data)


def _experiments(claim: Claim) -> str:
    return ", ".join(dict.fromkeys(c.experiment for c in claim.contrasts))


_UNRUN = "not run yet"


def _nothing(claim: Claim) -> Datum:
    if not claim.contrasts:
        return hole("a statement about the text itself: the printed numbers decide it")
    return hole(why_none(claim.contrasts[0]) if claim.contrasts[0].question in RECORDS else _UNRUN)
