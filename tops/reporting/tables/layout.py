"""The main table of an experiment, with the paper's rows, columns and order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean

from tops.planning.plan import Column, Row
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.mixing import marked
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.results import Results
from tops.reporting.data.scores import Aggregate, Scale, aggregate, scale_of
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number

Best = Callable[[str, Row, str], bool]


def nothing_bold(backbone: str, row: Row, slug: str) -> bool:
    """No place is bold."""
    return False


def main_tables(results: Results, bold: Best = nothing_bold) -> list[Table]:
    """The table or tables that show an experiment's scores."""
    if results.plan.experiment.layout == "levels":
        return [_by_level(results, bold)]
    many = len(results.backbones) > 1
    return [_by_benchmark(results, b, bold, f"{results.name}-{b}" if many else results.name) for b in results.backbones]


def _rel(found: Aggregate, bold: bool, cells: tuple[str, ...] = (), mark: str = "", under: str = "") -> Datum:
    if found.rel is None:
        return hole(found.reason)
    return number(found.rel, bold=bold, cells=cells, mark=mark, under=under)


def _seen(results: Results, row: Row, columns: Iterable[Column]) -> str:
    """``38.0 tokens`` where the layers of a row saw another number than its budget."""
    entries = [results.entries.get((row, c)) for c in columns]
    found = [e.seen for e in entries if e is not None and e.seen is not None]
    return f"{fmean(found):.1f} tokens" if found else ""


def _cells(results: Results, row: Row, columns: tuple[Column, ...]) -> tuple[str, ...]:
    entries = [results.entries.get((row, c)) for c in columns]
    return tuple(dict.fromkeys(r.key for e in entries if e is not None for r in e.records))


def _by_level(results: Results, bold: Best) -> Table:
    """Table 1: methods down, backbones and levels across, Rel in each place."""
    headers, scales, notes = [], {}, []
    for b in results.backbones:
        scale = scales[b] = scale_of(results, b)
        headers += [
            Header(level_title(results, b, level), backbone_title(b)) for level in results.plan.experiment.levels
        ]
        if scale is not None and scale.note:
            notes.append(f"{backbone_title(b)}: Rel {scale.note}")
    notes += [results.judges] if results.judges else []
    lines = []
    for row in _one_per_level(results):
        data: list[Datum] = []
        for b in results.backbones:
            for level in results.plan.experiment.levels:
                data.append(_place(results, scales[b], b, _at_level(results, row, level), bold))
        lines.append(Line(row_title(row), tuple(data), _ROLES[row.role], row.role))
    rule = next((s.rule.text for s in scales.values() if s is not None), "")
    notes.insert(0, f"Rel: Acc in percent of the unpruned model's; Acc: {rule}. Nothing is rounded before printing.")
    return Table(results.name, title_of(results), tuple(headers), tuple(lines), tuple(_once(notes)))


_ROLES = {"reference": "Unpruned", "method": "Methods", "control": "Controls"}


def _once(notes: list[str]) -> list[str]:
    """Notes without repetitions: a note that holds for several backbones appears once."""
    found: dict[str, list[str]] = {}
    for note in notes:
        head, _, rest = note.partition(": ")
        found.setdefault(rest, []).append(head)
    return [f"{', '.join(heads)}: {rest}" for rest, heads in found.items()]


def _place(results: Results, scale: Scale | None, backbone: str, row: Row | None, bold: Best) -> Datum:
    if scale is None:
        return hole(_why_none(results, backbone))
    if row is None or row not in results.rows(backbone):
        return hole("not planned")
    columns = tuple(scale.slugs.values())
    mark = marked(results, row, columns)
    found = aggregate(results, scale, row)
    return _rel(found, bold(backbone, row, "rel"), _cells(results, row, columns), mark, _seen(results, row, columns))


def _why_none(results: Results, backbone: str) -> str:
    reasons = dict.fromkeys(e.reason for (_, c), e in results.entries.items() if c.backbone == backbone and e.reason)
    return next(iter(reasons), "no benchmark can be scored")


