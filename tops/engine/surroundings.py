"""What beside its inputs decides on what a vision tower makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tops.backbones._precision import autocast_state
from tops.backbones.base import Adapter
from tops.engine.stand_ins import Hook, StandIn

_PLAIN = (str, int, float, bool, type(None))
_KEPT = ("_parameters", "_buffers", "_modules")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def surroundings(adapter: Adapter) -> str:
    """Name of the state in which a vision tower runs; two runs on one input under one name give one result.

    In it are autocast; precision and determinism of products; which attention kernels may run; weights and buffers, by
    place in memory, type, device and number of changes; the mode, settings and hooks of every module (adapters of PEFT
    are such settings); the configuration. Outside it are changes through ``tensor.data`` and inside objects that are
    neither plain values nor tensors: whoever makes those must not use a vision memory.

    Parameters
    ----------
    adapter : Adapter
        The model's family.

    Returns
    -------
    str
        A hash, good within this process.
    """
    cuda: Any = torch.backends.cuda
    state: list[Any] = [
        adapter.packing, autocast_state(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32,
        torch.are_deterministic_algorithms_enabled(), cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(), cuda.cudnn_sdp_enabled(),
    ]  # fmt: skip
    config: Any = adapter.model.config
    for part in (config, getattr(config, "vision_config", None)):
        state += [] if part is None else _values(vars(part))
    text = adapter.text_model
    for name, module in adapter.outer._modules.items():
        if module is not None and module is not text:
            state.append(name)
            _walk(module, state)
    _tensors(adapter.outer._parameters, state)
    for hooks in (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks):
        state += [id(hook) for hook in hooks.values()]
    return hashlib.sha256(repr(state).encode()).hexdigest()


def _walk(module: nn.Module, state: list[Any]) -> None:
    inside = vars(module)
    state.append(type(module).__qualname__)
    state += _values({name: value for name, value in inside.items() if name not in (*_KEPT, *_HOOKS)})
    for name in _HOOKS:
        state += [id(hook) for hook in inside[name].values() if not _ours(hook)]
    _tensors(inside["_parameters"], state)
    _tensors(inside["_buffers"], state)
    for name, child in inside["_modules"].items():
        if child is not None:
            state.append(name)
            _walk(child, state)


def _values(attributes: dict[str, Any]) -> list[Any]:
    """Attributes by value where they are plain, collections by their text, tensors by place, else by identity."""
    out: list[Any] = []
    for name, value in attributes.items():
        if name == "_output_capturing_hooks_installed":  # transformers notes here that a forward has run
            continue
        if isinstance(value, _PLAIN):
            out.append((name, value))
        elif isinstance(value, list | tuple | dict | set | frozenset):
            if value and "hook" not in name:
                out.append((name, repr(value)))
        elif isinstance(value, Tensor):
            _tensors({name: value}, out)
        elif not isinstance(value, StandIn):
            out.append((name, id(value)))
    return out


def _tensors(tensors: Mapping[str, Tensor | None], state: list[Any]) -> None:
    for tensor in tensors.values():
        if tensor is not None:
            changes = -1 if tensor.is_inference() else tensor._version
            state.append((tensor.data_ptr(), changes, str(tensor.dtype), str(tensor.device)))


def _ours(hook: Any) -> bool:
    """Hooks that change nothing: the engine's own, and those by which transformers collects outputs."""
    return isinstance(hook, Hook) or str(getattr(hook, "__module__", "")).startswith("transformers.")
