"""The entry point in the group ``vllm.general_plugins``: vLLM calls :func:`register` in each of its processes."""

from __future__ import annotations

import os
from typing import Any

from tops.errors import UnsupportedModelError
from tops.serving.pruning import VARIABLE, engine_pruning
from tops.serving.served import PREFIX, SERVED


def register() -> None:
    """Make the pruned classes known to vLLM.

    Under names of their own always; under the plain ones only where ``TOPS_PRUNING`` is set, so that installing this
    package changes no engine. Then other models are refused, since they would be served unpruned.

    Raises
    ------
    ConfigurationError
        If ``TOPS_PRUNING`` cannot be served.
    """
    from vllm import ModelRegistry

    told = bool(os.environ.get(VARIABLE))
    engine_pruning(None)
    for name, place in SERVED.items():
        ModelRegistry.register_model(PREFIX + name, place)
        if told:
            ModelRegistry.register_model(name, place)
    if told:
        _refuse_others(ModelRegistry)
    _recompute_on_cpu()


def _recompute_on_cpu() -> None:
    """Let vLLM's runner for CPUs ask models for recomputed positions too: it leaves out the switch that others set."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    load = CPUModelRunner.load_model
    if getattr(load, "of_tops", False):  # vLLM may call plugins more than once
        return

    def load_model(self: Any, *arguments: Any, **options: Any) -> None:
        load(self, *arguments, **options)
        self.is_multimodal_pruning_enabled = getattr(self.model, "rows_carry_places", False)

    load_model.of_tops = True  # type: ignore[attr-defined]
    CPUModelRunner.load_model = load_model


def _refuse_others(registry: Any) -> None:
    look = registry.inspect_model_cls

    def inspect_model_cls(architectures: Any, model_config: Any) -> Any:
        info, name = look(architectures, model_config)
        if name.removeprefix(PREFIX) not in SERVED:
            raise UnsupportedModelError(
                f"{VARIABLE} is set, and {name} is not pruned inside vLLM; served are {', '.join(sorted(SERVED))}. "
                f"Unset {VARIABLE} to serve it unpruned"
            )
        return info, name

    registry.inspect_model_cls = inspect_model_cls
