"""Encoder features of the visual tokens: what methods written for CLIP compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


def patch_features(point: PruningPoint) -> Tensor:
    """(N, c): the encoder's feature of every visual token, CLS left out. Needs ``Signal.ENCODER``."""
    return point.vision.packed(point.vision.encoder_features()[:, 1:])


def patch_or_token_features(point: PruningPoint) -> Tensor:
    """(N, c): encoder features where a token is one encoder row, else (InternVL3, Qwen2.5-VL) projected tokens."""
    return patch_features(point) if Signal.ENCODER in point.vision.signals else point.tokens.features
