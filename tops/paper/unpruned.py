"""What an unpruned model should score before anything is said about pruning: the paper's numbers and public ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tops.paper.published import published_rows, read_csv

State = Literal["as published", "outside", "unknown"]
TOLERANCE = 1.0  # percent of the scale: kernels, library versions and judges move an unpruned score by as much
TABLES = ("11", "12", "13", "14", "2", "3")

# What to look at first when a score is outside, where no published number under other conditions is near it.
HINTS: dict[str, str] = {
    "gqa": "the answer rule (scorer llava keeps punctuation) and the picture's padding",
    "scienceqa_img": "the prompt (hint as context, option's letter asked for) and the letter rule",
    "textvqa": "OCR tokens in the prompt (convention no_ocr leaves them out) and the image's size",
    "pope": "the questions (8,910 in LLaVA's files, 9,000 in lmms-eval's) and F1 (mean of three splits, or pooled)",
    "mme": "perception (2,000) against the total (2,800), and pairs that lost a question",
    "mmbench_en": "the convention (llava and vlmevalkit put one option a line) and circular scoring",
    "mmbench_cn": "the convention (llava and vlmevalkit put one option a line) and circular scoring",
    "mmvet": "the judge: GPT-4 scores differ by version, and another judge by far more",
    "hallusionbench": "the length of answers (2,048 tokens in VLMEvalKit) and the yes/no ending",
    "ai2d": "masks on the diagram's letters: without them it is another benchmark",
    "mmstar": "accuracy over questions (VLMEvalKit) against the mean of categories (lmms-eval)",
    "mlvu": "the frames that are shown, and M-avg over the tasks that were asked",
    "longvideobench_val": "the frames that are shown, and subtitles, which are left out",
    "videomme": "the frames that are shown, the prompt's ending, and subtitles, which are left out",
}


@dataclass(frozen=True)
class Known:
    """A published score of an unpruned model.

    Attributes
    ----------
    condition : str
        What differs from the paper's conditions; empty for the same.
    source : str
        Who prints it.
    seen : bool
        Whether the source was open when the number was typed; the others are from memory.
    """

    value: float
    condition: str
    source: str
    seen: bool = True


@dataclass(frozen=True)
class Check:
    """One unpruned score against the published ones.

    Attributes
    ----------
    low, high : float
        The published range under the paper's conditions, with its tolerance.
    likely : str
        The setting to look at first; empty where the score is as published.
    """

    state: State
    low: float
    high: float
    likely: str = ""
    sources: tuple[Known, ...] = ()


def known_scores(backbone: str, benchmark: str) -> tuple[Known, ...]:
    """Published scores, the paper's own first."""
    own = [
        Known(float(value), "", f"Table {table} of the paper")
        for table in TABLES
        for row in published_rows(table)
        if (row.backbone, row.method) == (backbone, "none") and (value := row.values.get(benchmark)) is not None
    ]
    public = [
        Known(float(line["value"]), line["condition"], line["source"], line["seen"] == "yes")
        for line in read_csv("unpruned.csv")
        if (line["backbone"], line["benchmark"]) == (backbone, benchmark)
    ]
    return (*own, *public)


def check_unpruned(backbone: str, benchmark: str, score: float, *, maximum: float = 100.0, slack: float = 0.0) -> Check:
    """Whether an unpruned score lies in the published range.

    Parameters
    ----------
    backbone, benchmark : str
        Name of the model and slug of the column.
    score : float
        Ours, on the scale that papers print.
    maximum : float
        Of that scale; the tolerance is a share of it.
    slack : float
        How far sampling may move ours: half the width of its 95 % interval, 0 when all documents were asked.
    """
    known = known_scores(backbone, benchmark)
    same = [k.value for k in known if not k.condition]
    if not same:
        return Check("unknown", float("nan"), float("nan"), sources=known)
    room = TOLERANCE / 100 * maximum
    low, high = min(same) - room, max(same) + room
    if low - slack <= score <= high + slack:
        return Check("as published", low, high, sources=known)
    near = [k for k in known if k.condition and abs(k.value - score) <= room + slack]
    likely = (
        f"{near[0].condition}: {near[0].value:g} is what {near[0].source} prints" if near else HINTS.get(benchmark, "")
    )
    return Check("outside", low, high, likely, known)
