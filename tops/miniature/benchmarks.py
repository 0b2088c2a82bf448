"""The miniature benchmarks: the stock task each one feeds, where its files go, who makes its documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tops.errors import ConfigurationError
from tops.miniature import choice_documents, edited_documents, field_documents, open_documents, video_documents
from tops.miniature.documents import Part

Builder = Callable[[np.random.Generator, Path], list[Part]]


@dataclass(frozen=True)
class DataSet:
    """One data set repository and what fills it.

    Attributes
    ----------
    repository : str
        The stock tasks' ``dataset_path``, and the folder below the mirror.
    build : callable
        A generator and the folder for videos to the parts of the data set.
    videos : str
        Folder below ``HF_HOME`` where the stock task looks for videos; "" for image benchmarks.
    """

    repository: str
    build: Builder = field(repr=False)
    videos: str = ""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark as the harness names it.

    Attributes
    ----------
    title : str
    data : DataSet
    tasks : tuple of str
        Stock lmms-eval tasks that read it, the main one first.
    config, split : str
        Where in the data set the main task's documents are.
    explode : str
        Field with a list whose entries are asked one by one; empty where a row is a document.
    parts : int
        How many of the tasks, from the first on, are asked as one benchmark, each on a split that its name ends with.
    """

    title: str
    data: DataSet
    tasks: tuple[str, ...]
    config: str
    split: str
    explode: str = ""
    parts: int = 1

    def asked(self, parts: Sequence[Part]) -> int:
        """Documents of the benchmark in its data set."""
        names = [task.rsplit("_", 1)[-1] for task in self.tasks[: self.parts]] if self.parts > 1 else [self.split]
        rows = [row for part in parts if part.config == self.config and part.split in names for row in part.rows]
        return sum(len(row[self.explode]) for row in rows) if self.explode else len(rows)


_MMBENCH = DataSet("lmms-lab-encoder/MMBench", choice_documents.mmbench)
_HALLUSION = DataSet("lmms-lab-encoder/HallusionBench", edited_documents.hallusionbench)
_SCIENCE = DataSet("lmms-lab-encoder/ScienceQA", choice_documents.scienceqa)
_LONG = DataSet(
    "longvideobench/LongVideoBench", video_documents.longvideobench, videos="datasets/longvideobench/videos"
)
_VIDEO_MME = DataSet("lmms-eval/Video-MME", video_documents.videomme, videos="videomme/data")
_MLVU = DataSet("sy1998/MLVU_dev", video_documents.mlvu, videos="mlvu")

BENCHMARKS: Mapping[str, Benchmark] = {
    "gqa": Benchmark(
        "GQA", DataSet("lmms-lab-encoder/GQA", open_documents.gqa), ("gqa",), "testdev_balanced_instructions", "testdev"
    ),
    "scienceqa_img": Benchmark("ScienceQA-IMG", _SCIENCE, ("scienceqa_img",), "ScienceQA-IMG", "test"),
    "textvqa": Benchmark(
        "TextVQA", DataSet("lmms-lab-encoder/textvqa", open_documents.textvqa), ("textvqa_val",), "", "validation"
    ),
    "pope": Benchmark(
        "POPE",
        DataSet("lmms-lab-encoder/POPE", open_documents.pope),
        ("pope", "pope_adv", "pope_pop", "pope_random"),
        "",
        "test",
    ),
    "mme": Benchmark("MME", DataSet("lmms-lab-encoder/MME", open_documents.mme), ("mme",), "", "test"),
    "mmbench_en": Benchmark("MMBench-EN", _MMBENCH, ("mmbench_en_dev", "mmbench_en_dev_static"), "en", "dev"),
    "mmbench_cn": Benchmark("MMBench-CN", _MMBENCH, ("mmbench_cn_dev",), "cn", "dev"),
    "mmvet": Benchmark("MM-Vet", DataSet("lmms-lab-encoder/MMVet", open_documents.mmvet), ("mmvet",), "", "test"),
    "mmstar": Benchmark("MMStar", DataSet("Lin-Chen/MMStar", choice_documents.mmstar), ("mmstar",), "", "val"),
    "ai2d": Benchmark("AI2D", DataSet("lmms-lab-encoder/ai2d", choice_documents.ai2d), ("ai2d",), "", "test"),
    "hallusionbench": Benchmark("HallusionBench", _HALLUSION, ("hallusion_bench_image",), "", "image"),
    "mlvu": Benchmark("MLVU", _MLVU, ("mlvu_dev",), "", "test"),
    "longvideobench": Benchmark(
        "LongVideoBench", _LONG, ("longvideobench_val_v", "longvideobench_val_i"), "", "validation"
    ),
    "videomme": Benchmark("Video-MME", _VIDEO_MME, ("videomme", "videomme_w_subtitle"), "videomme", "test"),
    "ocrbench": Benchmark("OCRBench", DataSet("echo840/OCRBench", field_documents.ocrbench), ("ocrbench",), "", "test"),
    "chartqa": Benchmark(
        "ChartQA", DataSet("lmms-lab-encoder/ChartQA", field_documents.chartqa), ("chartqa",), "", "test"
    ),
    "refcoco": Benchmark(
        "RefCOCO",
        DataSet("lmms-lab-encoder/RefCOCO", field_documents.refcoco),
        ("refcoco_bbox_rec_testA", "refcoco_bbox_rec_testB"),
        "",
        "testA",
        explode="answer",
        parts=2,
    ),
}


def has_twin(repository: str, config: str | None) -> bool:
    """Whether there are miniature documents of a data set, as a benchmark's YAML names it."""
    return any((b.data.repository, b.config) == (repository, config or "") for b in BENCHMARKS.values())


def check_twin(title: str, repository: str, config: str | None) -> None:
    """Refuse a benchmark of which there are no miniature documents.

    Raises
    ------
    ConfigurationError
        With the names of those that have some.
    """
    if not has_twin(repository, config):
        raise ConfigurationError(
            f"{title} has no miniature documents; ask it with profile=paper, or take one that has: "
            f"{', '.join(BENCHMARKS)}"
        )
