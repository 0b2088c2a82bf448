"""Forward hooks on a model, its text model, its decoder layers and the watched vision modules.

One set of hooks serves all ``prune()`` blocks of a model, of which several threads may each have one. A hook keeps
nothing: what a forward knows is in the :class:`tops.engine.calls.Call` of its context.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tops.backbones.base import Adapter, Seen, Watch
from tops.engine import calls
from tops.engine.arguments import check_arguments, check_positions, position_axes, wanted_places
from tops.engine.cache import attach, state_of
from tops.engine.calls import Block, Call, Generation, Replay
from tops.engine.checks import check_generation, check_mode, check_names, check_prefill, check_step
from tops.engine.decode import Decode
from tops.engine.passes import Kwargs
from tops.engine.prefill import Prefill
from tops.engine.prompt import expanded_media, read_prompt
from tops.engine.stand_ins import Hook, StandIn
from tops.engine.surroundings import surroundings
from tops.errors import UnsupportedModelError

Args = tuple[Any, ...]
_FEATURES = ("get_image_features", "get_video_features")
_INSTALLED: dict[int, Hooks] = {}
_LOCK = threading.RLock()


class Hooks:
    """All hooks of one model: there while a block, a generation or a forward holds them."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self._names, self._outer_names = _parameters(adapter.model), _parameters(adapter.outer)
        self._handles: list[Any] = []
        self._watched: set[str] = set()
        self._holders = 0

    @staticmethod
    def of(adapter: Adapter) -> Hooks:
        """The hooks of a model, held once more."""
        with _LOCK:
            hooks = _INSTALLED.get(id(adapter.model))
            if hooks is None:
                hooks = Hooks(adapter)
                hooks._install()
                _INSTALLED[id(adapter.model)] = hooks
            hooks.hold()
            return hooks

    def hold(self) -> None:
        """Stay until :meth:`release`."""
        with _LOCK:
            self._holders += 1

    def release(self) -> None:
        """Once nobody holds them the hooks go, and the model is as it was."""
        with _LOCK:
            self._holders -= 1
            if self._holders:
                return
            del _INSTALLED[id(self.adapter.model)]
            while self._handles:
                self._handles.pop().remove()

    def watch(self, watches: list[Watch]) -> None:
        """Keep an eye on vision modules too."""
        with _LOCK:
            for watch in watches:
                if watch.name not in self._watched:
                    self._watched.add(watch.name)
                    self._handles.append(self._watch(watch))

    def _install(self) -> None:
        adapter, add = self.adapter, self._handles.append
        add(adapter.model.register_forward_pre_hook(Hook(self._on_model), with_kwargs=True))
        add(adapter.outer.register_forward_pre_hook(Hook(self._on_outer), with_kwargs=True))
        add(adapter.outer.register_forward_hook(Hook(self._on_outer_done), with_kwargs=True, always_call=True))
        add(adapter.text_model.register_forward_pre_hook(Hook(self._on_text), with_kwargs=True))
        add(adapter.text_model.register_forward_hook(Hook(self._on_text_done), with_kwargs=True))
        for number, layer in enumerate(adapter.layers):
            add(layer.register_forward_pre_hook(Hook(self._layer_hook(number)), with_kwargs=True))
        # Hooks see how a forward ends unless by Ctrl-C, which torch lets pass them.
        add(StandIn(adapter.model, "forward", self._model_forward))
        add(StandIn(adapter.outer, "forward", self._outer_forward))
        add(StandIn(adapter.model, "generate", self._generate))
        add(StandIn(adapter.model, "_expand_inputs_for_generation", self._expand))
        if adapter.adds_later:
            add(StandIn(adapter.text_model, adapter.adds_later, self._add))
        for name in _FEATURES:
            if hasattr(adapter.outer, name):
                add(StandIn(adapter.outer, name, self._features))

    def _watch(self, watch: Watch) -> Any:
        def note(value: Tensor, kwargs: Kwargs) -> None:
            call = calls.call_of(self)
            if call is not None and call.prompt is not None and watch.name in call.seen:
                call.seen[watch.name].append(Seen(value, kwargs))

        def before(module: nn.Module, args: Args, kwargs: Kwargs) -> None:
            note(args[0] if args else kwargs["hidden_states"], kwargs)

        def after(module: nn.Module, args: Args, kwargs: Kwargs, out: Any) -> None:
            note(out[0] if isinstance(out, tuple) else out, kwargs)

        if watch.side == "input":
            return watch.module.register_forward_pre_hook(Hook(before), with_kwargs=True)
        return watch.module.register_forward_hook(Hook(after), with_kwargs=True)

    # -- whose call it is ---------------------------------------------------------------------------------------------

    def _block(self, cache: object) -> Block | None:
        """This context's block; None where it has none and goes on with a prompt of its own, unpruned.

        Raises
        ------
        UnsupportedModelError
            If this context has no block and would start a prompt while another's hooks are in the model.
        """
        block = calls.block_of(self)
        if block is not None:
            return block
        if cache is not None and state_of(cache) is None and cache.get_seq_length() > 0:  # type: ignore[attr-defined]
            return None
        raise UnsupportedModelError(
            "another thread or task has this model in a prune() block, to which this one does not belong; enter "
            "prune() here too (every thread its own block; a budget of 1.0 prunes nothing), run this in a copy of that "
            "block's context (asyncio.to_thread, contextvars.copy_context().run), or wait until the block has ended"
        )

    def _generate(self, generate: Callable[..., Any], args: Args, options: Kwargs) -> Any:
        """``model.generate`` in a block: its arguments are looked at first, as no forward shows them."""
        if not self._holders:  # reached through a shallow copy of the model after the block
            return generate(*args, **options)
        block = self._block(None)
        assert block is not None
        check_generation(self.adapter.model, args, options)
        generation = Generation(block)
        calls.begin(generation)
        try:
            return generate(*args, **options)
        finally:
            calls.finish(generation)

    def _expand(self, expand: Callable[..., Any], args: Args, options: Kwargs) -> Any:
        """Rows for beams and returned sequences: pixels go with their sample, where transformers repeats each alone."""
        block = calls.block_of(self)
        generation = None if block is None else calls.generation_of(block)
        if generation is None or args or options.get("input_ids") is None:
            return expand(*args, **options)
        generation.expand = times = int(options.get("expand_size", 1))
        media = {} if times == 1 else expanded_media(self.adapter, options, times)
        ids, rest = expand(**{name: value for name, value in options.items() if name not in media})
        return ids, {**rest, **media}

    def _features(self, compute: Callable[..., Any], args: Args, kwargs: Kwargs) -> Any:
        """Vision features from the block's memory, where it has one."""
        call = calls.call_of(self)
        memory = None if call is None or call.prompt is None else call.block.setup.memory
        # Nobody watches, this is within another one, or a gradient is wanted.
        if call is None or memory is None or call.looking or torch.is_grad_enabled():
            return compute(*args, **kwargs)
        call.looking = True
        try:
            return memory.features(compute, args, kwargs, call.seen, surroundings(self.adapter))
        finally:
            call.looking = False

    def _add(self, add: Callable[..., Any], args: Args, kwargs: Kwargs) -> Any:
        """Features that the text model adds behind a layer, for the tokens that are still there."""
        call = calls.call_of(self)
        if call is not None and isinstance(call.running, Prefill):
            hidden, mask, features = (*args, *kwargs.values())
            args, kwargs = (hidden, *call.running.still_there(mask, features)), {}
        return add(*args, **kwargs)

    # -- one forward --------------------------------------------------------------------------------------------------

    def _on_model(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        call = {**dict(zip(self._names, args, strict=False)), **kwargs}
        calls.WANTED.set(None)
        if self._block(call.get("past_key_values")) is None:
            return None
        check_arguments(self.adapter, call)
        wanted = wanted_places(call.get("logits_to_keep"))
        if wanted is None or state_of(call.get("past_key_values")) is not None:
            return None
        calls.WANTED.set(wanted)
        return (), {**call, "logits_to_keep": torch.arange(len(wanted), device=wanted.device)}

    def _on_outer(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        given = {**dict(zip(self._outer_names, args, strict=False)), **kwargs}
        cache = given.get("past_key_values")
        block = self._block(cache)
        if block is None:
            return None
        call = Call(block, calls.generation_of(block), wanted=calls.WANTED.get())
        calls.WANTED.set(None)
        calls.begin(call)
        try:
            self._begin(call, given, cache)
        except BaseException:
            calls.finish(call)
            raise
        return (), given

    def _begin(self, call: Call, given: Kwargs, cache: Any) -> None:
        """Find out what a forward is, prompt or step, and refuse what cannot be pruned; no model code runs."""
        setup, state = call.block.setup, state_of(cache)
        check_mode(setup.adapter)
        check_arguments(setup.adapter, given)
        if state is not None:
            check_step(given, cache, state, setup.adapter)
            new = given["input_ids"] if given.get("input_ids") is not None else given["inputs_embeds"]
            past = state.prompt_length + state.generated
            check_positions(setup.adapter, given.get("position_ids"), *new.shape[:2], past=past)
            # Under multimodal RoPE generation counts from what the model remembers of its last prompt, whosever it was.
            guessed = call.generation is not None and position_axes(setup.adapter) == 3
            if guessed or given.get("position_ids") is None:
                steps = torch.arange(new.shape[1], device=state.next_position.device)
                given["position_ids"] = state.next_position + state.generated + steps
            call.step = state
            return
        check_prefill(given, cache)
        if isinstance(given.get("image_sizes"), list | tuple):
            given["image_sizes"] = torch.tensor([list(map(int, size)) for size in given["image_sizes"]])
        mask = given.get("attention_mask")
        check_positions(setup.adapter, given.get("position_ids"), *given["input_ids"].shape, mask=mask)
        call.seen = {watch.name: [] for watch in setup.watches}
        call.prompt = read_prompt(setup.adapter, setup.method, setup.backbone, given)
        if call.generation is None or not call.generation.prompts:
            expand = 1 if call.generation is None else call.generation.expand
            check_names(setup.run, len(call.prompt.layouts), expand)

    def _model_forward(self, forward: Callable[..., Any], args: Args, kwargs: Kwargs) -> Any:
        try:
            return forward(*args, **kwargs)
        finally:
            calls.WANTED.set(None)

    def _outer_forward(self, forward: Callable[..., Any], args: Args, kwargs: Kwargs) -> Any:
        try:
            return forward(*args, **kwargs)
        except BaseException:
            calls.abandon(self)
            raise

    def _on_outer_done(self, module: nn.Module, args: Args, kwargs: Kwargs, out: Any) -> Any:
        call = calls.call_of(self)
        if call is None:
            return None
        calls.finish(call)
        if out is not None and call.prompt is not None and call.done is None:
            raise _unseen("text model")
        if out is None or call.wanted is None or call.done is None:
            return None
        hidden = call.done.at_places(out[0], call.wanted)
        if isinstance(out, tuple):
            return hidden, *out[1:]
        out.last_hidden_state = hidden
        return out

    def _on_text(self, module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        call = calls.call_of(self)
        if call is None:
            return None
        if call.step is not None:
            call.running = Decode(call.block.setup, call.step, kwargs)
            return args, call.running.kwargs
        assert call.prompt is not None
        use_cache, cache = kwargs.get("use_cache"), kwargs.get("past_key_values")
        if cache is None and (self.adapter.text_config.use_cache if use_cache is None else use_cache):
            from transformers.cache_utils import DynamicCache

            # The state must live as long as the cache, so the cache is made here.
            cache = DynamicCache(config=self.adapter.text_config)
            kwargs = {**kwargs, "past_key_values": cache}
        prefill = Prefill(call.block.setup, call.prompt, kwargs, call.seen, _replay(call) if cache is None else None)
        call.running = prefill
        if cache is not None:  # layers fill one that is given, whatever use_cache says
            attach(prefill.state, cache)
        return args, prefill.kwargs

    def _on_text_done(self, module: nn.Module, args: Args, kwargs: Kwargs, out: Any) -> None:
        call = calls.call_of(self)
        if call is None:
            return
        done, call.running, generation = call.running, None, call.generation
        if done is None or done.layers_run != len(self.adapter.layers):
            raise _unseen("decoder layers")
        if isinstance(done, Decode):
            done.done()
            return
        assert isinstance(done, Prefill)
        call.done = done
        if done.replay is not None:
            return
        if generation is None or not generation.prompts:
            records, run = done.records(), call.block.setup.run
            run.prompts.extend(records)
            run.batch = len(records)
            if generation is not None and done.cache is None:
                generation.replay = Replay.of(done)
        if generation is not None:
            generation.prompts += 1

    def _layer_hook(self, number: int) -> Any:
        def hook(layer: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
            call = calls.call_of(self)
            if call is None or call.running is None:
                return None
            call.running.layers_run += 1
            hidden, new = call.running.layer(number, args[0] if args else kwargs["hidden_states"])
            if new is None and (hidden is args[0] if args else True):
                return None
            kwargs = {**kwargs, **(new or {})}
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        return hook


def _unseen(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the {what} ran past the hooks of prune(), as compiled or replaced modules do, so nothing was pruned there; "
        "prune the model before it is compiled"
    )


def _replay(call: Call) -> Any:
    """Cuts to repeat, where a generation without a cache recomputes its prompt with new tokens behind it."""
    replay, prompt = None if call.generation is None else call.generation.replay, call.prompt
    assert prompt is not None
    return replay.cuts if replay is not None and replay.fits(prompt) else None


def _parameters(module: nn.Module) -> list[str]:
    """Names of what ``forward`` takes, in order: callers may pass any of it by position."""
    return list(inspect.signature(type(module).forward).parameters)[1:]
