"""Wrappers around a model: those that run it as it is are taken off, those that do not are refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    from torch import nn


def unwrapped(model: object) -> object:
    """The model inside wrappers of PEFT and of distributed data parallelism, whose calls reach it unchanged.

    Raises
    ------
    UnsupportedModelError
        For a compiled model, or copies of one in threads; the message names the model inside.
    """
    import torch

    while True:
        name = type(model).__name__
        wrapper: Any = model
        if name == "OptimizedModule":
            raise UnsupportedModelError(
                "a compiled model was given, whose graphs leave hooks out; give the model that was passed to "
                "torch.compile (model._orig_mod) to prune(), and call that one"
            )
        if isinstance(wrapper, torch.nn.DataParallel):
            raise UnsupportedModelError(
                "DataParallel copies its model into threads; give model.module to prune(), and call that one"
            )
        if isinstance(wrapper, torch.nn.parallel.DistributedDataParallel):
            model = wrapper.module
        elif callable(getattr(wrapper, "get_base_model", None)):  # PEFT
            for kind in getattr(wrapper, "peft_config", {}).values():
                if getattr(kind, "is_prompt_learning", False):
                    raise UnsupportedModelError(
                        f"{type(kind).__name__} puts tokens of its own before prompts, which pruning does not know; "
                        "use adapters that change weights (LoRA), or give model.get_base_model() without it"
                    )
            model = wrapper.get_base_model()
        else:
            return model


def check_compiled(modules: dict[str, nn.Module]) -> None:
    """Refuse modules with a graph of their own, which would leave hooks out.

    Parameters
    ----------
    modules : dict of str to nn.Module
        By the name to show.

    Raises
    ------
    UnsupportedModelError
        For modules on which ``compile()`` was called, or whose ``forward`` is compiled.
    """
    for name, module in modules.items():
        forward: Any = vars(module).get("forward")
        if module._compiled_call_impl is not None or hasattr(forward, "_torchdynamo_orig_callable"):
            raise UnsupportedModelError(
                f"{name} ({type(module).__name__}) is compiled, and compiled graphs leave hooks out; prune the "
                "model as it was before compile()"
            )
