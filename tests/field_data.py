"""A few documents of each benchmark of 2026 in the schema of its repository, as ``tops fetch`` stages it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from tops.benchmarks.benchmark import load_benchmark
from tops.miniature.documents import png
from tops.miniature.scenes import Scene, make_scene

TEXT, INTEGER, NUMBERS = Value("string"), Value("int64"), List(Value("float32"))
TEN = ["cat", "cat", "cat", "two cats", "a cat", "dog", "cat", "cat", "cat", "cat"]


def scene(number: int) -> Scene:
    return make_scene(np.random.default_rng(number), "evaluation")


def picture(number: int) -> dict[str, Any]:
    return {"bytes": png(scene(number).image), "path": None}


def _ocrbench(i: int) -> dict[str, Any]:
    return {
        "dataset": ("IIIT5K", "HME100k")[i % 2],
        "question": " what is written in the image?",
        "question_type": "Regular Text Recognition",
        "answer": ["3", "three"],
        "image": picture(i),
    }


def _chartqa(i: int) -> dict[str, Any]:
    kind = ("human_test", "augmented_test")[i % 2]
    return {"type": kind, "question": "How many shapes are there?", "answer": "5", "image": picture(i)}


def _docvqa(i: int) -> dict[str, Any]:
    return {
        "questionId": str(i),
        "question": "What is the number?",
        "question_types": ["handwritten"],
        "image": picture(i // 2),
        "docId": i // 2,
        "ucsf_document_id": "a",
        "ucsf_document_page_no": "1",
        "answers": ["3", "three"],
        "data_split": "val",
    }


def _infovqa(i: int) -> dict[str, Any]:
    return {
        "questionId": str(i),
        "question": "What is the number?",
        "answers": ["3"],
        "answer_type": ["single span"],
        "image": picture(i // 2),
        "image_url": f"http://x/{i // 2}.png",
        "operation/reasoning": ["none"],
        "ocr": "[]",
        "data_split": "val",
    }


def _vizwiz(i: int) -> dict[str, Any]:
    category = ("other", "unanswerable")[i % 2]
    return {
        "question_id": f"VizWiz_val_{i}",
        "image": picture(i),
        "question": "what is this?",
        "answers": TEN,
        "category": category,
    }


def _vqav2(i: int) -> dict[str, Any]:
    said = [{"answer": word, "answer_confidence": "yes", "answer_id": j} for j, word in enumerate(TEN)]
    return {
        "question_type": "what is",
        "multiple_choice_answer": "cat",
        "answers": said,
        "image_id": i // 2,
        "answer_type": "other",
        "question_id": i,
        "question": "What is this?",
        "image": picture(i // 2),
    }


def _seed_image(i: int) -> dict[str, Any]:
    video = i % 2 == 1
    return {
        "answer": "B",
        "choice_a": "red",
        "choice_b": "green",
        "choice_c": "blue",
        "choice_d": "white",
        "data_id": str(i),
        "data_type": "video" if video else "image",
        "question": "What color is it?",
        "question_id": str(i),
        "question_type_id": 1 + i,
        "image": [picture(i)] * (3 if video else 1),
        "segment": [0, 8] if video else None,
    }


def _realworldqa(i: int) -> dict[str, Any]:
    asked = (
        "Which side?\n\nA. Left\nB. Right\n"
        "Please answer directly with only the letter of the correct option and nothing else.",
        "How many cars?\nPlease answer directly with a single word or number.",
    )
    return {"image_path": f"{i}.webp", "question": asked[i % 2], "answer": ("A", "3")[i % 2], "image": picture(i)}


def _mmmu(i: int) -> dict[str, Any]:
    asked = (
        "Compare <image 1> with <image 2>. Which is larger?",
        "<image 1> What is shown?",
        "See <image 2>, then <image 1>. Is <image 2> red?",
        "How many shapes are in <image 1>?",
    )[i % 4]
    images = {f"image_{n}": picture(10 * i + n) if f"<image {n}>" in asked else None for n in range(1, 8)}
    return {
        "id": f"validation_{('Art', 'Math')[i % 2]}_{i}",
        "question": asked,
        "options": "[]" if i % 4 == 3 else "['one', 'the other']",
        "explanation": "",
        **images,
        "img_type": "['Diagrams']",
        "answer": "5" if i % 4 == 3 else "B",
        "topic_difficulty": "Easy",
        "question_type": "open" if i % 4 == 3 else "multiple-choice",
        "subfield": "any",
    }


def _refcoco(i: int) -> dict[str, Any]:
    one = scene(i).objects[0]
    left, top, right, bottom = (float(v) for v in one.box)
    return {
        "question_id": str(i),
        "image": picture(i),
        "question": "Please carefully observe the area circled in the image and come up with a caption for the area.",
        "answer": [f"the {one.colour} {one.name}", f"{one.name} in {one.colour}", one.name][: 2 + i % 2],
        "segmentation": [left, top, right, bottom],
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
        "file_name": f"COCO_train2014_{i}_{i}.jpg",
    }


ROWS = {
    "ocrbench": _ocrbench,
    "chartqa": _chartqa,
    "docvqa": _docvqa,
    "infovqa": _infovqa,
    "vizwiz": _vizwiz,
    "vqav2": _vqav2,
    "seed_image": _seed_image,
    "realworldqa": _realworldqa,
    "mmmu": _mmmu,
    "refcoco": _refcoco,
}
NAMES = (*ROWS, "mvbench")


def _feature(name: str, value: Any) -> Any:
    if name == "image" or (name.startswith("image_") and name[6:].isdigit()):
        return List(Image()) if isinstance(value, list) else Image()
    if name == "answers" and isinstance(value[0], dict):
        return List({"answer": TEXT, "answer_confidence": TEXT, "answer_id": INTEGER})
    if isinstance(value, list):
        return NUMBERS if value and isinstance(value[0], float) else List(TEXT)
    return {"segment": List(INTEGER), "iscrowd": Value("int8")}.get(name, INTEGER if isinstance(value, int) else TEXT)


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    features = Features({name: _feature(name, value) for name, value in rows[0].items()})
    schema = features.arrow_schema
    table = pa.table({n: pa.array([r[n] for r in rows], type=schema.field(n).type) for n in rows[0]}, schema=schema)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


def _readme(folder: Path, listed: dict[str, dict[str, str]], *, sizes: bool = True) -> None:
    """A head that lists more than is staged, and sizes of splits, as most of the hub's do."""
    lines = ["---", *(["dataset_info:"] if sizes else [])]
    for config, splits in listed.items() if sizes else ():
        lines += [f"- config_name: {config}", "  splits:"]
        lines += [f"  - name: {split}\n    num_bytes: 5\n    num_examples: 99" for split in splits]
    lines.append("configs:")
    for config, splits in listed.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {split}\n    path: {path}" for split, path in splits.items()]
    (folder / "README.md").write_text("\n".join([*lines, "---", "A data set.", ""]), encoding="utf-8")


