"""A result store with plausible answers for every cell of a plan: no model, real scorers, real aggregation."""

import hashlib
import os
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import score_answers, summarise
from tops.evaluation.code import answering_code
from tops.planning.plan import Plan, PlanStatus, plan, refreshed
from tops.store.answers import Answer
from tops.store.store import Store

QUALITY = {"none": 0.80, "tops": 0.77, "text_only": 0.35, "random": 0.62}
WRONG = "something else"


def _number(*parts):
    """Between 0 and 1, the same for the same parts."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest()) / 2**48


def quality(method, level):
    """Share of documents a method gets right: less at stronger pruning."""
    base = QUALITY.get(method, 0.66 + 0.08 * _number(method))
    dropped = float(level) if level.replace(".", "", 1).isdigit() else {"strong": 90.0, "high": 94.0}.get(level, 77.0)
    return base - 0.004 * max(0.0, dropped - 77)


def target(benchmark, i):
    """What the scorers need, and the right answer."""
    yes = "yes" if i % 2 else "no"
    letter = "ABCD"[i % 4]
    options = {k: f"option {k}" for k in "ABCD"}
    return {
        "gqa": ({"answer": "left", "imageId": f"g{i // 3}"}, "left"),
        "textvqa": ({"answers": ["stop"] * 10, "image_id": f"t{i // 2}"}, "stop"),
        "scienceqa_img": ({"choices": list("wxyz"), "answer": i % 4}, letter),
        "pope": ({"answer": yes, "category": ("random", "popular", "adversarial")[i // 2 % 3]}, yes),
        "mme": ({"answer": yes, "category": ("count", "color")[i // 8 % 2], "question_id": f"m{i // 2}"}, yes),
        "mmstar": ({"answer": letter, "category": f"c{i % 6}", "l2_category": f"d{i % 12}", "question": "?"}, letter),
        "ai2d": ({"answer": str(i % 4), "options": list("wxyz")}, letter),
        "mmvet": ({"question": "?", "answer": "x", "capability": "rec"}, "x"),
        "mlvu": ({"answer": letter, "task_type": f"task{i % 7}", "video_name": f"v{i // 2}"}, letter),
        "videomme": ({"answer": letter, "duration": ("short", "medium", "long")[i % 3], "domain": "d"}, letter),
        "hallusionbench": (
            {
                "gt_answer": str(i % 2),
                "category": "VD",
                "subcategory": "map",
                "set_id": i // 4,
                "figure_id": i % 2,
                "question_id": i // 2,
            },
            yes,
        ),
        "longvideobench": (
            {"correct_choice": i % 4, "duration_group": 15, "question_category": ("S2E", "SSS")[i % 2]},
            letter,
        ),
    }.get(benchmark) or ({"index": i // 2 + 1_000_000 * (i % 2), "answer": letter, "category": "c", **options}, letter)


def answers(planned, documents, *, hostile=False, right=None, layers=None, record=True, kept=None):
    """Answers of one cell; with ``hostile`` texts try to break out of HTML, LaTeX and Markdown.

    ``right(i)`` decides for all methods alike which documents are answered right; ``layers(planned)`` is what every
    layer saw, None for the budget; ``record=False`` stores no kept tokens, ``kept`` is what pruned answers store.
    """
    decided = right
    cell = planned.cell
    name, method = cell.benchmark.name, cell.method.name
    share = quality(method, planned.row.level) - 0.02 * _number(cell.seed, method)
    keep = 144 if cell.budget is None else (cell.budget.value if isinstance(cell.budget.value, int) else 36)
    flat = layers(planned) if layers else None
    seen = (144, *[keep] * 7) if flat is None else (flat,) * 8
    for i in range(documents):
        facts, truth = target(name, i)
        # half of what decides is the document's own difficulty, so that methods agree on easy ones
        ease = 0.5 * _number(name, i // 2) + 0.5 * _number(name, i, method, cell.seed, planned.row.level)
        right = decided(i) if decided else ease < np.clip(share + 0.1 * (share - 0.5), 0, 1)
        wrong = {"yes": "no", "no": "yes"}.get(truth) or ("B" if truth == "A" else "A")
        text = truth if right else (WRONG if not decided and _number(i, method) < 0.05 else wrong)
        question = (
            f"<script>alert({i})</script> & 50 % of _it_ \\o/ | `x` $y$?" if hostile else f"Question {i} of {name}?"
        )
        order = sorted(range(144), key=lambda t: _number(t, method, i))
        yield Answer(
            doc_id=i,
            cluster=f"{name}-{i // 2}",
            prompt=question,
            prompt_hash="0" * 64,
            question=question,
            answer=text,
            target=facts,
            output_tokens=2,
            visual_tokens_per_layer=seen,
            kept=(kept if cell.budget else None) or _cuts(order, keep, record),
            seconds=0.1,
        )


def _cuts(order, keep, record):
    """Two cuts of the same order, where tokens are recorded and enough of them are dropped."""
    return {"0": sorted(order[: 2 * keep]), "4": sorted(order[:keep])} if record and 2 * keep <= 144 else None


@contextmanager
def no_sync():
    """Writing hundreds of cells without waiting for a disk."""
    with mock.patch.object(os, "fsync"):
        yield


def picture(folder, i):
    """A small picture of a document, stored with its cell; returns its relative path."""
    from PIL import Image, ImageDraw

    (folder / "images").mkdir(exist_ok=True)
    image = Image.new("RGB", (96, 96), (200, 220 - i % 5 * 10, 235))
    x, y = 60 * _number("x", i), 60 * _number("y", i)
    ImageDraw.Draw(image).ellipse((x, y, x + 30, y + 30), fill=(190, 40 + i % 7 * 20, 60))
    image.save(folder / "images" / f"{i}.png")
    return f"images/{i}.png"


def fill(
    root, experiment="table1", profile="miniature", documents=24, *, only=None, hostile=False, pictures=False, **more
):
    """Run a plan in pretence; returns the plan as it then stands.

    ``experiment`` may be a plan. ``only(planned)`` chooses the cells. ``provenance=f``: ``f(planned)`` adds to what is
    recorded; ``coded=True`` records today's code.
    """
    planned = experiment if isinstance(experiment, Plan) else plan(experiment, profile, results=root)
    store = Store(root, profile)
    with no_sync():
        for one in planned.unique().values():
            if one.status is not PlanStatus.MISSING or (only is not None and not only(one)):
                continue
            _write(store, one, documents, hostile, pictures, **more)
    return refreshed(planned)


def _write(store, planned, documents, hostile, pictures, provenance=None, coded=False, **how):
    bench = load_benchmark(planned.cell.benchmark.name)
    found = list(answers(planned, documents, hostile=hostile, **how))
    with store.open_cell(planned.cell, answering_code(planned.cell) if coded else None) as writer:
        if pictures:
            found = [replace(a, image=picture(writer.path, a.doc_id)) for a in found]
        for answer in found:
            writer.append(answer)
        facts = {"versions": {"torch": "2.0", "transformers": "5.0"}, "commit": "0" * 40, "dirty": False}
        facts |= provenance(planned) if provenance else {}
        if bench.judged:
            writer.seal(scores={}, provenance=facts)
            return
        rows = score_answers(bench, None, found)
        summary = summarise(bench, None, [replace(a, scores={}) for a in found], rows)
        writer.seal(
            scores={bench.scorer: summary},
            provenance=facts,
            default_scorer=bench.scorer,
            rows={bench.scorer: rows},
        )
