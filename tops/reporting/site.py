"""One folder with the reports of all experiments of a profile, an index, the claims and the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tops.errors import DataError, TopsError
from tops.paper.audit import audit
from tops.planning.matching_cells import MatchingCells
from tops.planning.plan import plan
from tops.reporting.build import CLAIMS_PAGE, SETTINGS_PAGE, SETTINGS_TITLE, Report, build_from, make
from tops.reporting.data.account import account
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import collect
from tops.reporting.pages.page import page
from tops.reporting.tables.claims import claims_table
from tops.reporting.tables.leaderboard import leaderboard
from tops.reporting.tables.settings import settings_tables
from tops.reporting.tables.table import Datum, Header, Line, Table, hole
from tops.settings.choices import choice_names, load_experiment, load_profile
from tops.settings.schema import Experiment
from tops.store.seal import read_json
from tops.store.store import Store

INDEX, AUDIT = "index.html", "audit.html"
BACK = ((INDEX, "All experiments"),)
_UNDECIDED = "no two methods have Rel at one budget yet: it takes every benchmark of a model, and the unpruned one"


@dataclass(frozen=True)
class Shown:
    """An experiment on the index.

    Attributes
    ----------
    report : Report or None
        None where no cell of the experiment has been run, or where the report could not be built.
    fault : str
        Why the report could not be built; empty otherwise.
    """

    experiment: Experiment
    report: Report | None = None
    fault: str = ""


def build_site(profile: str, results: Path, folder: Path, say: Callable[[str], None] = print) -> list[str]:
    """Write the site of a profile; returns what could not be built, one sentence each.

    Parameters
    ----------
    profile : str
        ``paper`` or ``miniature``: one site each, so that their numbers never share a page.
    results : path
        Root of the result store.
    folder : path
        Where the site goes. Any web server that hands out files can serve it.
    say : callable
        Called with a line about every page that was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    miniature = load_profile(profile).miniature
    look = MatchingCells(Store(results, profile))
    asked = _asked(look.store)
    shown = []
    for name in choice_names("experiment"):
        shown.append(_experiment(load_experiment(name), profile, results, folder, asked, look))
        if shown[-1].report is not None:
            say(str(folder / f"{name}.html"))
    known = {
        one.experiment.name: None if one.report is None else one.report.resamples for one in shown if not one.fault
    }
    claims = claims_table(profile, results, folder / ".cache", known)
    pages = {
        CLAIMS_PAGE: page(title=claims.title, miniature=miniature, main=[claims], links=BACK),
        SETTINGS_PAGE: page(title=SETTINGS_TITLE, miniature=False, main=settings_tables(), links=BACK),
        AUDIT: page(title="Audit of the published numbers", miniature=False, main=[_audit()], links=BACK),
        INDEX: _index(profile, shown, miniature),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
        say(str(folder / name))
    return [f"{one.experiment.name}: {one.fault}" for one in shown if one.fault]


Asked = set[tuple[str, str, str, int | None]]  # backbone, method, benchmark, documents


def _asked(store: Store) -> Asked:
    """(Backbone, method, benchmark, documents) of all cells of the store, to find experiments that may have numbers."""
    found: Asked = set()
    for key in store.keys():  # noqa: SIM118
        try:
            spec = read_json(store.path(key) / "spec.json")
            part = spec["benchmark"]
            found.add((spec["backbone"]["name"], spec["method"]["name"], part["name"], part["limit"]))
        except (DataError, KeyError, TypeError):
            continue  # each report names damaged cells itself
    return found


def _may_have_numbers(experiment: Experiment, profile: str, asked: Asked) -> bool:
    limits = experiment.limit.get(profile)
    methods = [method for row in experiment.rows for method in row.methods]
    return any(
        (backbone, method, column.benchmark, limits.get(column.benchmark) if isinstance(limits, dict) else limits)
        in asked
        for backbone in experiment.backbones
        for column in experiment.benchmarks
        for method in methods
    )


def _experiment(
    experiment: Experiment, profile: str, results: Path, folder: Path, asked: Asked, look: MatchingCells
) -> Shown:
    """Build one experiment's report; an error is noted, and an experiment without stored cells is not planned."""
    if not _may_have_numbers(experiment, profile, asked):
        return Shown(experiment)
    try:
        planned = plan(experiment, profile, results=results, look=look)
        if not any(p.status.done for p in planned.unique().values()):
            return Shown(experiment)
        report = make(collect(planned, results, look), folder / ".cache")
        note, state = folder / ".cache" / f"{experiment.name}.built", _state_of(report)
        if not (note.exists() and note.read_text() == state and (folder / f"{experiment.name}.html").exists()):
            build_from(report, folder, links=BACK)
            note.write_text(state)
    except TopsError as error:
        return Shown(experiment, fault=str(error))
    return Shown(experiment, report)


def _state_of(report: Report) -> str:
    """Digest of a report's inputs and of the program; a report with an unchanged digest is not drawn again."""
    results = report.resamples.results
    total = hashlib.sha256(repr((results.plan, results.entries, report.warnings, report.main, report.more)).encode())
    for file in sorted(Path(__file__).parent.rglob("*")):
        if file.suffix in (".py", ".js", ".css", ".j2"):
            total.update(file.read_bytes())
    return total.hexdigest()


def _index(profile: str, shown: list[Shown], miniature: bool) -> str:
    built = [one for one in shown if one.report is not None]
    tables = [_experiments(shown)]
    found: list[Resamples] = [one.report.resamples for one in built if one.report is not None]
    board = leaderboard(found, miniature=miniature)
    names = [(f"{one.experiment.name}.html", one.experiment.name) for one in built]
    return page(
        title=f"Experiments of profile {profile}",
        miniature=miniature,
        verdict=f"{len(built)} of {len(shown)} experiments have numbers.",
        main=[*([board] if board is not None else []), *tables],
        links=[(CLAIMS_PAGE, "Claims"), (AUDIT, "Audit of the paper"), (SETTINGS_PAGE, "Tables 7 to 10"), *names],
    )


def _experiments(shown: list[Shown]) -> Table:
    """Table of the experiments, those with numbers first, each with its state, verdict and a link to its page."""
    lines = []
    for one in sorted(shown, key=lambda one: (one.report is None, not one.fault)):
        name, title = one.experiment.name, Datum(one.experiment.title)
        if one.report is None:
            why = hole(one.fault or "not run yet")
            lines.append(Line(name, (title, why, why), "Not built" if one.fault else "Not run yet"))
            continue
        states = dict(account(one.report.resamples.results))
        total, numbers = sum(states.values()), states.get("with a number", 0)
        rest = ", ".join(f"{count} {state}" for state, count in states.items() if state != "with a number")
        places = Datum(f"{numbers} of {total}" + (f" ({rest})" if rest else ""), numbers / total)
        verdict = Datum(one.report.verdict) if one.report.verdict else hole(_UNDECIDED)
        lines.append(Line(name, (title, places, verdict), "With numbers", address=f"{name}.html"))
    headers = (Header("what"), Header("places with a number"), Header("verdict"))
    return Table("experiments", "Experiments", headers, tuple(lines), label_title="Experiment", short="Experiments")


def _audit() -> Table:
    headers = (Header("printed"), Header("recomputed"), Header("verdict"))
    lines = tuple(Line(f.where, (Datum(f.printed), Datum(f.recomputed), Datum(f.verdict)), f.section) for f in audit())
    return Table("audit", "Audit", headers, lines, label_title="Where", short="Findings")
