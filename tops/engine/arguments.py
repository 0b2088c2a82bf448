"""What becomes of each argument of a served forward: many of them speak of the prompt before it was pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from tops.backbones.base import Adapter
from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    from tops.engine.segment import Row, Segment

Treatment = Literal["read", "mapped", "fixed", "refused", "free"]

ARGUMENTS: dict[str, Treatment] = {
    # The prompt and its pixels: what layouts, masks and caches are made of.
    "input_ids": "read",
    "attention_mask": "read",
    "past_key_values": "read",
    "pixel_values": "read",
    "pixel_values_videos": "read",
    "image_sizes": "read",
    "image_grid_thw": "read",
    "video_grid_thw": "read",
    "batch_num_images": "read",
    "inputs_embeds": "read",
    "pixel_attention_mask": "read",
    # Places in the unpruned prompt, brought to the pruned one.
    "position_ids": "mapped",
    "logits_to_keep": "mapped",
    # Settings of the vision tower from which layouts and signals follow: as in the model's configuration.
    "vision_feature_layer": "fixed",
    "vision_feature_select_strategy": "fixed",
    "vision_aspect_ratio": "fixed",
    "labels": "refused",
    "image_hidden_states": "refused",
    "cu_seq_lens_q": "refused",
    "cu_seq_lens_k": "refused",
    "max_length_q": "refused",
    "max_length_k": "refused",
    "seq_idx": "refused",
    # Nothing that pruning changes: kinds and times of tokens are read before the cut, outputs follow the layers.
    "mm_token_type_ids": "free",
    "second_per_grid_ts": "free",
    "image_sizes_videos": "free",
    "use_cache": "free",
    "cache_position": "free",
    "output_attentions": "free",
    "output_hidden_states": "free",
    "return_dict": "free",
}
"""Every argument of every served forward. One that is not here may pass unless it is a tensor."""

_WHY = {
    "labels": "logits are shorter than the labels; compute the loss outside prune(), or score by generation",
    "image_hidden_states": "signals are read from the vision tower as it runs; pass pixels",
}
_ONE_A_ROW = "packed sequences, whose lengths pruning changes; pass one prompt a row, and a 2-D mask"


def check_arguments(adapter: Adapter, call: Mapping[str, Any]) -> None:
    """Refuse arguments that would be read against the wrong prompt, before any compute.

    Parameters
    ----------
    adapter : Adapter
        The model's family.
    call : mapping
        Arguments of a forward by name.

    Raises
    ------
    UnsupportedModelError
        Labels, packed sequences, features instead of pixels, settings of the vision tower other than the model's own,
        tensors that are not known here.
    """
    for name, value in call.items():
        if value is None:
            continue
        treatment = ARGUMENTS.get(name)
        if treatment == "refused":
            raise UnsupportedModelError(f"{name} under pruning: {_WHY.get(name, f'it describes {_ONE_A_ROW}')}")
        if treatment == "fixed":
            own = getattr(adapter.model.config, name, None)
            if _layers(adapter, value) != _layers(adapter, own):
                raise UnsupportedModelError(
                    f"{name}={value!r} differs from the model's own, {own!r}, by which visual tokens and signals are "
                    f"found; set model.config.{name} before prune() instead"
                )
        if treatment is None and isinstance(value, Tensor):
            raise UnsupportedModelError(
                f"argument {name!r} of shape {tuple(value.shape)} is not known to pruning, and may speak of the prompt "
                "before it is cut; leave it out"
            )


def _layers(adapter: Adapter, value: Any) -> Any:
    """Layers of the tower counted from the front, other values as they are."""
    if isinstance(value, list | tuple):
        return [_layers(adapter, one) for one in value]
    depth = len(adapter.tower_attention)
    return value + depth + 1 if isinstance(value, int) and value < 0 and depth else value


def position_axes(adapter: Adapter) -> int:
    """Axes of the decoder's position ids: 3 under multimodal RoPE (time, height, width), else 1."""
    rotary: Any = getattr(adapter.text_model, "rotary_emb", None)
    return 3 if getattr(rotary, "mrope_section", None) else 1


