"""Contact sheets: one page per benchmark with pictures, questions, answers, and a model's replies if it was run."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tops.miniature.benchmarks import BENCHMARKS
from tops.miniature.data import MiniatureData
from tops.miniature.documents import png
from tops.miniature.prompts import lettered
from tops.store.answers import Answer
from tops.store.store import Record, Store

FRAMES = 6
_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: contact sheet</title><style>
body { margin: 1rem auto; max-width: 80rem; padding: 0 1rem; color: #1c2330; font: 15px/1.4 system-ui, sans-serif; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax({{ width }}rem, 1fr)); gap: .8rem; padding: 0; }
li { list-style: none; border: 1px solid #d9dee6; border-radius: 6px; padding: .6rem; }
img { height: {{ 5 if width > 20 else 6 }}rem; margin-right: 2px; image-rendering: pixelated; }
p { margin: .3rem 0; white-space: pre-line; overflow-wrap: anywhere; }
.soft { color: #5a6475; font-size: .85rem; }
</style></head><body>
<h1>{{ title }}</h1>
<p>{{ cards|length }} of {{ documents }} documents; data <code>{{ sha256[:12] }}</code>.
{% if cell %}Replies: {{ cell }}.{% else %}No replies: the store holds no run of the unpruned model.{% endif %}</p>
<ul>{% for card in cards %}
<li>{% for image in card.images %}<img src="data:image/png;base64,{{ image }}" alt="{{ card.alt }} {{ loop.index }}">
{% endfor %}<p class="soft">{{ card.note }}</p>
<p><b>{{ card.question }}</b></p>
<p>Answer: {{ card.answer }}</p>
{% if card.reply is not none %}<p>Reply: {{ card.reply or "(nothing)" }}</p>{% endif %}</li>{% endfor %}
</ul></body></html>
"""


@dataclass(frozen=True)
class Card:
    """One document on a sheet; images are base64 PNG."""

    images: Sequence[str]
    alt: str
    note: str
    question: str
    answer: str
    reply: str | None


Row = Mapping[str, Any]


def _choice(row: Row, options: Sequence[str], number: int) -> tuple[str, str]:
    return f"{row['question']}\n{lettered(options)}", f"{'ABCDE'[number]}. {options[number]}"


def _mmbench(row: Row) -> tuple[str, str]:
    options = [row[letter] for letter in "ABCD" if row[letter] != "nan"]
    return _choice(row, options, "ABCD".index(row["answer"]))


def _long(row: Row) -> tuple[str, str]:
    options = [row[f"option{i}"] for i in range(5) if row[f"option{i}"] != "N/A"]
    return _choice(row, options, row["correct_choice"])


def _plain(row: Row) -> tuple[str, str]:
    return str(row["question"]), str(row["answer"])


# benchmark -> question and answer of a document, for people
_WORDING: dict[str, Callable[[Row], tuple[str, str]]] = {
    "textvqa": lambda row: (row["question"], row["answers"][0]),
    "scienceqa_img": lambda row: _choice(
        {"question": f"{row['hint']} {row['question']}".strip()}, row["choices"], row["answer"]
    ),
    "mmbench_en": _mmbench,
    "mmbench_cn": _mmbench,
    "ai2d": lambda row: _choice(row, row["options"], int(row["answer"])),
    "hallusionbench": lambda row: (row["question"], row["gt_answer_details"]),
    "longvideobench": _long,
    "videomme": lambda row: (f"{row['question']}\n" + "\n".join(row["options"]), row["answer"]),
}
_WORDING |= {
    "ocrbench": lambda row: (row["question"], row["answer"][0]),
    "refcoco": lambda row: (" / ".join(row["answer"]), f"left, top, width, height: {row['bbox']}"),
}
_NOTES = (
    "category",
    "l2_category",
    "subcategory",
    "task_type",
    "question_category",
    "capability",
    "duration",
    "question_type",
)
_VIDEO_NAMES = {"mlvu": "{video_name}", "longvideobench": "{video_path}", "videomme": "{videoID}.mp4"}


