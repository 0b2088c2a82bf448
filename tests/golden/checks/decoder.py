"""Whole forward passes: the golden decoder inside a LLaVA model, pruned by the engine through its real hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from tops.backbones.base import Adapter
from tops.backbones.llava15 import Llava15
from tops.budget import PromptShape, Schedule
from tops.methods.base import Method
from tops.signals import PruningPoint
from tops.testing import ArrayVision, grid_tokens
from tops.tokens import Selection

from .compare import Arrays, Comparison


class Decoder:
    """A LLaVA model with given decoder weights, in which each prompt place is a word of its own.

    The tower and projector run as they are; a hook replaces what the projector puts out by the recorded visual tokens.

    Parameters
    ----------
    weights : mapping of str to Tensor
        State of ``LlamaModel`` without embeddings.
    embeds : Tensor, (L, d)
        Embeddings of the prompt's places and of everything fed later.
    heads, kv_heads : int
        Attention heads.
    eps, theta : float
        Epsilon of the norms, base of RoPE.
    """

    def __init__(
        self, weights: dict[str, Tensor], embeds: Tensor, *, heads: int, kv_heads: int, eps: float, theta: float
    ) -> None:
        from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

        depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
        self.image_id = len(embeds)
        config = LlavaConfig(
            text_config=LlamaConfig(
                vocab_size=len(embeds) + 1,
                hidden_size=embeds.shape[1],
                intermediate_size=weights["layers.0.mlp.gate_proj.weight"].shape[0],
                num_hidden_layers=depth,
                num_attention_heads=heads,
                num_key_value_heads=kv_heads,
                attention_bias="layers.0.self_attn.q_proj.bias" in weights,
                max_position_embeddings=4096,
                rms_norm_eps=eps,
                rope_parameters={"rope_type": "default", "rope_theta": theta},
                pad_token_id=None,
                bos_token_id=None,
                eos_token_id=None,
            ),
            vision_config=CLIPVisionConfig(
                hidden_size=8,
                intermediate_size=8,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=1,
                patch_size=1,
                projection_dim=8,
            ),
            image_token_index=self.image_id,
            image_seq_length=1,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
        self.model = cast(Any, LlavaForConditionalGeneration(config))
        self.model.eval()
        self.adapter: Adapter = Llava15(self.model)
        text: Any = self.adapter.text_model
        text.load_state_dict({"embed_tokens.weight": torch.cat([embeds, embeds[:1]]), **weights})

    @classmethod
    def of_one_layer(
        cls,
        norm: Tensor,
        query: Tensor,
        key: Tensor,
        *,
        heads: int,
        eps: float,
        theta: float,
        kv_heads: int | None = None,
        biases: tuple[Tensor, Tensor] | None = None,
    ) -> Decoder:
        """A single layer of which only the input norm and the query and key projections matter."""
        width = len(norm)
        weights = {
            "layers.0.input_layernorm.weight": norm,
            "layers.0.self_attn.q_proj.weight": query,
            "layers.0.self_attn.k_proj.weight": key,
            "layers.0.self_attn.v_proj.weight": torch.zeros_like(key),
            "layers.0.self_attn.o_proj.weight": torch.zeros(width, width),
            "layers.0.mlp.gate_proj.weight": torch.zeros(width, width),
            "layers.0.mlp.up_proj.weight": torch.zeros(width, width),
            "layers.0.mlp.down_proj.weight": torch.zeros(width, width),
            "layers.0.post_attention_layernorm.weight": torch.ones(width),
            "norm.weight": torch.ones(width),
        }
        if biases is not None:
            weights["layers.0.self_attn.q_proj.bias"], weights["layers.0.self_attn.k_proj.bias"] = biases
            weights["layers.0.self_attn.v_proj.bias"] = torch.zeros_like(biases[1])
            weights["layers.0.self_attn.o_proj.bias"] = torch.zeros(width)
        kv_heads = heads if kv_heads is None else kv_heads
        return cls(weights, torch.zeros(1, width), heads=heads, kv_heads=kv_heads, eps=eps, theta=theta)

    @contextmanager
    def watched(self, visual: Tensor, vision: ArrayVision | None) -> Iterator[dict[str, list[Any]]]:
        """Show these visual tokens, and these signals; note the final norm's output and each layer's rotary angles."""
        seen: dict[str, list[Any]] = {"hidden": [], "angles": []}

        def show(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            return visual.view(len(output), -1, visual.shape[-1]).to(output)

        def note_hidden(_module: nn.Module, _args: Any, output: Tensor) -> None:
            if output.ndim == 3:  # not a method's own use of the norm
                seen["hidden"].append(output[0])

        def note_angles(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
            seen["angles"].append(kwargs["position_embeddings"])

        outer: Any = self.adapter.outer
        text: Any = self.adapter.text_model
        handles = [
            outer.multi_modal_projector.register_forward_hook(show),
            text.norm.register_forward_hook(note_hidden),
            *(layer.register_forward_pre_hook(note_angles, with_kwargs=True) for layer in text.layers),
        ]
        own = type(self.adapter).vision
        if vision is not None:
            type(self.adapter).vision = lambda _adapter, _context: vision
        try:
            yield seen
        finally:
            type(self.adapter).vision = own
            for handle in handles:
                handle.remove()


class _Watched(Method):
    """A method that remembers the points it chose at, on a prompt that is one image, or a video of equal frames.

    To the model every visual token is an image of its own, so that there may be any number of them.
    """

    def __init__(self, inner: Method, frames: int) -> None:
        self.inner, self.frames = inner, frames
        self.title, self.signals = inner.title, frozenset()  # the file has those it needs
        self.budget, self.positions = inner.budget, inner.positions
        self.points: list[PruningPoint] = []

    def schedule(self, shape: PromptShape) -> Schedule:
        return self.inner.schedule(replace(shape, images=self.frames))

    def select(self, point: PruningPoint) -> Selection:
        if not point.layer:
            point.tokens = grid_tokens(point.tokens.features, units=self.frames, images=self.frames)
        self.points.append(point)
        return self.inner.select(point)


def check_forward(
    case: Arrays, check: Comparison, method: Method, *, frames: int = 1, vision: ArrayVision | None = None
) -> tuple[list[PruningPoint], dict[int, Tensor]]:
    """Prefill output, cache lengths, and positions and outputs of every decode step of a ``model_*.npz`` file.

    Parameters
    ----------
    case, check
        The file, and what takes the outcome.
    method : Method
        As the recorded forward pass used it.
    frames : int
        Frames that the visual tokens are.
    vision : ArrayVision, optional
        Signals of the vision tower, instead of the little one's own.

    Returns
    -------
    list of PruningPoint
        Every cut, as the method saw it.
    dict of int to Tensor
        Original numbers of the visual tokens kept at each cut layer.
    """
    from transformers import DynamicCache

    from tops.engine import prune

    check.absolute = 1e-5
    prompt, steps = case["inputs_embeds"], case["decode_embeds"]
    start, n, length = case.number("image_start"), case.number("image_length"), len(prompt)
    decoder = Decoder(
        {key[2:]: case[key] for key in case.names("w/")},
        torch.cat([prompt, steps]),
        heads=case.number("num_heads"),
        kv_heads=case.number("num_kv_heads"),
        eps=case.real("rms_eps"),
        theta=case.real("rope_theta"),
    )
    depth = len(decoder.adapter.layers)
    check.same("num_layers", depth, case["num_layers"])
    ids = torch.arange(length)
    ids[start : start + n] = decoder.image_id
    cache = DynamicCache()
    watched = _Watched(method, frames)
    with (
        torch.no_grad(),
        prune(decoder.model, watched, record_kept=True) as run,
        decoder.watched(prompt[start : start + n], vision) as seen,
    ):
        decoder.model(
            input_ids=ids[None],
            attention_mask=torch.ones(1, length, dtype=torch.long),
            pixel_values=torch.zeros(n, 3, 1, 1),
            past_key_values=cache,
            use_cache=True,
        )
        check.close("prefill_last_hidden", seen["hidden"][0], case["prefill_last_hidden"])
        check.same("kv_len_after_prefill", _cached(cache), case["kv_len_after_prefill"])
        assert run.kept is not None
        kept = {layer: torch.tensor(indices) for layer, indices in run.kept[0].items()}
        for step in range(len(steps)):
            decoder.model(
                input_ids=torch.tensor([[length + step]]),
                attention_mask=torch.ones(1, length + step + 1, dtype=torch.long),
                position_ids=torch.tensor([[length + step]]),
                past_key_values=cache,
                use_cache=True,
            )
    check.close("decode_hidden", torch.stack([hidden[-1] for hidden in seen["hidden"][1:]]), case["decode_hidden"])
    angles = seen["angles"][depth:]
    positions = torch.tensor([_position(decoder, pair, length + len(steps)) for pair in angles]).view(-1, depth)
    check.same("decode_positions", positions, case["decode_positions"])
    return watched.points, kept


def whole_sequence(case: Arrays, kept: Tensor) -> Tensor:
    """(L',) int64: places of the prompt that stay when these visual tokens do."""
    start, n, length = case.number("image_start"), case.number("image_length"), len(case["inputs_embeds"])
    return torch.cat([torch.arange(start), start + kept, torch.arange(start + n, length)])


def _cached(cache: Any) -> Tensor:
    return torch.tensor([layer.keys.shape[-2] for layer in cache.layers])


def _position(decoder: Decoder, angles: tuple[Tensor, Tensor], below: int) -> int:
    """The position id, below a bound, whose rotary angles these are."""
    cos, sin = angles
    candidates = torch.arange(below)
    all_cos, all_sin = decoder.adapter.rotary(cos, candidates[None])
    distance = (all_cos[0] - cos[0, -1]).abs().sum(-1) + (all_sin[0] - sin[0, -1]).abs().sum(-1)
    return int(distance.argmin())