def stage(name: str, root: Path, count: int = 4) -> None:
    """Write ``count`` rows of a benchmark of images below a data folder."""
    bench = load_benchmark(name)
    folder, config = root / "mirror" / bench.data.path, bench.data.config or "default"
    below = bench.data.config or "data"
    listed = {"earlier": {"train": "earlier/train-*"}, config: {"train": f"{below}/train-*"}}
    for other in ("DocVQA", "InfographicVQA") if bench.data.config else ():
        listed.setdefault(other, {})["validation"] = f"{other}/validation-*"
    for part in bench.parts or ("",):
        split = bench.data.split.replace("{part}", part)
        _write(folder / below / f"{split}-00000-of-00001.parquet", [ROWS[name](i) for i in range(count)])
        listed[config][split] = f"{below}/{split}-*"
    _readme(folder, listed)


def stage_mvbench(root: Path, video: bytes) -> None:
    """One question of each of MVBench's tasks, on one video."""
    from lmms_eval.tasks.mvbench.utils import DATA_LIST

    bench = load_benchmark("mvbench")
    folder, videos = root / "mirror" / bench.data.path, root / "hf_home" / "mvbench_video"
    (folder / "json").mkdir(parents=True)
    listed = {}
    for task in bench.parts:
        row = {"video": f"{task}.mp4", "question": "What happens?", "candidates": ["one", "two"], "answer": "two"}
        if "localization" in task:
            row |= {"start": 0.0, "end": 3.0}
        (folder / "json" / f"{task}.json").write_text(json.dumps([row, {**row, "answer": "one"}]))
        listed[task] = {"train": f"json/{task}.json"}
        file = videos / DATA_LIST[task] / f"{task}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(video)
    _readme(folder, listed, sizes=False)
