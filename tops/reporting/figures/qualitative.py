"""A page for print: a few documents, what each method keeps of the picture, and what it answers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.drawing import Places, draw_kept
from tops.planning.plan import Column, Row
from tops.reporting.data.headings import level_title
from tops.reporting.data.kept import stages_of, tokens_before
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.samples import answers_of, grid
from tops.reporting.figures.kept_figures import stage_title
from tops.store.answers import Answer
from tops.store.store import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

_DOCUMENTS = 5
_RIVALS = 4
_STAGES = 3
_LOOKED_AT = 50  # documents of a benchmark, of which one is shown
_DROPPED = (20, 26, 38)
_WIDTH, _PANEL = 7.0, 1.0  # inches: width of the page, and of a panel at most
_HEAD, _LINE, _UNDER = 0.25, 0.55, 0.33  # inches: above all lines; of words to a line, of which below its pictures
_PIXELS = 240  # of a panel's height: 240 dots an inch
_COLOURS = 128  # of a panel: a palette is a third of the bytes, and no eye sees it at this size
_RIGHT, _WRONG = "#0b6e4f", "#b3261e"


@dataclass(frozen=True)
class _Shown:
    """One document: its answers by row, the picture, and how much the rows disagree (0: half of them are right)."""

    column: Column
    answers: dict[Row, Answer]
    records: dict[Row, Record]
    picture: Image
    visual: int
    agreement: float


@dataclass(frozen=True)
class _Panel:
    """A picture to draw, with text above and below it."""

    seen: Image | None
    title: str
    below: str = ""
    colour: str = "black"


def qualitative_pages(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """A figure per backbone at its strongest budget; only where tokens lie on the picture."""
    if not resamples.results.plan.experiment.record_kept:
        return
    for backbone in resamples.results.backbones:
        for level in reversed(resamples.results.plan.experiment.levels):
            rows = _rows(resamples, backbone, level)
            documents = _documents(resamples, backbone, rows) if rows else []
            if documents:
                where = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
                small = " (miniature)" if resamples.results.miniature else ""
                figure = _draw(documents, rows, f"{where}{small}")
                text = f"{where}: what methods keep, and answer, on the documents they disagree on most"
                yield f"documents_{backbone}", text, figure
                break


def _rows(resamples: Resamples, backbone: str, level: str) -> list[Row]:
    """The subject (else the first method) at a budget, then its rivals under the same meaning of the budget."""
    there = [r for r in resamples.results.rows(backbone) if r.level == level and r.role == "method"]
    subject = next((r for r in there if resamples.results.is_subject(r)), next(iter(there), None))
    if subject is None:
        return []
    return [subject, *(r for r in there if r != subject and r.protocol == subject.protocol)][: _RIVALS + 1]


def _documents(resamples: Resamples, backbone: str, rows: list[Row]) -> list[_Shown]:
    """One document a benchmark: the one on which the rows disagree most, whoever is right."""
    found = []
    for column in {c.benchmark: c for c in reversed(resamples.results.columns(backbone))}.values():
        entries = {row: resamples.results.entries.get((row, column)) for row in rows}
        records = {row: e.records[0] for row, e in entries.items() if e is not None and e.records}
        if rows[0] in records and (shown := _most_disputed(resamples, column, records, rows[0])) is not None:
            found.append(shown)
    best = sorted(found, key=lambda d: d.agreement)[:_DOCUMENTS]
    order = {c: i for i, c in enumerate(resamples.results.columns(backbone))}
    return sorted(best, key=lambda d: order[d.column])


def _most_disputed(resamples: Resamples, column: Column, records: dict[Row, Record], subject: Row) -> _Shown | None:
    drawable = {a.doc_id: a for a in islice(records[subject].answers(), _LOOKED_AT) if a.image and stages_of(a.kept)}
    scored = [resamples.of(record) for record in records.values() if record.default_scorer is not None]
    if not drawable or not scored:
        return None
    right = {i: [bool(d.right[d.ids == i].any()) for d in scored] for i in drawable}
    for chosen in sorted(drawable, key=lambda i: abs(float(np.mean(right[i])) - 0.5)):
        picture = _picture(records[subject], drawable[chosen])
        if picture is None:
            continue
        answers = {row: a for row, r in records.items() for a in answers_of(r, {chosen})}
        visual = max(tokens_before(stages_of(a.kept), a.visual_tokens_per_layer) for a in answers.values())
        first = answers[subject]
        if (first.kept or {}).get("places") is None and not grid(records[subject].spec.backbone.family, visual)["map"]:
            return None
        agreement = abs(float(np.mean(right[chosen])) - 0.5)
        return _Shown(column, answers, records, picture, visual, agreement)
    return None


def _picture(record: Record, answer: Answer) -> Image | None:
    from PIL import Image, UnidentifiedImageError

    path = record.picture(answer.image) if answer.image else None
    try:
        return None if path is None else Image.open(path).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None


def _draw(documents: list[_Shown], rows: list[Row], title: str) -> Figure:
    """The figure: each picture with its question, the last cut of each rival, and every cut of the subject."""
    import matplotlib.pyplot as plt

    subject = rows[0]
    drawn = [_subject_panels(shown, subject) for shown in documents]
    aspect = max(p.seen.width / p.seen.height for panels in drawn for p in panels if p.seen is not None)
    most = _RIVALS if aspect < 1.5 else _RIVALS // 2  # an overview beside its tiles takes the room of two panels
    rivals = [r for r in rows[1:] if any(r in d.answers for d in documents)][:most]
    for shown, panels in zip(documents, drawn, strict=True):
        panels[:0] = [_rival_panel(shown, rival) for rival in rivals]
    across = max(map(len, drawn))
    unit = min(_PANEL, _WIDTH / (1 + across * aspect))
    width, height = unit * (1 + across * aspect), _LINE + unit
    tall = height * len(documents) + _HEAD
    figure = plt.figure(figsize=(width, tall))
    figure.set_layout_engine("none")  # every place is given
    for i, (shown, panels) in enumerate(zip(documents, drawn, strict=True)):
        bottom = height * (len(documents) - 1 - i) + _UNDER
        some = shown.answers[subject]
        question = textwrap.wrap(_plain(some.question), int(unit * 24))
        words = "\n".join(question[:3]) + ("…" if len(question) > 3 else "")
        first = _Panel(shown.picture, f"{benchmark_title(shown.column.slug)} {some.doc_id}", words)
        left = 0.0
        for panel, room in [(first, unit), *((panel, unit * aspect) for panel in panels)]:
            place = figure.add_axes((left / width, bottom / tall, 0.96 * room / width, unit / tall))
            _show(place, panel)
            left += room
    figure.suptitle(title, fontsize=8, y=1 - 0.08 / tall)
    return figure


def _subject_panels(shown: _Shown, row: Row) -> list[_Panel]:
    """A panel for each cut of the subject, its answer under the last."""
    stages = list(stages_of(shown.answers[row].kept).items())[-_STAGES:]
    return [
        _Panel(
            _seen(shown, row, kept),
            f"{row_title(row)}, {stage_title(int(layer))}\n{len(kept)} kept",
            *(_said(shown, row) if i == len(stages) - 1 else ()),
        )
        for i, (layer, kept) in enumerate(stages)
    ]


def _rival_panel(shown: _Shown, row: Row) -> _Panel:
    """The panel of a rival after its last cut; without recorded tokens it shows the whole picture."""
    if row not in shown.answers:
        return _Panel(None, f"{row_title(row)}\nnot run")
    stages = list(stages_of(shown.answers[row].kept).values())[-1:]
    kept = f"{len(stages[0])} kept" if stages else "places not recorded"
    seen = _seen(shown, row, stages[0]) if stages else shown.picture
    return _Panel(seen, f"{row_title(row)}\n{kept}", *_said(shown, row))


def _said(shown: _Shown, row: Row) -> tuple[str, str]:
    """The row's answer, marked right or wrong, and the colour of the text."""
    answer, record = shown.answers[row], shown.records[row]
    score = answer.scores.get(record.default_scorer or "", {}).get("score")
    text = textwrap.shorten(_plain(answer.answer), 26, placeholder="…") or "(empty)"
    if score is None:
        return text, "black"
    return (f"✓ {text}", _RIGHT) if score >= 0.5 else (f"✗ {text}", _WRONG)


