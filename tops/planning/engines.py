"""Engines other than this library (vLLM): which cells they can answer, and the versions that enter a cell's key."""

from __future__ import annotations

from tops.backbones import family_named
from tops.backbones.inputs import Inputs
from tops.benchmarks.benchmark import load_benchmark
from tops.budget import PromptShape
from tops.errors import ConfigurationError
from tops.methods.base import Control
from tops.serving.offline import installed
from tops.serving.pruning import Pruning
from tops.serving.refusals import check_method, check_positions
from tops.serving.served import SERVED
from tops.settings.methods import build_method
from tops.store.cell import BackboneSpec, Cell, MethodSpec


def versions(spec: BackboneSpec) -> dict[str, str]:
    """Version of the engine for the cell's key; empty for the library, and for an engine that is not installed."""
    try:
        return {spec.engine: installed()} if spec.engine else {}
    except ConfigurationError:
        return {}


def refusal(cell: Cell, method: MethodSpec, shape: PromptShape) -> str | None:
    """Why vLLM cannot answer a cell; None when it can. No model is loaded.

    Parameters
    ----------
    cell : Cell
        The cell to be answered.
    method : MethodSpec
        The cell's method, as it is to be built.
    shape : PromptShape
        The prompt on which plans count tokens.
    """
    try:
        installed()
        _check(cell, method, shape)
    except ConfigurationError as error:
        return str(error)
    return None


def _check(cell: Cell, method: MethodSpec, shape: PromptShape) -> None:
    spec, benchmark = cell.backbone, load_benchmark(cell.benchmark.name)
    family = family_named(spec.family)
    if set(family.model_classes).isdisjoint(SERVED):
        raise ConfigurationError(f"engine=vllm does not serve {spec.name}; served are {', '.join(sorted(SERVED))}")
    if benchmark.modality != "image":
        raise ConfigurationError(f"engine=vllm is for images, and {benchmark.title} has videos; use engine=library")
    if benchmark.measure != "answers":
        raise ConfigurationError(
            f"{benchmark.title} measures {benchmark.measure}, which needs the library's own model; use engine=library"
        )
    if spec.attention != "sdpa":
        raise ConfigurationError(f"attention={spec.attention} is for engine=library: vLLM chooses its own kernels")
    _, layout = Inputs.of(spec.options).laid_out(spec.family)
    if layout.views is not None:
        raise ConfigurationError(
            f"image_layout={layout.name} brings views of its own, which vLLM cannot be given; choose another layout, "
            "or engine=library"
        )
    built = build_method(method, cell.budget, seed=cell.seed)
    if built is None or isinstance(built, Control):  # changes pictures before anything else
        return
    check_method(built, method.name)
    check_positions(built, family.default_positions, method.name, spec.family)
    told = Pruning.of(method.name, built).build()
    assert told is not None
    if told.schedule(shape) != built.schedule(shape):
        raise ConfigurationError(
            f"{method.name} with protocol={built.budget.protocol} keeps another number of tokens than its budget; "
            "engine=vllm takes protocol=kept or layer_average"
        )