def _one_per_level(results: Results) -> list[Row]:
    """Rows that differ only in their level reduced to one, in order."""
    order = {"reference": 0, "method": 1, "control": 2}
    found = dict.fromkeys(Row(r.method, r.title, r.role, "", r.protocol, r.variant) for r in results.plan.rows)
    return sorted(found, key=lambda r: order[r.role])


def _at_level(results: Results, row: Row, level: str) -> Row | None:
    """The row of the same method at a level; a row without a level counts at every level."""
    for candidate in results.plan.rows:
        same = (candidate.method, candidate.role, candidate.variant) == (row.method, row.role, row.variant)
        if same and candidate.protocol == row.protocol and candidate.level in ("", level):
            return candidate
    return None


def _by_benchmark(results: Results, backbone: str, bold: Best, name: str) -> Table:
    """Tables 2, 3, 5, 6, 11 to 17: rows by level, a column per benchmark, then Acc and Rel by both rules."""
    columns = results.columns(backbone)
    scale, printed = scale_of(results, backbone), scale_of(results, backbone, printed=True)
    headers = [Header(benchmark_title(c.slug)) for c in columns]
    notes = []
    both = scale is not None and printed is not None and scale.rule.divisors != printed.rule.divisors
    if scale is not None:
        headers += [Header("Acc", "proper" if both else ""), Header("Rel (%)", "proper" if both else "")]
        notes.append(f"{'Proper ' if both else ''}Acc: {scale.rule.text}. Rel: Acc in percent of the unpruned model's.")
        if scale.note:
            notes.append(f"Acc and Rel {scale.note}")
    if both and printed is not None:
        headers += [Header("Acc", "as in the paper"), Header("Rel (%)", "as in the paper")]
        notes.append(f"Acc as in the paper: {printed.rule.text}.")
    if results.miniature and any("layer" in row.variant for row in results.rows(backbone)):
        notes.append("Layers are the paper's; the miniature cuts at the same depth, where several may be one layer.")
    notes += [results.judges] if results.judges else []
    lines = []
    for row in sorted(results.rows(backbone), key=lambda r: r.role == "control"):
        data = [score(results, row, column, bold) for column in columns]
        for rule in (scale, printed if both else None):
            if rule is None:
                continue
            found = aggregate(results, rule, row)
            cells = _cells(results, row, tuple(rule.slugs.values()))
            acc = hole(found.reason) if found.acc is None else number(found.acc, cells=cells)
            mark = marked(results, row, rule.slugs.values())
            under = _seen(results, row, rule.slugs.values())
            data += [acc, _rel(found, rule is scale and bold(backbone, row, "rel"), cells, mark, under)]
        lines.append(Line(row_title(row), tuple(data), section_of(results, backbone, row), row.role))
    title = title_of(results)
    if len(results.backbones) > 1:
        title = f"{title}: {backbone_title(backbone)}"
    short = f"Scores: {backbone_title(backbone)}" if len(results.backbones) > 1 else "Scores"
    return Table(name, title, tuple(headers), tuple(_by_section(lines)), tuple(notes), short=short)


def section_of(results: Results, backbone: str, row: Row) -> str:
    """``32 tokens (↓ 94.4 %): controls``."""
    title = level_title(results, backbone, row.level) or ("Unpruned" if row.role == "reference" else "No budget")
    return f"{title}: controls" if row.role == "control" and row.level else title


def _by_section(lines: list[Line]) -> list[Line]:
    order = {s: i for i, s in enumerate(dict.fromkeys(line.section.removesuffix(": controls") for line in lines))}
    return sorted(lines, key=lambda line: (order[line.section.removesuffix(": controls")], line.role == "control"))


def score(results: Results, row: Row, column: Column, bold: Best) -> Datum:
    """One place of the table."""
    entry = results.entries.get((row, column))
    if entry is None:
        return hole("not planned")
    cells = tuple(r.key for r in entry.records)
    if entry.value is None:
        return Datum(reason=entry.reason, cells=cells)
    return number(entry.value, bold=bold(column.backbone, row, column.slug), mark=entry.mark, cells=cells)
