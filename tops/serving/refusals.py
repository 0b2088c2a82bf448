"""Which methods a serving engine can carry out, and in which modes it may run. No torch."""

from __future__ import annotations

from typing import Any

from tops.budget import PromptShape
from tops.errors import ConfigurationError, MissingSignalError, UnsupportedModelError
from tops.methods.base import InputControl, InsideModel, Method, Positions
from tops.signals import Signal

_LIBRARY = "run it with the library (prune(), `tops run`)"


def check_method(method: Method, name: str) -> None:
    """Refuse a method that an engine with a cache of image features cannot carry out; no model is needed.

    Parameters
    ----------
    method : Method
        With its options and budget.
    name : str
        As it was asked for.

    Raises
    ------
    ConfigurationError
        Methods that read the question, cut inside the decoder, prune videos, change pictures, or let the image say how
        many tokens stay.
    BudgetError
        Without a budget.
    """
    if method.reads_question:
        raise ConfigurationError(
            f"{name} reads the question, and a serving engine keeps what is left of an image for every later question "
            f"about it; {_LIBRARY}, or serve a method that looks at the image alone"
        )
    if isinstance(method, InputControl):
        raise ConfigurationError(
            f"{name} changes pictures before any model sees them; send the changed picture to an unpruned engine"
        )
    if Signal.FRAMES in method.signals:
        raise ConfigurationError(
            f"{name} prunes the frames of videos, and only images are pruned here; {_LIBRARY}, or use vLLM's own "
            "--video-pruning-rate"
        )
    if isinstance(method, InsideModel):
        raise _inside(name)
    if getattr(method, "follows_prompt", False):
        raise ConfigurationError(
            f"{name} with these options lets the image say how many tokens stay, and an engine must know before it "
            f"sees the image; give a budget, or {_LIBRARY}"
        )
    if getattr(method, "rule", "") == "literal":
        raise ConfigurationError(
            f"{name} with rule=literal keeps one token more than its budget in every tile; take rule=fixed, whose "
            f"count is the budget, or {_LIBRARY}"
        )
    method.check_budget()
    if any(cut.layer for cut in method.schedule(_ample(method)).cuts):
        raise _inside(name)


def check_signals(method: Method, have: frozenset[Signal], name: str, family: str) -> None:
    """Refuse a method whose signals the family's tower does not give.

    Raises
    ------
    MissingSignalError
        With what is missing.
    """
    missing = sorted(method.needs(have) - have)
    if missing:
        raise MissingSignalError(
            f"{name} needs {', '.join(missing)}, and {family} has {', '.join(sorted(have)) or 'none'} in vLLM; choose "
            "a method that does not need it"
        )


def check_positions(method: Method, default: Positions, name: str, family: str) -> None:
    """Refuse position ids other than those that vLLM gives the family's tokens.

    Raises
    ------
    ConfigurationError
        For the option ``positions`` with another value.
    """
    if method.positions not in (None, default):
        raise ConfigurationError(
            f"{name} with positions={method.positions}: inside vLLM the tokens of {family} have {default} ids; leave "
            f"positions out, or {_LIBRARY}"
        )


def check_modes(config: Any) -> None:
    """Refuse ways to run an engine that pruning was not tested in.

    Parameters
    ----------
    config : vllm.config.VllmConfig
        Of the engine.

    Raises
    ------
    UnsupportedModelError
        Tensor and pipeline parallelism, a compiled vision tower, encoder graphs, pruned videos.
    """
    parallel, compilation = config.parallel_config, config.compilation_config
    for option in ("tensor_parallel_size", "pipeline_parallel_size"):
        size = getattr(parallel, option)
        if size > 1:
            raise UnsupportedModelError(
                f"{option}={size}: pruning reads the vision tower's heads, and was tested on whole towers only; use "
                f"{option}=1, and data parallelism for more GPUs"
            )
    for option in ("compile_mm_encoder", "cudagraph_mm_encoder"):
        if getattr(compilation, option, False):
            raise UnsupportedModelError(
                f"{option}=true: pruning looks into the vision tower as it runs, which a compiled or captured tower "
                f"does not let it; leave {option} out"
            )
    multimodal = config.model_config.multimodal_config
    if multimodal is not None and multimodal.video_pruning_rate:
        raise UnsupportedModelError(
            f"video_pruning_rate={multimodal.video_pruning_rate} beside the pruning of images was not tested; leave "
            "one of them out"
        )
    if multimodal is not None and any(str(key).startswith("tops") for key in multimodal.mm_processor_kwargs or {}):
        raise UnsupportedModelError(
            "mm_processor_kwargs of an engine do not reach its caches; give its pruning in TOPS_PRUNING or in "
            "--hf-overrides, and leave mm_processor_kwargs to requests"
        )


def check_count(method: Method, shape: PromptShape, name: str) -> int | None:
    """Tokens that stay of an image of this shape; None where the method leaves it whole.

    Raises
    ------
    BudgetError
        If the budget is larger than the tokens that are there.
    ConfigurationError
        If the method would cut inside the decoder of this model.
    """
    cuts = method.schedule(shape).cuts
    if any(cut.layer for cut in cuts):
        raise _inside(name)
    return cuts[0].keep if cuts else None


def _inside(name: str) -> ConfigurationError:
    hint = ', or serve TOPS with "stages": "first"' if name == "tops" else ""
    return ConfigurationError(
        f"{name} cuts inside the language model, where vLLM has no hook and one cache length for all layers; {_LIBRARY}"
        f"{hint}"
    )


def _ample(method: Method) -> PromptShape:
    """A prompt with enough visual tokens for the budget of a method, and not so many that early layers exceed it."""
    value = getattr(getattr(method, "budget", None), "value", 1)
    return PromptShape(2 * value if isinstance(value, int) else 4096, 32)
