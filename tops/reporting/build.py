"""The report of one experiment: made from the store, written to files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tops.reporting.data.account import account_text
from tops.reporting.data.headings import heading_of
from tops.reporting.data.imported import imported_rows
from tops.reporting.data.kept import unrecorded
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.names import backbone_title
from tops.reporting.data.resamples import Resamples, winners
from tops.reporting.data.results import Results
from tops.reporting.data.samples import browser_data
from tops.reporting.figures.figures import write_figures
from tops.reporting.figures.picture import Picture
from tops.reporting.pages.page import page
from tops.reporting.tables import render
from tops.reporting.tables.against_each import paired_table
from tops.reporting.tables.comparison import comparison_table, matches, missing, missing_table
from tops.reporting.tables.controls import controls_table, with_true_tokens
from tops.reporting.tables.costs_compared import costs_compared
from tops.reporting.tables.difficulty import difficulty_tables
from tops.reporting.tables.efficiency import Measured, efficiency_table, load_measured
from tops.reporting.tables.fidelity import fidelity_tables
from tops.reporting.tables.imported import imported_table, with_imported
from tops.reporting.tables.layout import main_tables
from tops.reporting.tables.significance import benchmark_intervals_table, intervals_table, winners_table
from tops.reporting.tables.stops import WARNING, stops_table
from tops.reporting.tables.summary import sentences, verdict
from tops.reporting.tables.table import Datum, Header, Line, Table
from tops.reporting.tables.turns import turns_tables
from tops.reporting.tables.unpruned import unpruned_table, unpruned_warnings

CLAIMS_PAGE, SETTINGS_PAGE = "claims.html", "settings.html"
SETTINGS_TITLE = "Weights and schedules as the paper prints them"


@dataclass(frozen=True)
class Report:
    """A report before it is written.

    Attributes
    ----------
    main : list of Table
        Tables of scores, with the paper's rows and columns.
    more : list of Table
        Further tables that have lines: controls and costs, the subject against each rival, intervals, winners, paper
        against reproduction.
    warnings : tuple of str
        Sentences on mixed columns, damaged cells, and columns that cannot be paired.
    summary : list of str
        Sentences on the leading methods, and on the smallest difference that the run can show.
    verdict : str
        The sentence at the top of the page.
    measured : Measured, optional
        Times of ``tops bench efficiency``, or why there are none.
    """

    resamples: Resamples
    main: list[Table]
    more: list[Table]
    warnings: tuple[str, ...]
    summary: list[str]
    verdict: str = ""
    measured: Measured | None = None

    @property
    def name(self) -> str:
        """File stem."""
        return self.resamples.results.name


def make(results: Results, cache: Path | None = None, efficiency: Path | None = None) -> Report:
    """Tables and warnings of an experiment.

    Parameters
    ----------
    results : Results
        From :func:`tops.reporting.data.results.collect`.
    cache : path, optional
        Folder for parsed answers.
    efficiency : path, optional
        Record of ``tops bench efficiency`` for Table 4 and the frontier; the newest beside the store by default.
    """
    resamples = Resamples(unmixed(results), cache)
    results = resamples.results
    best = winners(resamples)

    def bold(backbone: str, row: object, slug: str) -> bool:
        level = getattr(row, "level", "")
        winner = best.get((backbone, level, slug))
        return winner is not None and winner.row == row and winner.beyond_chance

    compared, absent = matches(resamples), missing(resamples)
    more = [
        stops_table(results),
        unpruned_table(resamples),
        *fidelity_tables(resamples),
        *turns_tables(resamples),
        controls_table(resamples),
        *difficulty_tables(resamples),
        paired_table(resamples),
        intervals_table(resamples),
        benchmark_intervals_table(resamples),
        winners_table(resamples, best),
        comparison_table(resamples, compared, absent),
        *([missing_table(resamples, absent)] if compared else []),  # before any run the plan shows the missing numbers
    ]
    plumbing = tuple(
        f"The weights of {backbone_title(b)} were never trained: its numbers show that it runs, nothing else."
        for b in results.untrained
    )
    imported, unread = imported_rows(resamples)
    more.append(imported_table(results, imported))
    told = (WARNING,) if results.plan.stops else ()
    warnings = (
        *told,
        *plumbing,
        *unpruned_warnings(resamples),
        *results.warnings,
        *resamples.faults,
        *unrecorded(results),
        *unread,
    )
    main = [with_imported(results, t, imported) for t in main_tables(with_true_tokens(resamples), bold)]
    measured = load_measured(results, efficiency)
    if results.plan.experiment.layout == "efficiency":
        main = [efficiency_table(resamples, measured, bold)]
        more.append(costs_compared(resamples, measured))
    shown = [t for t in more if t.lines]
    return Report(resamples, main, shown, warnings, sentences(resamples, best), verdict(best), measured)


def write_tables(name: str, tables: Sequence[Table], folder: Path, warnings: Sequence[str] = ()) -> list[Path]:
    """Write the tables: one Markdown and one LaTeX file with all of them, and one CSV file per table."""
    folder.mkdir(parents=True, exist_ok=True)
    above = [f"> **Warning**: {render.markdown_text(w)}\n" for w in warnings]
    texts = {
        f"{name}.md": "\n".join([*above, *(render.markdown(t) for t in tables)]),
        f"{name}.tex": "\n".join(render.latex(t) for t in tables),
        **{f"{t.name}.csv": render.as_csv(t) for t in tables},
    }
    return [_write(folder / file, text) for file, text in texts.items()]


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_page(
    report: Report, folder: Path, pictures: Sequence[Picture] = (), links: Sequence[tuple[str, str]] = ()
) -> Path:
    """The HTML page; ``links`` are addresses and names of other pages of a site."""
    results = report.resamples.results
    text = page(
        title=heading_of(results),
        miniature=results.miniature,
        note=results.plan.note,
        verdict=report.verdict,
        account=account_text(results),
        summary=report.summary,
        warnings=report.warnings,
        main=report.main,
        more=report.more,
        pictures=pictures,
        records=list(results.records()),
        documents=browser_data(report.resamples),
        links=[*links, (CLAIMS_PAGE, "Claims and evidence")],
    )
    if not (folder / CLAIMS_PAGE).exists():
        _write(folder / CLAIMS_PAGE, _no_claims(miniature=results.miniature))
    return _write(folder / f"{report.name}.html", text)


def _no_claims(*, miniature: bool) -> str:
    """Placeholder page for the claims, until they are built from all experiments of the profile."""
    profile = "miniature" if miniature else "paper"
    table = Table(
        "claims",
        "Claims and evidence",
        (Header("state"),),
        (Line("Every claim of the paper", (Datum(f"not built yet: run `tops paper claims profile={profile}`"),)),),
        label_title="",
    )
    return page(title="Claims and evidence", miniature=miniature, main=[table])


def build(results: Results, folder: Path, efficiency: Path | None = None) -> list[Path]:
    """Write the report of an experiment; returns the paths of all files."""
    return build_from(make(results, folder / ".cache", efficiency), folder)


def build_from(report: Report, folder: Path, links: Sequence[tuple[str, str]] = ()) -> list[Path]:
    """Write a report that has been made; returns the paths of all files."""
    figures, pictures = write_figures(report.resamples, folder, report.measured)
    tables = write_tables(report.name, [*report.main, *report.more], folder, report.warnings)
    return [*tables, *figures, write_page(report, folder, pictures, links)]


def write_claims(table: Table, folder: Path, profile: str) -> list[Path]:
    """Write the claims table in all formats."""
    text = page(title=table.title, miniature=profile == "miniature", main=[table])
    return [*write_tables(table.name, [table], folder), _write(folder / f"{table.name}.html", text)]


def write_settings(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write tables 7 to 10 of the paper in all formats, on a page of their own; they do not depend on a profile."""
    text = page(title=SETTINGS_TITLE, miniature=False, main=list(tables))
    return [*write_tables("settings", tables, folder), _write(folder / SETTINGS_PAGE, text)]
