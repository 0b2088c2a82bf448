"""A pruning point made of arrays instead of a model: for golden vectors, benchmarks and tests of methods.

Authors of methods in other packages use it too: ``Method(budget=9).select(ArrayPoint(keep=9, tokens=grid_tokens(x)))``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from tops.budget import PromptShape
from tops.errors import MissingSignalError
from tops.signals import Signal, TextSignals, Tower, TowerLayer, VisionSignals
from tops.tokens import VisualTokens


def grid_tokens(features: Tensor, *, units: int = 1, images: int = 1, columns: int | None = None) -> VisualTokens:
    """Tokens of ``units`` equal tiles, ``units // images`` to an image, each a full grid.

    Parameters
    ----------
    features : Tensor, (N, d)
        Their vectors; N is a multiple of ``units``.
    units, images : int
        Tiles of the prompt, and images they belong to.
    columns : int, optional
        Width of a tile's grid; by default the largest divisor that is not above the square root, from a square down.
    """
    total = features.shape[0]
    size = total // units
    if columns is None:
        columns = size // max(r for r in range(1, int(size**0.5) + 1) if size % r == 0)
    index = torch.arange(total, device=features.device)
    unit, place = index // size, index % size
    return VisualTokens(
        features=features,
        index=index,
        unit=unit,
        image=unit // (units // images),
        row=place // columns,
        col=place % columns,
        newline=torch.zeros_like(index, dtype=torch.bool),
    )


@dataclass
class ArrayVision:
    """Vision signals from arrays; shapes as in :class:`tops.signals.VisionSignals`. What is None is missing."""

    cls: Tensor | None = None  # (U, H, 1 + n)
    encoder: Tensor | None = None  # (U, 1 + n, c)
    feature_keys: Tensor | None = None  # (U, H, 1 + n, c / H)
    last_keys: Tensor | None = None
    feature_query: Tensor | None = None  # (U, H, c / H)
    last_query: Tensor | None = None
    joint: Tensor | None = None  # (U, n, j)
    projector: Tensor | None = None  # (c, d); None projects by the identity
    received: Tensor | None = None  # (N,) saliency where there is no CLS
    inputs: Tensor | None = None  # (N0, d)
    order: Tensor | None = None  # (N,) patches of all units in prompt order; None: unit after unit
    cls_at: Mapping[TowerLayer, Tensor] = field(default_factory=dict)  # ``cls`` of other layers
    received_at: Mapping[TowerLayer, Tensor] = field(default_factory=dict)  # (N,) attention received, of any layer
    tower: Tower = field(default_factory=lambda: Tower(24, 22, tuple(range(24))))

    @property
    def signals(self) -> frozenset[Signal]:
        have = {
            Signal.SALIENCY: self.cls is not None or self.received is not None,
            Signal.RECEIVED: self.received is not None or bool(self.received_at),
            Signal.CLS: self.cls is not None,
            Signal.ENCODER: self.encoder is not None,
            Signal.TEXT_TOWER: self.joint is not None,
        }
        return frozenset(signal for signal, there in have.items() if there)

    def embeddings(self) -> Tensor:
        return _there(self.inputs, "input embeddings")

    def saliency(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        if self.received is not None:
            return self.attention_received(reduce=reduce, layer=layer)
        rows = self.cls_attention(layer=layer)[:, :, 1:].float()
        return self.packed(rows.mean(1) if reduce == "mean" else rows.sum(1))

    def attention_received(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        given = self.received_at.get(layer, self.received if layer == "feature" else None)
        return _there(given, Signal.RECEIVED).float()

    def encoder_features(self) -> Tensor:
        return _there(self.encoder, Signal.ENCODER)

    def encoder_keys(self, *, layer: TowerLayer = "feature") -> Tensor:
        return _there(self.feature_keys if layer == "feature" else self.last_keys, Signal.ENCODER)

    def encoder_cls_query(self, *, layer: TowerLayer = "feature") -> Tensor:
        return _there(self.feature_query if layer == "feature" else self.last_query, Signal.ENCODER)

    def cls_attention(self, *, layer: TowerLayer = "feature") -> Tensor:
        return _there(self.cls_at.get(layer, self.cls if layer == "feature" else None), Signal.CLS)

    def joint_embeddings(self) -> Tensor:
        return _there(self.joint, Signal.TEXT_TOWER)

    def project(self, rows: Tensor) -> Tensor:
        return rows if self.projector is None else rows @ self.projector

    def packed(self, per_patch: Tensor) -> Tensor:
        values = per_patch.flatten(0, 1)
        return values if self.order is None else values[self.order]


@dataclass
class ArrayText:
    """Text signals from arrays; shapes as in :class:`tops.signals.TextSignals`."""

    question: str = ""
    tokens: Tensor | None = None  # (T, d)
    clip: Tensor | None = None  # (M, j)

    def embeddings(self) -> Tensor:
        return _there(self.tokens, "text embeddings")

    def clip_embeddings(self, text: str, *, segments: bool) -> Tensor:
        clip = _there(self.clip, Signal.TEXT_TOWER)
        return clip if segments else clip[:1]


@dataclass
class ArrayPoint:
    """A :class:`tops.signals.PruningPoint` from arrays, its visual tokens ``start`` places into a sequence of L."""

    keep: int
    tokens: VisualTokens
    vision: VisionSignals = field(default_factory=ArrayVision)
    text: TextSignals = field(default_factory=ArrayText)
    shape: PromptShape = field(default_factory=lambda: PromptShape(visual=0, depth=8))
    layer: int = 0
    sample: str = ""
    memory: dict[str, Tensor] = field(default_factory=dict)
    start: int = 0
    length: int = 0
    states: Tensor | None = None  # (L, d)
    own: Tensor | None = None  # (H, L, L), or rows that a method asks for by place
    previous: Tensor | None = None
    unrotated: Tensor | None = None  # ``own`` without RoPE
    own_keys: Tensor | None = None  # (KV, L, head_dim)
    previous_keys: Tensor | None = None
    norm: tuple[Tensor, float] | None = None  # weight and eps of the final RMS norm
    ids: Tensor | None = None

    @property
    def initial(self) -> int:
        return self.shape.visual

    @property
    def positions(self) -> Tensor:
        return torch.arange(self.length) if self.ids is None else self.ids

    @property
    def visual_slots(self) -> Tensor:
        return torch.arange(self.start, self.start + len(self.tokens), device=self.tokens.index.device)

    @property
    def text_slots(self) -> Tensor:
        return torch.arange(self.start + len(self.tokens), self.length, device=self.tokens.index.device)

    def hidden(self) -> Tensor:
        return _there(self.states, "hidden states")

    def attention(self, rows: Tensor, *, layer: Literal["own", "previous"] = "own", rope: bool = True) -> Tensor:
        if not rope:
            return _there(self.unrotated, "attention without RoPE")[:, rows]
        return _there(self.own if layer == "own" else self.previous, f"attention of the {layer} layer")[:, rows]

    def keys(self, *, layer: Literal["own", "previous"] = "own") -> Tensor:
        return _there(self.own_keys if layer == "own" else self.previous_keys, f"keys of the {layer} layer")

    def final_norm(self, hidden: Tensor) -> Tensor:
        weight, eps = self.norm if self.norm is not None else (torch.ones(hidden.shape[-1]), 1e-6)
        return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + eps) * weight


def _there(value: Tensor | None, what: object) -> Tensor:
    if value is None:
        raise MissingSignalError(f"this pruning point has no {what}; give the array, or choose a method without it")
    return value
