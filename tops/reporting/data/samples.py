"""Documents for the browser of the page: question, image, every method's answer and the tokens it kept."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tops.drawing import Places, views
from tops.planning.plan import Column, Row
from tops.reporting.data.headings import level_title
from tops.reporting.data.kept import stages_of, tokens_before
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.store.answers import Answer
from tops.store.store import Record

PER_BENCHMARK = 12
_CANDIDATES = 500  # only the first documents are looked at, so that large benchmarks are not read to their end
_IMAGE_SIDE = 336
_IMAGE_BYTES = 40_000
_ID = re.compile(rb'^\{"doc_id":(\d+),')


def browser_data(resamples: Resamples, per_benchmark: int = PER_BENCHMARK) -> dict[str, Any]:
    """Documents for the page's browser, in plain JSON types; text is raw, and the page escapes it.

    Two thirds of the documents are those on which the rows disagree most, one third the first of the benchmark.
    """
    results = resamples.results
    rows = [row for row in results.plan.rows if any(r == row and e.records for (r, _), e in results.entries.items())]
    number = {row: i for i, row in enumerate(rows)}
    data: dict[str, Any] = {
        "rows": [_row(row, results.is_subject(row)) for row in rows],
        "backbones": [],
        "images": [],
        "places": [],
        "documents": [],
    }
    images: dict[bytes, int] = {}
    for backbone in results.backbones:
        levels = {level: level_title(results, backbone, level) for level in results.plan.experiment.levels}
        before = len(data["documents"])
        seen: set[str] = set()
        for column in results.columns(backbone):
            if column.benchmark in seen:
                continue
            seen.add(column.benchmark)
            records = {row: e.records[0] for row in rows if (e := results.entries.get((row, column))) and e.records}
            chosen = _choose(resamples, column, records, per_benchmark)
            data["documents"] += _documents(column, records, number, chosen, images, data["images"], data["places"])
        if len(data["documents"]) > before:
            data["backbones"].append({"name": backbone, "title": backbone_title(backbone), "levels": levels})
    return data


def _row(row: Row, subject: bool) -> dict[str, Any]:
    return {"title": row_title(row), "level": row.level, "role": row.role, "subject": subject}


def _choose(resamples: Resamples, column: Column, records: dict[Row, Record], count: int) -> list[int]:
    """Document numbers, rising."""
    scored = [resamples.of(r) for r in records.values() if r.default_scorer is not None]
    if not scored:
        first = next(iter(records.values()), None)
        return [] if first is None else [a.doc_id for a, _ in zip(first.answers(), range(count), strict=False)]
    ids = scored[0].ids[:_CANDIDATES]
    right = np.array([d.right[:_CANDIDATES] for d in scored if d.ids[:_CANDIDATES].tolist() == ids.tolist()])
    dispute = -np.abs(right.mean(axis=0) - 0.5)
    order = np.argsort(-dispute, kind="stable")
    chosen = dict.fromkeys(ids[: count // 3].tolist())
    chosen |= dict.fromkeys(ids[order].tolist()[:count])
    return sorted(list(chosen)[:count])


def answers_of(record: Record, wanted: set[int]) -> Iterable[Answer]:
    """Only these documents, and no further than the last of them."""
    left = set(wanted)
    with (record.path / "answers.jsonl").open("rb") as lines:
        for line in lines:
            found = _ID.match(line)
            if found is not None and int(found[1]) not in left:
                continue
            try:
                answer = Answer.from_line(line)
            except ValueError:
                return  # damaged: the report names the cell
            if answer.doc_id in left:
                left.discard(answer.doc_id)
                yield answer
            if not left:
                return


def _documents(
    column: Column,
    records: dict[Row, Record],
    number: dict[Row, int],
    chosen: list[int],
    images: dict[bytes, int],
    stored: list[str],
    places: list[Any],
) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    aspects: dict[int, float] = {}
    whole: dict[int, int] = {}  # visual tokens before any cut, as the unpruned model saw them
    for row, record in sorted(records.items(), key=lambda item: item[0].role != "reference"):
        for answer in answers_of(record, set(chosen)):
            document = found.setdefault(
                answer.doc_id,
                {
                    "backbone": column.backbone,
                    "benchmark": benchmark_title(column.benchmark),
                    "id": answer.doc_id,
                    "question": answer.question or answer.prompt,
                    "target": answer.target,
                    "image": None,
                    "answers": {},
                },
            )
            if document["image"] is None and answer.image:
                path = record.picture(answer.image)
                document["image"] = _image(path, images, stored)
                if (aspect := _aspect(path)) is not None:
                    aspects[answer.doc_id] = aspect
            if row.role == "reference" and answer.visual_tokens_per_layer:
                whole[answer.doc_id] = answer.visual_tokens_per_layer[0]
            seen = whole.get(answer.doc_id, 0)
            where = _places(answer, aspects.get(answer.doc_id), places)
            document["answers"][number[row]] = _answer(record, answer, seen, where)
    return [found[i] for i in sorted(found)]


def _answer(record: Record, answer: Answer, whole: int, places: int | None) -> dict[str, Any]:
    score = answer.scores.get(record.default_scorer, {}) if record.default_scorer else {}
    layers = answer.visual_tokens_per_layer
    stages = stages_of(answer.kept)
    visual = max(whole, tokens_before(stages, layers))
    return {
        "text": answer.answer,
        "score": score.get("score"),
        **({"read": _read(score["prediction"])} if "prediction" in score else {}),
        "tokens": round(sum(layers) / len(layers), 1) if layers else None,
        "grid": grid(record.spec.backbone.family, visual),
        "kept": {layer: _bits(kept, visual) for layer, kept in stages.items()},
        "places": places,
        "cell": record.key,
    }


def _places(answer: Answer, aspect: float | None, known: list[Any]) -> int | None:
    """Number of the answer's token layout in ``known``, the layouts that the page carries, each once."""
    content = (answer.kept or {}).get("places")
    if content is None or aspect is None or not content["sheets"]:  # a control without the picture has no sheets
        return None
    entry = {**content, "views": views(Places.from_json(content), aspect)}
    if entry not in known:
        known.append(entry)
    return known.index(entry)


