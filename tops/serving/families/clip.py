"""CLIP's tower as vLLM builds it: fused projections, and no layer behind the one that the projector reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tops.backbones.base import Seen, Watch, attention_of
from tops.backbones.llava15 import Llava15
from tops.errors import DataError
from tops.serving.images import ImageView
from tops.serving.models import PrunedModel
from tops.signals import Tower

_PART = re.compile(r"(?:^|\.)vision_tower\.(?:vision_model\.)?encoder\.layers\.(\d+)\.(.+)$")
_NEXT = {"layer_norm1": "layer_norm1", "self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj"}


class FusedAttention:
    """An attention module of vLLM with one projection for queries, keys and values, as one with three.

    Parameters
    ----------
    watched : nn.Module
        The module itself.
    """

    def __init__(self, watched: Any) -> None:
        self.watched: nn.Module = watched
        self._fused, self.num_heads, self.scale = watched.qkv_proj, watched.num_heads, watched.scale

    def q_proj(self, states: Tensor) -> Tensor:
        """(..., c) -> (..., c): queries."""
        return self._part(states, 0)

    def k_proj(self, states: Tensor) -> Tensor:
        """(..., c) -> (..., c): keys."""
        return self._part(states, 1)

    def _part(self, states: Tensor, number: int) -> Tensor:
        return self._fused(states)[0].chunk(3, dim=-1)[number]  # type: ignore[no-any-return]


class NextLayer(nn.Module):
    """Norm, queries and keys of the layer behind the tower's last one, which vLLM does not load: methods read them.

    Parameters
    ----------
    config : CLIPVisionConfig
        Of the tower.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        size, self.num_heads = config.hidden_size, config.num_attention_heads
        self.scale = (size // self.num_heads) ** -0.5
        self.layer_norm1 = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.q_proj, self.k_proj = nn.Linear(size, size), nn.Linear(size, size)


class ClipView(ImageView, Llava15):
    """LLaVA's tower in vLLM."""

    @property
    def outer(self) -> nn.Module:
        """The model: vLLM has no model inside it."""
        return self.model

    @property
    def _encoder(self) -> Any:
        tower: Any = self._module(self.model, "vision_tower")
        return tower.vision_model.encoder.layers

    @property
    def _layers(self) -> int:
        return int(self.model.config.vision_config.num_hidden_layers)

    @property
    def feature_layer(self) -> int:
        """Index of the tower layer whose output the projector reads: the last that vLLM loads."""
        layer = int(self.model.config.vision_feature_layer)
        return (layer if layer >= 0 else self._layers + 1 + layer) - 1

    @property
    def tower(self) -> Tower:
        """The tower of the checkpoint."""
        return Tower(self._layers, self.feature_layer, tuple(range(self._layers)))

    @property
    def tower_attention(self) -> list[Any]:
        """Attention of the layers that vLLM loads, and of the one behind them."""
        behind = getattr(self.model, "tops_next_layer", None)
        return [FusedAttention(layer.self_attn) for layer in self._encoder] + ([behind] if behind is not None else [])

    def watches(self, layers: Collection[int] = ()) -> list[Watch]:
        """As in transformers; the layer behind the last one never runs, see :meth:`complete`."""
        found = super().watches(layers)
        return [
            replace(watch, module=watch.module.watched if isinstance(watch.module, FusedAttention) else watch.module)
            for watch in found
            if not isinstance(watch.module, NextLayer)
        ]

    def complete(self, seen: dict[str, list[Seen]]) -> None:
        """What enters the layer behind the last one."""
        behind = getattr(self.model, "tops_next_layer", None)
        if behind is not None:
            with torch.no_grad():
                seen[attention_of(self.feature_layer + 1)] = [
                    Seen(behind.layer_norm1(one.value), {}) for one in seen["features"]
                ]


class ClipModel(PrunedModel):
    """Mixed in before a LLaVA model of vLLM: also loads what methods read of the layer behind its last one."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        view, vision = self.tops_view, vllm_config.model_config.hf_config.vision_config
        self.tops_next_layer = NextLayer(vision) if view.feature_layer + 1 < view.tower.depth else None

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """As vLLM's own; names of checkpoints that transformers 5 saved are brought to those it expects.

        Raises
        ------
        DataError
            If the checkpoint lacks weights of the layer behind the last one.
        """
        own: set[str] = set()
        loaded: set[str] = super().load_weights(self._read(weights, own))  # type: ignore[misc]
        wanted = set() if self.tops_next_layer is None else {n for n, _ in self.tops_next_layer.named_parameters()}
        if own != wanted:
            number = self.tops_view.feature_layer + 1
            raise DataError(
                f"the checkpoint has no {', '.join(sorted(wanted - own))} of layer {number} of its vision tower, which "
                "pruning reads; use the checkpoint as published"
            )
        return loaded | {f"tops_next_layer.{name}" for name in own}

    def _read(self, weights: Iterable[tuple[str, Tensor]], own: set[str]) -> Iterator[tuple[str, Tensor]]:
        for name, value in weights:
            part = _PART.search(name)
            if part is not None and self.tops_next_layer is not None:
                module, _, kind = part[2].rpartition(".")
                if int(part[1]) == self.tops_view.feature_layer + 1 and module in _NEXT:
                    self.tops_next_layer.get_parameter(f"{_NEXT[module]}.{kind}").data.copy_(value)
                    own.add(f"{_NEXT[module]}.{kind}")
            yield _named(name), value


def _named(name: str) -> str:
    """A weight's name with the module between tower and encoder that transformers 5 left out."""
    head, tower, rest = name.partition("vision_tower.")
    return f"{head}{tower}vision_model.{rest}" if tower and not rest.startswith("vision_model.") else name
