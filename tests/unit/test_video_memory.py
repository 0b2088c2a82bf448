"""Stage I of LLaVA-Video needs no more memory than the model itself, whatever the number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_families import llava_video
from torch.profiler import ProfilerActivity, profile

from tops.backbones import adapter_for
from tops.backbones._received import received_attention, received_per_unit


@contextmanager
def peak() -> Iterator[list[int]]:
    """Largest sum of live tensor bytes allocated inside, as torch's own profiler counts them."""
    out: list[int] = []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        yield out
    live = most = 0
    for event in sorted(run.profiler.kineto_results.events(), key=lambda e: e.start_ns()):  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            most = max(most, live)
    out.append(most)


def probe_peak(frames: int, patches: int = 225, width: int = 32) -> int:
    """Peak of the saliency of so many frames, their states not counted."""
    attention: Any = adapter_for(llava_video().model).tower_attention[-1]
    states = torch.randn(frames, patches, width)
    with peak() as bytes_:
        received_per_unit(attention, states, "mean")
    return bytes_[0]


def test_the_probe_is_flat_in_frames() -> None:
    few, many = probe_peak(2), probe_peak(16)
    assert few > 4 * 225 * 225 * 4, "the profiler sees the attention map of one frame"
    # What may grow is the answer: one float a patch and frame, and the list it is joined from.
    assert many - few <= 2 * 4 * 225 * 14


def test_received_attention_is_worked_on_in_blocks() -> None:
    queries = torch.randn(1, 4, 1024, 8)
    with peak() as whole:
        received_attention(queries, queries, 1.0, rows=1024)
    with peak() as blocks:
        received_attention(queries, queries, 1.0, rows=64)
    assert blocks[0] < whole[0] / 6


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 16])
def test_less_than_the_model_needs_for_its_frames(frames: int) -> None:
    """The tower itself holds all frames' hidden states; the probe adds one frame's attention."""
    case = llava_video(frames)
    tower, pixels = case.model.model.vision_tower, case.inputs["pixel_values_videos"][0]
    attention: Any = adapter_for(case.model).tower_attention[-1]
    with peak() as model:
        states = tower(pixels).last_hidden_state
    with peak() as probe:
        received_per_unit(attention, states, "mean")
    assert probe[0] < model[0] / 2