def _aspect(path: Path | None) -> float | None:
    """Width over height of a picture; None for a file that is no picture."""
    if path is None:
        return None
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.width / picture.height
    except (UnidentifiedImageError, OSError, ValueError):
        return None


def _read(prediction: Any) -> str | None:
    """The scorer's reading of an answer as text; None where it could read nothing."""
    return None if prediction is None else str(prediction)


def grid(family: str, visual: int) -> dict[str, int | bool]:
    """Layout of a family's visual tokens on the picture.

    Returns
    -------
    dict
        ``side`` of the square of tokens that is shown; ``map`` tells whether it lies on the picture, or is the plain
        sequence because this family's layout is not known; ``visual`` tokens in all; ``tiles`` squares of them.
    """
    side = math.isqrt(visual)
    if family in ("llava", "llava-1.5") and side * side == visual:
        return {"side": side, "map": True, "visual": visual, "tiles": 1}
    for base in (24, 12):  # the overview image comes first, its tiles follow
        if family == "llava-next" and visual % (base * base) == 0:
            return {"side": base, "map": True, "visual": visual, "tiles": visual // (base * base)}
    return {"side": math.ceil(math.sqrt(visual)), "map": False, "visual": visual, "tiles": 1}


def _bits(kept: Sequence[int], visual: int) -> str:
    """Kept tokens as one bit per token, packed and in base64."""
    bits = np.zeros(visual, dtype=np.uint8)
    bits[list(kept)] = 1
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def _image(path: Path | None, images: dict[bytes, int], stored: list[str]) -> int | None:
    """Number of the picture among those the page carries; each is carried once, large ones scaled down."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if content not in images:
        address = _data_address(content)
        if address is None:
            return None
        images[content] = len(stored)
        stored.append(address)
    return images[content]


def _data_address(content: bytes) -> str | None:
    """A picture as a data address; it is decoded and encoded anew, so that only pixels remain."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((_IMAGE_SIDE, _IMAGE_SIDE))
    for kind, options in (("PNG", {"optimize": True}), ("JPEG", {"quality": 82})):
        buffer = io.BytesIO()
        small.save(buffer, kind, **options)
        if buffer.tell() <= _IMAGE_BYTES or kind == "JPEG":
            break
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