def check_positions(adapter: Adapter, given: Any, rows: int, length: int, *, past: int = 0, mask: Any = None) -> None:
    """Refuse position ids whose axes are not known, and those of several sequences in one row.

    Parameters
    ----------
    adapter : Adapter
        The model's family.
    given : Tensor or None
        As the caller passed them.
    rows, length : int
        Of the tokens.
    past : int
        Tokens before them, which position ids may number too.
    mask : Tensor or None
        With one, a row is one sequence whatever its ids.

    Raises
    ------
    UnsupportedModelError
        If they are not (rows or 1, length), or (3 or 4, rows or 1, length) on a model with multimodal RoPE; if they
        jump in a prompt without a mask.
    """
    if given is None:
        return
    # One axis for all three is how transformers numbers a later turn.
    axes = ((1, 3, 4) if past else (3, 4)) if position_axes(adapter) == 3 else ()
    shape = tuple(given.shape) if isinstance(given, Tensor) else ()
    fits = len(shape) in (2, 3) and shape[-2] in (1, rows) and shape[-1] in (length, past + length)
    if not fits or (len(shape) == 3 and shape[0] not in axes):
        wanted = f"({rows}, {length})" + (f" or (3, {rows}, {length})" if axes else "")
        raise UnsupportedModelError(f"position_ids of shape {shape}; {wanted} is wanted, one row for each prompt")
    if not past:
        _check_packing(given, mask)


def _check_packing(given: Tensor, mask: Any) -> None:
    """Refuse several sequences in one row, which transformers tells by ids of the text that do not rise by 1."""
    if mask is not None or (given.ndim == 3 and len(given) == 3):
        return
    rows = given if given.ndim == 2 else given[0]
    jumps = torch.nonzero(rows.diff() != 1).tolist()
    if jumps:
        row, place = jumps[0]
        raise UnsupportedModelError(
            f"position_ids of prompt {row} go from {int(rows[row, place])} to {int(rows[row, place + 1])}: without an "
            f"attention_mask these are {_ONE_A_ROW}"
        )


def wanted_places(value: Any) -> Tensor | None:
    """Places of the prompt that ``logits_to_keep`` names, (R,) int64; None where it counts from the end.

    Raises
    ------
    UnsupportedModelError
        For tensors of other ranks.
    """
    if not isinstance(value, Tensor):
        return None
    if value.ndim != 1:
        raise UnsupportedModelError(
            f"logits_to_keep of shape {tuple(value.shape)}; a number, or places of shape (R,), is wanted"
        )
    return torch.nonzero(value)[:, 0] if value.dtype == torch.bool else value.long()


def gathered(hidden: Tensor, wanted: Tensor, entry: Sequence[Row], segment: Segment, length: int) -> Tensor:
    """Hidden states at places of the unpruned prompt.

    Parameters
    ----------
    hidden : Tensor, (B, M, d)
        Of the last segment.
    wanted : Tensor, (R,) int64
        Places in the padded prompt; negative ones count from its end.
    entry : sequence of Row
        The samples before any cut.
    segment : Segment
        The last one.
    length : int
        Of the padded prompt.

    Returns
    -------
    Tensor, (B, R, d)

    Raises
    ------
    UnsupportedModelError
        If a place is outside the prompt, or its token was dropped.
    """
    places = torch.where(wanted.cpu() < 0, wanted.cpu() + length, wanted.cpu())
    out = torch.empty(len(segment.rows), len(places), dtype=torch.int64)
    for number, (before, row) in enumerate(zip(entry, segment.rows, strict=True)):
        now = torch.full((length,), -1)
        now[before.slots[row.index]] = row.slots
        inside = (places >= 0) & (places < length)
        found = torch.where(inside, now[places.clamp(0, length - 1)], -1)
        if bool((found < 0).any()):
            raise UnsupportedModelError(
                f"logits_to_keep asks for place {int(places[found < 0][0])} of prompt {number}, whose token is padding "
                "or was dropped, or which is outside the prompt; ask for text tokens, or for a number of last ones"
            )
        out[number] = found
    return hidden.gather(1, out.to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1]))
