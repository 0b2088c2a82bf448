"""Loading the model of a cell's backbone and evaluating cells on it; the only module here that needs torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tops.benchmarks.benchmark import benchmark_source, load_benchmark
from tops.errors import DataError, TopsError, UnsupportedModelError
from tops.evaluation import Progress, evaluate_cell
from tops.evaluation.following import Following
from tops.planning import staging
from tops.planning.resolve import as_meant, family_source
from tops.running.judging import judge_of
from tops.running.rounds import take_over
from tops.settings.choices import backbone_config
from tops.settings.methods import build_method
from tops.settings.schema import BackboneConfig, ProfileConfig
from tops.store.cell import BackboneSpec, Cell
from tops.store.hashes import same_content
from tops.store.store import CellStatus, Store

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone


@dataclass
class LoadedEvaluator:
    """Evaluates every cell of one backbone on the one model in memory."""

    backbone: Backbone
    profile: ProfileConfig
    tower: str = ""  # the text tower that is loaded, as in ``MethodSpec.weights``

    def __call__(
        self,
        cell: Cell,
        store: Store,
        *,
        record_kept: bool | int,
        let_through: tuple[type[BaseException], ...],
        progress: Progress | None = None,
        following: Cell | None = None,
    ) -> CellStatus:
        """Evaluate one cell into the store, and prepare the beginning of the one that follows."""
        if cell.method.weights not in ("", self.tower):
            raise DataError(
                f"{self.tower or 'no text tower'} is staged, but {cell.method.weights} was planned; run again"
            )
        if benchmark_source(cell.benchmark.name) != cell.benchmark.source:
            raise DataError(f"the files of benchmark {cell.benchmark.name!r} were edited since the plan; run again")
        take_over(cell, store, record_kept)
        return evaluate_cell(
            cell,
            store=store,
            backbone=self.backbone,
            method=build_method(as_meant(cell), cell.budget, seed=cell.seed),
            benchmark=load_benchmark(cell.benchmark.name),
            data_root=staging.data_root(self.profile),
            record_kept=record_kept,
            batch_size=self.profile.batch_size,
            judge=judge_of(self.profile),
            let_through=let_through,
            progress=progress,
            following=None if following is None else self._following(following),
        )

    def _following(self, cell: Cell) -> Following | None:
        try:
            method = build_method(as_meant(cell), cell.budget, seed=cell.seed)
            return Following(cell, method, load_benchmark(cell.benchmark.name))
        except TopsError:  # the error is reported when that cell is evaluated
            return None


def load_evaluator(spec: BackboneSpec, profile: ProfileConfig) -> LoadedEvaluator:
    """Load the weights that a specification names.

    Raises
    ------
    DataError
        If the weights are not on this machine, or are not those that the cell was planned on.
    """
    from transformers.utils.logging import disable_progress_bar

    from tops.backbones.loading import load_backbone
    from tops.engine.vision_memory import VisionMemory

    disable_progress_bar()  # type: ignore[no-untyped-call]
    choice = backbone_config(spec.name)
    staged = staging.checkpoint(choice, profile, spec.checkpoint)
    if staged is None:
        raise DataError(
            f"the checkpoint {spec.checkpoint} of {spec.name} is not staged; run `tops fetch backbone={spec.name}`"
        )
    if not same_content(staged.revision, spec.revision):
        raise DataError(
            f"{staged.path} has revision {staged.revision[:12]}, but {spec.revision[:12]} was planned; run again"
        )
    if family_source(choice) != spec.source:
        raise DataError(f"the adapter {spec.family} of {spec.name} was edited since the plan; run again")
    if spec.engine:
        return LoadedEvaluator(_in_vllm(spec, staged.path, choice, profile), profile)
    tower = None if profile.miniature else staging.text_tower(choice, profile)
    model: Any = load_backbone(
        staged.path,
        family=spec.family,
        dtype=spec.dtype,
        device_map="auto" if spread(choice, profile) else device(profile),
        attention=spec.attention,
        text_tower=None if tower is None else tower.path,
        name=spec.name,
    )
    if profile.vision_memory_gb:
        model = replace(model, memory=VisionMemory(int(profile.vision_memory_gb * 1e9)))
    return LoadedEvaluator(model, profile, "" if tower is None else f"{choice.text_tower}@{tower.revision}")


def _in_vllm(spec: BackboneSpec, folder: Path, choice: BackboneConfig, profile: ProfileConfig) -> Any:
    """Start vLLM with the model.

    Raises
    ------
    UnsupportedModelError
        If its layers are to be spread over several GPUs, which was not tested.
    """
    from tops.evaluation.through_vllm import VllmBackbone

    if spread(choice, profile):
        raise UnsupportedModelError(
            "device_map=auto with several GPUs: engine=vllm was tested on one GPU for each model; use device_map=one"
        )
    options = {"enforce_eager": True} if device(profile) == "cpu" else {}
    backbone = VllmBackbone(spec.name, str(folder), spec.family, spec.dtype, options)
    _ = backbone.engine
    return backbone


def spread(choice: BackboneConfig, profile: ProfileConfig) -> bool:
    """Whether the layers of a model are spread over all GPUs of this worker."""
    import torch

    return "auto" in (choice.device_map, profile.device_map) and torch.cuda.device_count() > 1


def device(profile: ProfileConfig) -> str:
    """Device of a worker: the profile's ``device``; for ``auto`` the GPU where there is one, else the CPU."""
    import torch

    if profile.device != "auto":
        return profile.device
    return "cuda" if torch.cuda.is_available() else "cpu"
