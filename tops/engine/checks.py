"""What pruning refuses, as early as it can be known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tops.backbones._wrappers import check_compiled
from tops.backbones.base import Adapter
from tops.engine.record import Run
from tops.engine.segment import PromptState
from tops.errors import BudgetError, ConfigurationError, MissingSignalError, NonFiniteError, UnsupportedModelError
from tops.methods.base import Method
from tops.signals import Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

    from tops.backbones._text_tower import TextEncoder

_KERNELS = ("eager", "sdpa", "flash")
_GUESSES = "the prompt would be pruned with guessed tokens behind it, and a pruned cache cannot drop wrong ones"
_GENERATION = {
    "assistant_model": _GUESSES,
    "assistant_early_exit": _GUESSES,
    "prompt_lookup_num_tokens": _GUESSES,
    "prefill_chunk_size": "a prompt is pruned as a whole, which a chunked prefill never sees",
}


def check_model(adapter: Adapter) -> None:
    """Refuse models in a mode that pruning cannot serve.

    Raises
    ------
    UnsupportedModelError
        Sliding-window layers, an attention implementation whose masks are not rebuilt, weights that are not on a
        device, training mode.
    """
    config: Any = adapter.text_config
    kinds = sorted({kind for kind in getattr(config, "layer_types", None) or [] if kind != "full_attention"})
    # Without a type per layer a window alone makes all of them slide (Mistral); Qwen2 has a switch beside it.
    switch = getattr(config, "use_sliding_window", getattr(config, "layer_types", None) is None)
    if kinds or (switch and getattr(config, "sliding_window", None)):
        raise UnsupportedModelError(
            f"decoder layers of type {', '.join(kinds) or 'sliding_attention'} attend to a window of positions, which "
            "pruning would shift; only full attention is served"
        )
    offloaded = next((n for n, p in adapter.model.named_parameters() if p.is_meta), None)
    if offloaded is not None:
        raise UnsupportedModelError(
            f"weight {offloaded!r} is offloaded or not loaded; pruning reads projections of single layers, so place "
            "every weight on a device (device_map without 'cpu' or 'disk' offload)"
        )
    layers = {f"layer {number}": layer for number, layer in enumerate(adapter.layers)}
    parts = {"the model": adapter.model, "its inner model": adapter.outer, "its text model": adapter.text_model}
    check_compiled({**parts, **layers})
    check_mode(adapter)


def check_mode(adapter: Adapter) -> None:
    """Refuse modes that may change while a block is open, so before every forward.

    Raises
    ------
    UnsupportedModelError
        Training mode, of the model or of a part; an attention implementation whose masks are not rebuilt.
    """
    for module in (adapter.model, adapter.outer, adapter.text_model, *adapter.layers):
        if module.training:
            raise UnsupportedModelError(
                f"{type(module).__name__} is in training mode; pruning serves inference, call model.eval() first"
            )
    kernel = getattr(adapter.text_config, "_attn_implementation", None) or "eager"
    if not any(name in kernel for name in _KERNELS) or "paged" in kernel:
        raise UnsupportedModelError(
            f"attention implementation {kernel!r} is not served; load the model with attn_implementation='sdpa', "
            "'flash_attention_2' or 'eager'"
        )


def check_names(run: Run, rows: int, expand: int) -> None:
    """Refuse questions and names of samples that are not one per sample.

    Parameters
    ----------
    run : Run
        Where they are told.
    rows : int
        Of the batch.
    expand : int
        Rows that generation made of each sample (beams, returned sequences).

    Raises
    ------
    ConfigurationError
        If there are more or fewer than samples.
    """
    for name, told in (("question", run.question), ("sample", run.sample)):
        if told and not isinstance(told, str) and len(told) != rows // expand:
            raise ConfigurationError(
                f"run.{name} has {len(told)} entries, and the batch {rows // expand} sample(s); give one for each, or "
                "a single str for all"
            )


def check_signals(method: Method, adapter: Adapter, encoder: TextEncoder | None) -> None:
    """Refuse a method whose signals this backbone does not have.

    Raises
    ------
    MissingSignalError
        The message names what is missing and what would provide it.
    """
    have = adapter.own_signals | ({Signal.TEXT_TOWER} if encoder is not None else frozenset())
    missing = sorted(method.needs(have) - have)
    if missing:
        hint = (
            "; pass text_encoder= (load_backbone(..., text_tower=...) gives one)"
            if missing == [Signal.TEXT_TOWER] and Signal.ENCODER in have
            else "; choose a method that does not need it"
        )
        raise MissingSignalError(
            f"{method.title} needs {', '.join(missing)}, and {adapter.family} has "
            f"{', '.join(sorted(have)) or 'none'}{adapter.lacks and f' ({adapter.lacks})'}{hint}"
        )


def check_generation(model: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    """Refuse ways of generating that feed the prompt in parts or with guesses behind it, before any compute.

    Parameters
    ----------
    model : PreTrainedModel
        Its generation configuration holds what the call leaves open.
    args, options
        Of ``model.generate``.

    Raises
    ------
    UnsupportedModelError
        Chunked prefill, assisted decoding, prompt lookup.
    """
    given = options.get("generation_config") or (args[1] if len(args) > 1 else None) or model.generation_config
    for name, why in _GENERATION.items():
        value = options.get(name, getattr(given, name, None))
        if value:
            shown = value if isinstance(value, int) else type(value).__name__
            raise UnsupportedModelError(f"{name}={shown}: {why}; leave it out under pruning")


def check_prefill(call: Mapping[str, Any], cache: Cache | None) -> None:
    """Refuse calls that cannot be pruned, before the vision tower runs.

    Raises
    ------
    UnsupportedModelError
        Static caches, masks that are not 2-D, chunked prefill, embeddings instead of token ids.
    """
    if cache is not None and getattr(cache, "is_compileable", False):
        raise UnsupportedModelError(
            f"{type(cache).__name__} is a static cache: its length is fixed before pruning shortens it; use the "
            "default dynamic cache (no cache_implementation, no compiled generation)"
        )
    if cache is not None and cache.get_seq_length() > 0:
        raise UnsupportedModelError(
            "the cache was filled outside this prune() block; run the prompt and its generation in one block"
        )
    ids, mask = call.get("input_ids"), call.get("attention_mask")
    if ids is None:
        raise UnsupportedModelError(
            "inputs_embeds without input_ids: visual tokens cannot be told from text; pass input_ids and pixels"
        )
    if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise UnsupportedModelError(f"attention_mask of shape {shape}: only 2-D masks (batch, length) can be pruned")
    if mask is not None and mask.shape[1] != ids.shape[1]:
        raise UnsupportedModelError(
            f"attention_mask covers {mask.shape[1]} tokens and input_ids {ids.shape[1]}: chunked prefill cannot be "
            "pruned; unset prefill_chunk_size"
        )


def check_step(call: Mapping[str, Any], cache: Cache | None, state: PromptState, adapter: Adapter) -> None:
    """Refuse steps that a pruned cache cannot serve.

    Raises
    ------
    UnsupportedModelError
        A cache that was cropped or extended from outside, a mask of another conversation, a new image.
    """
    assert cache is not None
    have, want = cache.get_query_offset(), state.segments[0].length + state.generated
    if have != want:
        raise UnsupportedModelError(
            f"the cache holds {have} tokens where this prompt has {want}: it was cropped or extended from outside "
            "(assisted decoding, prompt lookup), which a pruned cache cannot follow"
        )
    last = len(adapter.layers) - 1
    if cache.get_query_offset(last) != state.at(last).length + state.generated:
        raise UnsupportedModelError(
            "the forward that was to fill this cache ended before its last layer, by an error or an interruption; "
            "start again with the whole prompt and a new cache"
        )
    ids, mask = call.get("input_ids"), call.get("attention_mask")
    given = ids if ids is not None else call["inputs_embeds"]
    rows, length = int(given.shape[0]), int(given.shape[1])
    if rows != state.batch:
        raise UnsupportedModelError(
            f"{rows} row(s) of tokens were given for a cache of {state.batch}; choose the cache's rows first "
            "(batch_select_indices, batch_repeat_interleave)"
        )
    if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
        raise UnsupportedModelError("only 2-D attention masks (batch, length) can be used under pruning")
    if mask is not None and mask.shape[1] != state.prompt_length + state.generated + length:
        raise UnsupportedModelError(
            f"attention_mask covers {mask.shape[1]} tokens where prompt, generated and new ones are "
            f"{state.prompt_length} + {state.generated} + {length}; give the mask of the whole "
            "conversation, and as new tokens all that the cache does not hold yet"
        )
    if ids is not None and length > 1:
        placeholders = torch.tensor(adapter.placeholder_ids, device=ids.device)
        if bool(torch.isin(ids, placeholders).any()):
            raise UnsupportedModelError(
                "a new image for a prompt that is already cached: later turns of a pruned cache are text alone; "
                "start again with the whole prompt and no cache"
            )


def check_selection(selection: Selection, candidates: int, width: int, method: Method, layer: int) -> None:
    """Refuse a selection that does not fit the tokens.

    Raises
    ------
    BudgetError
        If nothing would stay.
    ConfigurationError
        If an index is outside or a token is kept twice, or rows have the wrong shape.
    NonFiniteError
        If new rows are not finite.
    """
    indices, rows = selection.indices, selection.rows
    where = f"{method.title} at layer {layer}"
    if indices.ndim != 1 or indices.dtype != torch.int64:
        raise ConfigurationError(
            f"{where}: indices have shape {tuple(indices.shape)}, {indices.dtype}; wanted (K,) int64"
        )
    if not len(indices):
        raise BudgetError(f"{where} would leave no visual token of {candidates}; at least 1 must stay")
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= candidates:
        raise ConfigurationError(f"{where}: indices {low} to {high} are outside 0 to {candidates - 1}")
    if rows is None:
        twice = len(indices) - int(torch.unique(indices).numel())
        if twice:
            raise ConfigurationError(
                f"{where}: {twice} tokens are kept twice; a token stays once, and only new rows may share an anchor"
            )
        return
    if rows.shape != (len(indices), width):
        raise ConfigurationError(f"{where}: rows have shape {tuple(rows.shape)}; wanted ({len(indices)}, {width})")
    if not bool(rows.isfinite().all()):
        raise NonFiniteError(f"{where}: new rows are not finite; check the model's activations in this dtype")
