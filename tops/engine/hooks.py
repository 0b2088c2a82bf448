"""Forward hooks on the model, its text model, its decoder layers and the watched vision modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from tops.backbones.base import Adapter, Seen, Watch
from tops.engine.checks import check_prefill, check_step
from tops.engine.passes import Decode, Kwargs, Prefill, Setup
from tops.engine.prompt import Prompt, read_prompt
from tops.engine.segment import Gather, PromptState
from tops.errors import UnsupportedModelError
from tops.methods.base import Method

Args = tuple[Any, ...]
_MEDIA = ("pixel_values", "pixel_values_videos")
_FEATURES = ("get_image_features", "get_video_features")


@dataclass(frozen=True)
class _Replay:
    """The cuts of the last prompt, should it be recomputed token by token (generation without a cache)."""

    ids: Tensor
    media: tuple[Any, ...]
    cuts: dict[int, list[Gather | None]]

    def fits(self, call: Kwargs, prompt: Prompt) -> bool:
        """Whether a call is the same prompt with tokens added to its end."""
        batch, length = self.ids.shape
        return (
            prompt.ids.shape[0] == batch
            and prompt.ids.shape[1] > length
            and all(call.get(name) is was for name, was in zip(_MEDIA, self.media, strict=True))
            and torch.equal(prompt.ids[:, :length], self.ids)
        )


class _Replaced:
    """A method of a module with another in its place, until ``remove()``."""

    def __init__(self, module: nn.Module, name: str, method: Callable[..., Any]) -> None:
        self._module, self._name, self._own = module, name, vars(module).get(name)
        setattr(module, name, method)

    def remove(self) -> None:
        delattr(self._module, self._name)
        if self._own is not None:
            setattr(self._module, self._name, self._own)


class Hooks:
    """All hooks of one ``prune()`` block. :meth:`install` and :meth:`remove` are its whole interface."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._names, self._outer_names = _parameters(setup.adapter.model), _parameters(setup.adapter.outer)
        self._handles: list[Any] = []
        self._seen: dict[str, list[Seen]] = {}
        self._prompt: Prompt | None = None
        self._step: PromptState | None = None
        self._pass: Prefill | Decode | None = None
        self._replay: _Replay | None = None

    def install(self) -> None:
        """Register every hook."""
        adapter, add = self.setup.adapter, self._handles.append
        add(adapter.model.register_forward_pre_hook(self._on_model, with_kwargs=True))
        add(adapter.outer.register_forward_pre_hook(self._on_outer, with_kwargs=True))
        add(adapter.outer.register_forward_hook(self._on_outer_done, with_kwargs=True, always_call=True))
        add(adapter.text_model.register_forward_pre_hook(self._on_text, with_kwargs=True))
        add(adapter.text_model.register_forward_hook(self._on_text_done, with_kwargs=True))
        for number, layer in enumerate(adapter.layers):
            add(layer.register_forward_pre_hook(self._layer_hook(number), with_kwargs=True))
        for watch in adapter.watches(_tower_layers(self.setup.method, adapter)):
            add(self._watch(watch))
        if self.setup.memory is not None:
            for name in _FEATURES:
                if hasattr(adapter.outer, name):
                    add(_Replaced(adapter.outer, name, self._remembering(getattr(adapter.outer, name))))

    def remove(self) -> None:
        """Take every hook away; the model is as it was."""
        while self._handles:
            self._handles.pop().remove()
        self._forget()
        self._replay = None

    def _forget(self) -> None:
        for seen in self._seen.values():
            seen.clear()
        self._prompt = self._step = self._pass = None

    def _watch(self, watch: Watch) -> Any:
        seen = self._seen.setdefault(watch.name, [])

        def before(module: nn.Module, args: Args, kwargs: Kwargs) -> None:
            if self._prompt is not None:
                seen.append(Seen(args[0] if args else kwargs["hidden_states"], kwargs))

        def after(module: nn.Module, args: Args, kwargs: Kwargs, out: Any) -> None:
            if self._prompt is not None:
                seen.append(Seen(out[0] if isinstance(out, tuple) else out, kwargs))

        if watch.side == "input":
            return watch.module.register_forward_pre_hook(before, with_kwargs=True)
        return watch.module.register_forward_hook(after, with_kwargs=True)

    def _remembering(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        memory = self.setup.memory
        assert memory is not None

        @wraps(compute)
        def features(*args: Any, **kwargs: Any) -> Any:
            if self._prompt is None or torch.is_grad_enabled():  # nothing is watched, or a gradient is wanted
                return compute(*args, **kwargs)
            return memory.features(compute, args, kwargs, self._seen, self.setup.adapter.packing)

        return features

    def _on_model(self, module: nn.Module, args: Args, kwargs: Kwargs) -> None:
        if {**dict(zip(self._names, args, strict=False)), **kwargs}.get("labels") is not None:
            raise UnsupportedModelError(
                "labels under pruning: logits are shorter than the labels; compute the loss outside prune(), or score "
                "by generation"
            )

    def _on_outer(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        call = {**dict(zip(self._outer_names, args, strict=False)), **kwargs}
        self._forget()
        cache = call.get("past_key_values")
        state = PromptState.of(cache)
        setup = self.setup
        if state is not None:
            check_step(call, cache, state, setup.adapter)
            if call.get("position_ids") is None:
                given = call["input_ids"] if call.get("input_ids") is not None else call["inputs_embeds"]
                steps = torch.arange(given.shape[1], device=state.next_position.device)
                call["position_ids"] = state.next_position + state.generated + steps
            self._step = state
            return (), call
        check_prefill(call, cache)
        self._prompt = read_prompt(setup.adapter, setup.method, setup.backbone, call)
        return (), call

    def _on_outer_done(self, module: nn.Module, args: Args, kwargs: Kwargs, out: Any) -> None:
        self._forget()

    def _on_text(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        if self._step is not None:
            self._pass = Decode(self.setup, self._step, kwargs)
            return args, self._pass.kwargs
        prompt = self._prompt
        if prompt is None:
            return None
        use_cache = kwargs.get("use_cache")
        use_cache = self.setup.adapter.text_config.use_cache if use_cache is None else use_cache
        replay = self._replay
        if use_cache:
            replay = None
            if kwargs.get("past_key_values") is None:
                from transformers.cache_utils import DynamicCache

                # The state must live as long as the cache, so the cache is made here.
                kwargs = {**kwargs, "past_key_values": DynamicCache(config=self.setup.adapter.text_config)}
        elif replay is not None and not replay.fits(dict(prompt.call), prompt):
            replay = None
        prefill = Prefill(self.setup, prompt, kwargs, self._seen, None if replay is None else replay.cuts)
        self._pass = prefill
        if use_cache:
            prefill.state.attach(kwargs["past_key_values"])
        return args, prefill.kwargs

    def _on_text_done(self, module: nn.Module, args: Args, kwargs: Kwargs, out: Any) -> None:
        done, self._pass = self._pass, None
        if isinstance(done, Decode):
            done.done()
        elif isinstance(done, Prefill) and done.replay is None:
            records = done.records()
            self.setup.run.prompts.extend(records)
            self.setup.run.batch = len(records)
            media = tuple(done.prompt.call.get(name) for name in _MEDIA)
            self._replay = None if done.cache is not None else _Replay(done.prompt.ids, media, done.cuts)

    def _layer_hook(self, number: int) -> Any:
        def hook(layer: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
            running = self._pass
            if running is None:
                return None
            hidden, new = running.layer(number, args[0] if args else kwargs["hidden_states"])
            if new is None and (hidden is args[0] if args else True):
                return None
            kwargs = {**kwargs, **(new or {})}
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        return hook


def _tower_layers(method: Method, adapter: Adapter) -> tuple[int, ...]:
    """Layers of the vision tower that a method reads beside those that are always watched."""
    declared = getattr(method, "tower_layers", None)
    return () if declared is None else tuple(declared(adapter.tower))


def _parameters(module: nn.Module) -> list[str]:
    """Names of what ``forward`` takes, in order: callers may pass any of it by position."""
    return list(inspect.signature(type(module).forward).parameters)[1:]
