"""Pruning points with every signal, for tests of methods: one random scene, its patches in any order."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.budget import PromptShape
from tops.testing import ArrayPoint, ArrayText, ArrayVision, grid_tokens

HEADS, WIDTH, TEXT, START = 4, 16, 6, 3


def scene(
    keep: int,
    *,
    layer: int = 0,
    images: int = 1,
    tiles: int = 1,
    side: int = 6,
    seed: int = 0,
    order: Tensor | None = None,
    depth: int = 8,
) -> ArrayPoint:
    """A cut with ``images * tiles`` units of ``side`` x ``side`` tokens; ``order`` permutes the patches of all units.

    Unit u of any scene with one seed holds the same numbers, whatever other units there are."""
    units, n = images * tiles, side * side
    parts = [_unit(seed + u, n) for u in range(units)]
    hidden, keys, last, joint, features, states, attention, llm_keys = (
        torch.stack(part) for part in zip(*parts, strict=True)
    )
    if order is not None:
        moved = torch.cat([torch.zeros(1, dtype=torch.int64), order + 1])
        hidden, keys, last = hidden[:, moved], keys[:, :, moved], last[:, :, moved]
        joint, features, states, attention = (x[:, order] for x in (joint, features, states, attention))
        llm_keys = llm_keys[:, order]
    generator = torch.Generator().manual_seed(99)
    text = torch.randn(TEXT, WIDTH, generator=generator)
    before = torch.randn(START, WIDTH, generator=generator)
    length = START + units * n + TEXT
    whole = torch.zeros(HEADS, length, length)
    # Every query gives visual tokens what their unit says; rows need not sum to one here.
    whole[:, :, START : START + units * n] = attention.flatten(0, 1).T[:, None] * torch.rand(
        HEADS, length, 1, generator=generator
    )
    cls = torch.rand(units, HEADS, n + 1, generator=torch.Generator().manual_seed(5))
    cls[:, :, 1:] = hidden[:, 1:, :HEADS].abs().transpose(1, 2)
    received = hidden[:, 1:, -1].abs().flatten()
    edge_keys = torch.randn(2, START + TEXT, 8, generator=generator)
    text_keys = torch.cat([edge_keys[:, :START], llm_keys.flatten(0, 1).transpose(0, 1), edge_keys[:, START:]], 1)
    return ArrayPoint(
        keep=keep,
        layer=layer,
        shape=PromptShape(units * n, depth, images),
        tokens=grid_tokens(features.flatten(0, 1), units=units, images=images),
        vision=ArrayVision(
            cls=cls,
            encoder=hidden,
            feature_keys=keys,
            last_keys=last,
            feature_query=last[:, :, 0],
            last_query=last[:, :, 0],
            joint=joint,
            inputs=features.flatten(0, 1),
            cls_at={5: cls.roll(1, 1).square()},
            received_at={"feature": received, 8: received.roll(1).square()},
        ),
        text=ArrayText("What is it?", tokens=text, clip=torch.randn(2, 8, generator=torch.Generator().manual_seed(7))),
        start=START,
        length=length,
        states=torch.cat([before, states.flatten(0, 1), text]),
        own=whole,
        previous=whole,
        own_keys=text_keys,
        previous_keys=text_keys,
        sample="scene",
    )


def _unit(seed: int, n: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    features = draw(n, WIDTH)
    return (
        draw(n + 1, WIDTH),  # encoder features
        draw(HEADS, n + 1, WIDTH // HEADS),
        draw(HEADS, n + 1, WIDTH // HEADS),
        draw(n, 8),  # joint space
        features,
        features + 0.5 * draw(n, WIDTH),  # states in the decoder
        draw(n, HEADS).abs(),  # attention that each token draws
        draw(n, 2, 8),  # keys in the decoder
    )