def _frames(path: Path) -> list[bytes]:
    """PNG bytes of equidistant frames of a video."""
    import av
    import numpy as np

    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [png(frames[i]) for i in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]


def _pictures(data: MiniatureData, benchmark: str, rows: Sequence[Row]) -> Callable[[Row], list[bytes]]:
    videos = BENCHMARKS[benchmark].data.videos
    if videos:
        name = _VIDEO_NAMES[benchmark]
        return lambda row: _frames(data.hf_home / videos / name.format(**row))
    if benchmark == "gqa":
        import pyarrow.parquet as pq

        folder = data.mirror / BENCHMARKS["gqa"].data.repository / "testdev_balanced_images"
        table = pq.read_table(folder / "testdev-00000-of-00001.parquet").to_pylist()
        images = {entry["id"]: entry["image"]["bytes"] for entry in table}
        return lambda row: [images[row["imageId"]]]
    return lambda row: [row["image"]["bytes"]]


def unpruned_runs(store: Store, hashes: Mapping[str, str]) -> dict[str, Record]:
    """Per benchmark the complete run of an unpruned model with the most documents.

    Parameters
    ----------
    store : Store
        Store of the miniature profile.
    hashes : mapping
        Benchmark to the hash of its documents; runs on other documents would put replies beside the wrong questions.
    """
    found: dict[str, Record] = {}
    for record in store.records():
        cell = record.spec
        name = cell.benchmark.name
        if cell.method.name != "none" or not record.status.done or cell.benchmark.data_hash != hashes.get(name):
            continue
        if name not in found or (cell.benchmark.limit or math.inf) > (found[name].spec.benchmark.limit or math.inf):
            found[name] = record
    return found


def cards(
    data: MiniatureData, benchmark: str, count: int | None = None, replies: Mapping[int, str] | None = None
) -> Iterator[Card]:
    """The documents of one benchmark as cards.

    Parameters
    ----------
    data : MiniatureData
        Where the documents are.
    benchmark : str
        Key of `BENCHMARKS`.
    count : int, optional
        How many documents, evenly spread; all when absent.
    replies : mapping, optional
        Document number to the model's reply; documents without one are then left out.
    """
    rows = data.documents(benchmark)
    shown: Sequence[int]
    pictures = _pictures(data, benchmark, rows)
    shown = sorted(replies) if replies else range(len(rows))
    if count is not None and count < len(shown):
        shown = [shown[i * len(shown) // count] for i in range(count)]
    for number in shown:
        row = rows[number]
        question, answer = _WORDING.get(benchmark, _plain)(row)
        images = [base64.b64encode(image).decode() for image in pictures(row)]
        note = f"document {number}; " + ", ".join(str(row[name]) for name in _NOTES if row.get(name))
        alt = "frame" if len(images) > 1 else "image"
        yield Card(images, alt, note.rstrip("; "), question, answer, (replies or {}).get(number))


def write_sheet(
    data: MiniatureData, benchmark: str, folder: Path, count: int | None = 24, run: Record | None = None
) -> Path:
    """Write the page of one benchmark; everything that comes from data or model is escaped.

    Parameters
    ----------
    data : MiniatureData
        Where the documents are.
    benchmark : str
        Key of `BENCHMARKS`.
    folder : Path
        Where ``<benchmark>.html`` goes.
    count : int, optional
        How many documents; all when None.
    run : Record, optional
        A stored run whose replies are shown.

    Returns
    -------
    Path
        The page.
    """
    from jinja2 import Environment

    answers: dict[int, Answer] = {answer.doc_id: answer for answer in run.answers()} if run else {}
    replies = {number: answer.answer for number, answer in answers.items()}
    entry = BENCHMARKS[benchmark]
    page = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_TEMPLATE)
        .render(
            title=entry.title,
            width=38 if entry.data.videos else 16,
            cards=list(cards(data, benchmark, count, replies)),
            documents=data.manifest["benchmarks"][benchmark]["documents"],
            sha256=data.hash_of(benchmark),
            cell=run.spec.label if run else None,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.html"
    path.write_text(page, encoding="utf-8")
    return path