def _show(place: Axes, panel: _Panel) -> None:
    place.set_axis_off()
    if panel.seen is not None:
        place.imshow(_small(panel.seen), interpolation="none")
    place.set_title(panel.title, fontsize=5, pad=2, linespacing=1.1, parse_math=False)
    where: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "top", "fontsize": 5}
    place.annotate(panel.below, (0.5, -0.03), color=panel.colour, parse_math=False, linespacing=1.1, **where)


def _seen(shown: _Shown, row: Row, kept: list[int]) -> Image:
    """The first view of the picture with dropped places dark."""
    from PIL import Image

    places = (shown.answers[row].kept or {}).get("places")
    if places is not None:
        where = Places.from_json(places)
        first = replace(where, sheets=tuple(sheet for sheet in where.sheets if sheet.image == 0))
        return draw_kept([shown.picture], kept, first)
    side = int(grid(shown.records[row].spec.backbone.family, shown.visual)["side"])
    flat = np.zeros(shown.visual, dtype=bool)
    flat[kept] = True
    return Image.fromarray(_shaded(np.asarray(shown.picture), flat[: side * side].reshape(side, side)))


def _shaded(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The picture with dropped places dark; shapes (height, width, 3) and (side, side)."""
    height, width = picture.shape[:2]
    rows, columns = (np.arange(n) * len(kept) // n for n in (height, width))
    shown = kept[np.ix_(rows, columns)][..., None]
    dark = (0.22 * picture + 0.78 * np.array(_DROPPED)).astype(np.uint8)
    return np.where(shown, picture, dark)


def _small(picture: Image) -> np.ndarray:
    """Pixels at print size and in few colours, so that a vector file holds a palette and one byte per pixel."""
    from PIL import Image

    small = picture.copy()
    small.thumbnail((2 * _PIXELS, _PIXELS))
    return np.asarray(small.quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB"))


def _plain(text: str) -> str:
    """Text in one line, without characters that cannot be printed."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())
