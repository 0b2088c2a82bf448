"""Encoder features of the visual tokens: what methods written for CLIP compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


def patch_features(point: PruningPoint) -> Tensor:
    """(N, c): the encoder's feature of every visual token, CLS left out. Needs ``Signal.ENCODER``."""
    return point.vision.packed(point.vision.encoder_features()[:, 1:])


def encoder_row(point: PruningPoint) -> Tensor:
    """(N,) int64: the row of every visual token in the encoder features of all units, (U * (1 + n), c).

    For methods that read few rows, or each only once: :func:`patch_features` copies all of them.
    """
    import torch

    features = point.vision.encoder_features()
    units, rows = features.shape[:2]
    numbers = torch.arange(units * rows, device=features.device).view(units, rows)
    return point.vision.packed(numbers[:, 1:])


def patch_or_token_features(point: PruningPoint) -> Tensor:
    """(N, c): encoder features where a token is one encoder row, else (InternVL3, Qwen2.5-VL) projected tokens."""
    return patch_features(point) if Signal.ENCODER in point.vision.signals else point.tokens.features
