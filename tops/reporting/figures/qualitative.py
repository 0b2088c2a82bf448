"""Documents as pages for print: the image, what stays of it at each cut, the question, and every method's answer."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.drawing import Places, draw_kept
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.samples import browser_data
from tops.reporting.figures.kept_figures import stage_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGES = 3  # documents of each benchmark
_STAGES = 3
_ANSWERS = 14
_DROPPED = (20, 26, 38)


def qualitative_pages(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """A figure per backbone and budget, a line of panels per document; only where tokens lie on the picture."""
    if not resamples.results.plan.experiment.record_kept:
        return
    data = browser_data(resamples, _PAGES)
    rows: list[dict[str, Any]] = data["rows"]
    for backbone in data["backbones"]:
        for level, title in backbone["levels"].items():
            subject = _subject(rows, level)
            documents = [
                d
                for d in data["documents"]
                if d["backbone"] == backbone["name"] and subject in d["answers"] and _drawable(d, d["answers"][subject])
            ]
            if subject is not None and documents:
                where = f"{backbone['title']}, {title}"
                small = " (miniature)" if resamples.results.miniature else ""
                figure = _draw(documents, data, subject, level, f"{where}{small}")
                text = f"{where}: tokens that {rows[subject]['title']} keeps on documents the methods disagree on"
                yield f"documents_{backbone['name']}_{level}", text, figure


def _subject(rows: list[dict[str, Any]], level: str) -> int | None:
    """The subject, else the first method at that budget."""
    methods = [i for i, row in enumerate(rows) if row["role"] == "method" and row["level"] == level]
    return next((i for i in methods if rows[i]["subject"]), next(iter(methods), None))


def _drawable(document: dict[str, Any], answer: dict[str, Any]) -> bool:
    return (
        document["image"] is not None
        and bool(answer["kept"])
        and (answer["grid"]["map"] or answer["places"] is not None)
    )


def _draw(documents: list[dict[str, Any]], data: dict[str, Any], subject: int, level: str, title: str) -> Figure:
    import matplotlib.pyplot as plt

    stages = max(min(_STAGES, len(d["answers"][subject]["kept"])) for d in documents)
    figure, axes = plt.subplots(
        len(documents),
        stages + 2,
        figsize=(1.75 * (stages + 1) + 3.2, 2.3 * len(documents) + 0.4),
        squeeze=False,
        gridspec_kw={"width_ratios": [1] * (stages + 1) + [1.8]},
    )
    for panel in axes.flat:
        panel.set_axis_off()
    for line, document in zip(axes, documents, strict=True):
        answer = document["answers"][subject]
        picture = _pixels(data["images"][document["image"]])
        line[0].imshow(picture)
        line[0].set_title(f"{document['benchmark']}, document {document['id']}", fontsize=7)
        for panel, (layer, bits) in zip(line[1:-1], list(answer["kept"].items())[:_STAGES], strict=False):
            panel.imshow(_seen(picture, bits, answer, data["places"]))
            panel.set_title(f"{stage_title(int(layer))}: {_count(bits)} kept", fontsize=7)
        line[-1].text(
            0, 1, _words(document, data["rows"], level), va="top", fontsize=6, parse_math=False, linespacing=1.25
        )
    figure.suptitle(title)
    return figure


def _pixels(address: str) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"))


def _seen(picture: np.ndarray, bits: str, answer: dict[str, Any], places: list[dict[str, Any]]) -> np.ndarray:
    """The first view of the picture with dropped places dark."""
    if answer["places"] is None:
        return _shaded(picture, _mask(bits, answer["grid"]))
    from PIL import Image

    kept = np.flatnonzero(np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8))).tolist()
    where = Places.from_json(places[answer["places"]])
    first = replace(where, sheets=tuple(sheet for sheet in where.sheets if sheet.image == 0))
    return np.asarray(draw_kept([Image.fromarray(picture)], kept, first))


def _count(bits: str) -> int:
    return int(np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8)).sum())


def _mask(bits: str, grid: dict[str, Any]) -> np.ndarray:
    """Kept or not on the square that lies on the picture, shape (side, side)."""
    flat = np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8))[: grid["side"] ** 2]
    return flat.reshape(grid["side"], grid["side"]).astype(bool)


def _shaded(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The picture with dropped places dark; shapes (height, width, 3) and (side, side)."""
    height, width = picture.shape[:2]
    rows, columns = (np.arange(n) * len(kept) // n for n in (height, width))
    shown = kept[np.ix_(rows, columns)][..., None]
    dark = (0.22 * picture + 0.78 * np.array(_DROPPED)).astype(np.uint8)
    return np.where(shown, picture, dark)


def _words(document: dict[str, Any], rows: list[dict[str, Any]], level: str) -> str:
    """Question, and a line for each row: right or wrong, its name, its answer."""
    lines = [*textwrap.wrap(_plain(document["question"]), 52)[:4], ""]
    for i, answer in list(document["answers"].items()):
        if rows[i]["level"] in ("", level):
            sign = {True: "right", False: "wrong", None: "?"}[
                None if answer["score"] is None else answer["score"] >= 0.5
            ]
            lines.append(f"{sign:5}  {rows[i]['title']}: {textwrap.shorten(_plain(answer['text']), 34) or '(empty)'}")
    return "\n".join(lines[: _ANSWERS + 5])


def _plain(text: str) -> str:
    """What the figures' font can show; anything else becomes a question mark."""
    return "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in " ".join(text.split()))
