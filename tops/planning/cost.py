"""Cost of a plan: GPU hours, downloads, disk. An estimate names its basis: measured times or FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

from tops.benchmarks.benchmark import load_benchmark
from tops.planning import resolve, staging
from tops.planning.plan import Plan
from tops.settings.choices import backbone_config
from tops.store.cell import Cell
from tops.store.store import Store

# Until a cell of that backbone has been measured here. Deliberately plain figures, named in the output.
SUSTAINED_FLOPS = 120e12  # of a dense bf16 prefill at batch 1 on a data-centre GPU
SECONDS_PER_OUTPUT_TOKEN = 0.025
SECONDS_PER_DOCUMENT = 0.15  # image decoding, vision tower, host work
SECONDS_PER_MINIATURE_DOCUMENT = 0.02  # on one CPU core, cells of 24 documents
TEXT_TOKENS = 80
OUTPUT_TOKENS = 4
BYTES_PER_ANSWER = 2500


@dataclass(frozen=True)
class Cost:
    """Estimated cost of the cells that a plan still has to run.

    Attributes
    ----------
    hours : float
        Time that one worker (one GPU, or one CPU process) takes for all of these cells.
    measured : int
        Cells whose time per document was measured on finished cells of the same backbone in this store.
    estimated : int
        Cells whose time is computed from FLOPs; in the miniature profile, from a fixed time per document.
    downloads_gb : float
        Checkpoints and data of the whole plan that are not staged here.
    disk_mb : float
        Results to be written.
    documents : int
        Documents still to be answered.
    """

    hours: float
    measured: int
    estimated: int
    downloads_gb: float
    disk_mb: float
    documents: int
    miniature: bool = False

    def lines(self, gpus_per_worker: int = 1) -> list[str]:
        """The cost as text lines for a person; a worker with several GPUs has its GPU hours beside its hours."""
        if not self.measured and not self.estimated:
            return ["nothing left to run"]
        basis = []
        if self.measured:
            basis.append(f"{self.measured} cells from measured times")
        if self.estimated and self.miniature:
            basis.append(f"{self.estimated} at {SECONDS_PER_MINIATURE_DOCUMENT} s a document on one CPU core")
        elif self.estimated:
            basis.append(
                f"{self.estimated} from 2 x parameters x tokens at {SUSTAINED_FLOPS / 1e12:.0f} TFLOP/s plus "
                f"{SECONDS_PER_DOCUMENT} s a document"
            )
        time = f"{self.hours:.1f} h" if self.hours >= 1 else f"{self.hours * 60:.0f} min"
        if gpus_per_worker > 1:
            time += f" ({self.hours * gpus_per_worker:.1f} GPU hours)"
        whose = "one worker" if gpus_per_worker == 1 else f"one worker of {gpus_per_worker} GPUs"
        return [
            f"left: {self.measured + self.estimated} cells, {self.documents} documents",
            f"time: about {time} of {whose} ({'; '.join(basis)})",
            f"downloads: about {self.downloads_gb:.1f} GB not staged here; results: about {self.disk_mb:.0f} MB",
        ]


def estimate(plan: Plan) -> Cost:
    """The cost of what the plan has left."""
    todo = plan.todo()
    known = _measured(plan)
    seconds, measured, documents = 0.0, 0, 0
    for cell in todo:
        count = resolve.documents(cell.benchmark, plan.profile)
        documents += count
        per_document = known.get(cell.backbone.name)
        measured += per_document is not None
        seconds += count * (per_document if per_document is not None else _assumed(cell, plan))
    return Cost(
        hours=seconds / 3600,
        measured=measured,
        estimated=len(todo) - measured,
        downloads_gb=sum(downloads(plan)) / 1e9,
        disk_mb=documents * BYTES_PER_ANSWER / 1e6,
        documents=documents,
        miniature=plan.profile.miniature,
    )


def _assumed(cell: Cell, plan: Plan) -> float:
    """Seconds per document of a cell whose backbone has no measured cell yet."""
    if plan.profile.miniature:
        return SECONDS_PER_MINIATURE_DOCUMENT
    backbone = backbone_config(cell.backbone.name)
    shape = resolve.prompt_shape(backbone, plan.profile)
    tokens = TEXT_TOKENS + resolve.layer_average(cell, shape)
    prefill = 2 * backbone.parameters * tokens / SUSTAINED_FLOPS
    return SECONDS_PER_DOCUMENT + prefill + OUTPUT_TOKENS * SECONDS_PER_OUTPUT_TOKEN


def _measured(plan: Plan) -> dict[str, float]:
    """Seconds per document by backbone, from the complete cells of this plan."""
    if plan.store is None:
        return {}
    store = Store(plan.store, plan.profile.name)
    total: dict[str, list[float]] = {}
    for key, planned in plan.unique().items():
        if planned.status.done and planned.cell is not None:
            provenance = store.read(key).provenance
            spent = provenance.get("seconds")
            if isinstance(spent, int | float):
                pair = total.setdefault(planned.cell.backbone.name, [0.0, 0.0])
                pair[0] += spent
                pair[1] += resolve.documents(planned.cell.benchmark, plan.profile)
    return {name: spent / count for name, (spent, count) in total.items() if count}


def downloads(plan: Plan) -> tuple[int, int]:
    """Bytes of checkpoints (in half precision) and of data that missing cells read and that are not staged here."""
    if plan.profile.miniature:
        return 0, 0
    todo = plan.todo()
    backbones = {c.backbone.name for c in todo}
    benchmarks = {load_benchmark(c.benchmark.name).source for c in todo}
    checkpoints = sum(
        backbone_config(name).parameters * 2
        for name in backbones
        if not staging.checkpoint(backbone_config(name), plan.profile)
    )
    data = sum(load_benchmark(name).data.megabytes for name in benchmarks if not staging.data(name, plan.profile))
    return int(checkpoints), int(data * 10**6)
