"""References that know nothing of the engine: full-length runs with masked keys, shortened embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tops.backbones import adapter_for

Inputs = dict[str, Tensor]
# A random model would also generate placeholders, which the full-length reference then could not run on.
MARKS = [90, 91, 92, 93]
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "output_logits": True,
    "return_dict_in_generate": True,
    "suppress_tokens": MARKS,
}


@torch.no_grad()
def generate(model: Any, inputs: Inputs, steps: int = 5, **options: Any) -> tuple[Tensor, Tensor]:
    """New tokens (B, S) and their logits (B, S, V), greedy."""
    out = model.generate(**inputs, max_new_tokens=steps, **GREEDY, **options)
    return out.sequences[:, -steps:], torch.stack(out.logits, 1)


@torch.no_grad()
def entering(model: Any, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    """Embeddings and position ids that the unpruned text model receives."""
    got = _entering(model, inputs)
    return got["inputs_embeds"], got.get("position_ids")


def _entering(model: Any, inputs: Inputs) -> dict[str, Any]:
    got: dict[str, Any] = {}
    handle = adapter_for(model).text_model.register_forward_pre_hook(lambda m, a, k: got.update(k), with_kwargs=True)
    try:
        model(**inputs)
    finally:
        handle.remove()
    return got


@contextmanager
def adding(model: Any, inputs: Inputs, keep: Tensor) -> Iterator[None]:
    """A prompt given as shortened embeddings also gets the features that a text model adds behind its first layers.

    ``keep`` (M,) are the places of one sample that stay. For models that add nothing, nothing is done.
    """
    with torch.no_grad():
        got = _entering(model, inputs)
    if got.get("deepstack_visual_embeds") is None:
        yield
        return
    mask = got["visual_pos_masks"][0]
    visual = keep[mask[keep]]
    number = mask.long().cumsum(0) - 1
    features = [feature[number[visual]] for feature in got["deepstack_visual_embeds"]]

    def before(module: Any, args: Any, kwargs: Any) -> Any:
        if kwargs["inputs_embeds"].shape[1] != len(keep):
            return None
        more = {"visual_pos_masks": mask[keep][None], "deepstack_visual_embeds": features}
        return args, {**kwargs, **more}

    handle = adapter_for(model).text_model.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def extended(inputs: Inputs, tokens: Tensor) -> Inputs:
    """The prompt with tokens added to its end."""
    out = {
        **inputs,
        "input_ids": torch.cat([inputs["input_ids"], tokens], 1),
        "attention_mask": torch.cat([inputs["attention_mask"], torch.ones_like(tokens)], 1),
    }
    if "mm_token_type_ids" in inputs:
        kinds = inputs["mm_token_type_ids"]
        out["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(tokens, dtype=kinds.dtype)], 1)
    return out


@contextmanager
def masked(model: Any, dropped: Mapping[int, Tensor], positions: Mapping[int, Tensor]) -> Iterator[None]:
    """Run at full length; from each layer on, dropped keys get -inf and RoPE reads the given positions.

    ``dropped`` (L,) bool and ``positions`` (..., L), both per first layer, of one sample.
    """
    text = adapter_for(model).text_model

    def hook(number: int) -> Any:
        first = max((layer for layer in dropped if layer <= number), default=None)

        def before(layer: Any, args: Any, kwargs: Any) -> Any:
            if first is None:
                return None
            hidden = args[0] if args else kwargs["hidden_states"]
            n = hidden.shape[1]
            mask = torch.full((n, n), float("-inf"), dtype=hidden.dtype).triu(1)
            mask[:, dropped[first][:n]] = float("-inf")
            mask.fill_diagonal_(0.0)  # a dropped row looks at itself, so that nothing is NaN; nobody looks at it
            kwargs = {**kwargs, "attention_mask": mask[None, None], "position_ids": None}
            kwargs["position_embeddings"] = text.rotary_emb(hidden, positions[first][..., None, :n])
            return args, kwargs

        return before

    handles = [
        layer.register_forward_pre_hook(hook(number), with_kwargs=True) for number, layer in enumerate(text.layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def worst(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference."""
    return float((a - b).abs().max())


def pad_left(rows: list[Inputs]) -> Inputs:
    """A left-padded batch; pixels are joined along the first axis."""
    length = max(row["input_ids"].shape[1] for row in rows)
    out = {}
    for name in rows[0]:
        if rows[0][name].shape == rows[0]["input_ids"].shape:
            parts = [torch.nn.functional.pad(row[name], (length - row[name].shape[1], 0)) for row in rows]
        else:
            parts = [row[name] for row in rows]
        out[name] = torch.cat(parts)
    return out


def flash(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any) -> Any:
    """FlashAttention-2's contract in plain torch: (B, H, L, hd) in, a 2-D mask or none, causal from the last key."""
    assert attention_mask is None or attention_mask.shape == (len(query), key.shape[2])
    positions = options.get("position_ids")
    if attention_mask is None and positions is not None and positions.ndim == 2 and query.shape[2] > 1:
        assert bool((positions.diff() == 1).all()), "it would be taken for packed sequences"
    key, value = (x.repeat_interleave(query.shape[1] // key.shape[1], 1) for x in (key, value))
    length, total = query.shape[2], key.shape[2]
    allowed = torch.ones(length, total, dtype=torch.bool).tril(total - length)[None]
    if attention_mask is not None:
        allowed = allowed & attention_mask[:, None].bool()
    scores = query @ key.mT * options["scaling"]
    weights = scores.masked_fill(~allowed[:, None], -torch.inf).softmax(-1).nan_to_num()
    return (weights @ value).transpose(1, 2), None
