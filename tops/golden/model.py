"""Whole forward passes: the golden decoder inside a LLaVA model, pruned by the engine through its real hooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from tops.backbones.base import Adapter
from tops.backbones.llava15 import Llava15
from tops.budget import Budget
from tops.golden.compare import Arrays, Comparison
from tops.methods.base import Method
from tops.methods.dart import DART
from tops.methods.fastv import FastV
from tops.methods.pdrop import PyramidDrop
from tops.methods.sparsevlm import SparseVLM
from tops.signals import PruningPoint
from tops.tokens import Selection

PER_IMAGE = 4  # visual tokens of one image of the little tower


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
                image_size=2,
                patch_size=1,
                projection_dim=8,
            ),
            image_token_index=self.image_id,
            image_seq_length=PER_IMAGE,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
        self.model = cast(Any, LlavaForConditionalGeneration(config))
        self.model.eval()
        self.adapter: Adapter = Llava15(self.model)
        text: Any = self.adapter.text_model
        text.load_state_dict({"embed_tokens.weight": torch.cat([embeds, embeds[:1]]), **weights})

    @classmethod
    def of_one_layer(cls, norm: Tensor, query: Tensor, key: Tensor, *, heads: int, eps: float, theta: float) -> Decoder:
        """A single layer of which only the input norm and the query and key projections matter."""
        width = len(norm)
        weights = {
            "layers.0.input_layernorm.weight": norm,
            "layers.0.self_attn.q_proj.weight": query,
            "layers.0.self_attn.k_proj.weight": key,
            "layers.0.self_attn.v_proj.weight": torch.zeros(width, width),
            "layers.0.self_attn.o_proj.weight": torch.zeros(width, width),
            "layers.0.mlp.gate_proj.weight": torch.zeros(width, width),
            "layers.0.mlp.up_proj.weight": torch.zeros(width, width),
            "layers.0.mlp.down_proj.weight": torch.zeros(width, width),
            "layers.0.post_attention_layernorm.weight": torch.ones(width),
            "norm.weight": torch.ones(width),
        }
        return cls(weights, torch.zeros(1, width), heads=heads, kv_heads=heads, eps=eps, theta=theta)

    @contextmanager
    def watched(self, visual: Tensor) -> Iterator[dict[str, list[Any]]]:
        """Show these visual tokens; note what the final norm puts out and which rotary angles each layer gets."""
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
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()


class _Seeing:
    """A method that remembers the points it chose at."""

    def __init__(self, inner: Method) -> None:
        self.inner = inner
        self.points: list[PruningPoint] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def select(self, point: PruningPoint) -> Selection:
        self.points.append(point)
        return self.inner.select(point)


def method_of(name: str, case: Arrays) -> Method:
    """The method as a recorded forward pass used it."""
    n = case.number("image_length")
    if name == "fastv":
        keep = round(n * (1 - case.real("prune_ratio")))
        return FastV(budget=Budget(keep / n, "kept"), layer=case.number("prune_layer"), of=None)
    if name == "pdrop":
        ratios = tuple(case["ratio_list"].tolist()[1:])
        return PyramidDrop(layers=tuple(case["layer_list"].tolist()), keeps=ratios, of=None)
    if name == "dart":
        pivots = case.number("pivot_image_token"), case.number("pivot_text_token")
        keep = pivots[0] + sum(pivots) * (case.number("max_num_trunction") // 8)
        return DART(
            budget=Budget(keep / n, "kept"),
            layer=case.number("prune_layer"),
            of=None,
            image_pivots=pivots[0],
            text_pivots=pivots[1],
            fill=False,
        )
    # The official code prunes at the output of a layer: before the next one.
    layers = tuple(layer + 1 for layer in case["pruning_loc"].tolist())
    return SparseVLM(layers=layers, keeps=tuple(case["budgets"].tolist()), of=None)


def check_model(name: str, case: Arrays, check: Comparison) -> None:
    """Kept tokens, prefill output, cache lengths, and positions and outputs of every decode step.

    Parameters
    ----------
    name : str
        fastv, pdrop, sparsevlm or dart.
    case : Arrays
        A ``model_*.npz`` file.
    check : Comparison
        Takes the outcome.
    """
    from transformers import DynamicCache

    from tops.engine import prune

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
    pixels = torch.zeros(n // PER_IMAGE, 3, 2, 2)
    method = _Seeing(method_of(name, case))
    with (
        torch.no_grad(),
        prune(decoder.model, cast(Method, method), record_kept=True) as run,
        decoder.watched(prompt[start : start + n]) as seen,
    ):
        decoder.model(
            input_ids=ids[None],
            attention_mask=torch.ones(1, length, dtype=torch.long),
            pixel_values=pixels,
            past_key_values=cache,
            use_cache=True,
        )
        check.close("prefill_last_hidden", seen["hidden"][0], case["prefill_last_hidden"])
        check.same("kv_len_after_prefill", _cached(cache), case["kv_len_after_prefill"])
        kept = run.kept
        assert kept is not None
        _check_kept(name, case, check, kept[0])
        _check_scores(name, case, check, method)
        for step in range(len(steps)):
            decoder.model(
                input_ids=torch.tensor([[length + step]]),
                attention_mask=torch.ones(1, length + step + 1, dtype=torch.long),
                position_ids=torch.tensor([[length + step]]),
                past_key_values=cache,
                use_cache=True,
            )
    check.close("decode_hidden", torch.stack([hidden[-1] for hidden in seen["hidden"][1:]]), case["decode_hidden"])
    positions = [
        [_position(decoder, angles) for angles in seen["angles"][depth * s : depth * (s + 1)]] for s in range(1, 4)
    ]
    check.same("decode_positions", torch.tensor(positions), case["decode_positions"])


def _check_kept(name: str, case: Arrays, check: Comparison, kept: dict[int, list[int]]) -> None:
    """Visual tokens kept at each cut, as the file records them."""
    start, n, length = case.number("image_start"), case.number("image_length"), len(case["inputs_embeds"])
    after = torch.arange(start + n, length)
    stages = [torch.tensor(kept[layer]) for layer in sorted(kept)]
    if name in ("fastv", "dart"):
        whole = torch.cat([torch.arange(start), start + stages[0], after])
        check.same("keep_indices", whole, case["keep_indices"])
    elif name == "pdrop":
        for stage, indices in enumerate(stages):
            whole = torch.cat([torch.arange(start), start + indices, after])
            check.same(f"kept_original_stage{stage}", whole, case[f"kept_original_stage{stage}"])
    else:
        # Offsets inside the block of a stage, merged tokens of earlier stages last.
        block: Sequence[int] = range(n)
        for stage, (indices, budget) in enumerate(zip(stages, case["budgets"].tolist(), strict=True)):
            check.same(f"num_clusters[{stage}]", len(indices) - budget, case["num_clusters"][stage])
            block = list(block)
            places = torch.tensor([block.index(index) for index in indices[:budget].tolist()])
            check.same(f"kept_visual_stage{stage}", places, case[f"kept_visual_stage{stage}"])
            block = indices.tolist()
            case[f"density_noise_stage{stage}"]


def _check_scores(name: str, case: Arrays, check: Comparison, method: _Seeing) -> None:
    """What the file tells of the reasons."""
    point = method.points[0]
    if isinstance(method.inner, FastV):
        check.close("score_visual", method.inner.scores(point), case["score_visual"])
    elif name == "sparsevlm":
        check.same("rater_indices", point.text_slots[point.memory["raters"]], case["rater_indices"])


def _cached(cache: Any) -> Tensor:
    return torch.tensor([layer.keys.shape[-2] for layer in cache.layers])


def _position(decoder: Decoder, angles: tuple[Tensor, Tensor]) -> int:
    """The position id whose rotary angles these are."""
    cos, sin = angles
    candidates = torch.arange(1024)
    all_cos, all_sin = decoder.adapter.rotary(cos, candidates[None])
    distance = (all_cos[0] - cos[0, -1]).abs().sum(-1) + (all_sin[0] - sin[0, -1]).abs().sum(-1)
    return int(distance.argmin())
