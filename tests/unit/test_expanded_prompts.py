"""Beams and returned sequences: every row of a sample has that sample's images, question and name."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from oracles.reference import MARKS, generate, pad_left
from probes import Fixed, Given
from tiny_families import FAMILIES

from tops import prune
from tops.errors import ConfigurationError
from tops.signals import PruningPoint
from tops.tokens import Selection

BUILDERS = {"llava": tiny.llava, **FAMILIES}
VIDEOS = ("llava-video", "qwen2.5-vl-video", "llava-onevision-video")
OPTIONS: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "suppress_tokens": MARKS}


@pytest.mark.parametrize("name", BUILDERS)
@torch.no_grad()
def test_returned_sequences_of_several_images_are_the_greedy_one(name: str) -> None:
    """Sampling from the most likely token alone: every returned row is what greedy decoding gives its sample."""
    case, other = BUILDERS[name](2), BUILDERS[name](2, seed=3)
    batch = pad_left([case.inputs, other.inputs])
    with prune(case.model, Fixed((0, 2)), record_kept=True) as run:
        greedy = generate(case.model, batch, 3)[0]
        kept = run.kept
        options = {**OPTIONS, "do_sample": True, "top_k": 1}
        rows = case.model.generate(**batch, **options, num_return_sequences=2)[:, -3:]
        assert kept is not None
        assert run.kept == [kept[0], kept[0], kept[1], kept[1]]
        assert torch.equal(rows, greedy.repeat_interleave(2, 0))
        beams = case.model.generate(**batch, **OPTIONS, num_beams=2)[:, -3:]
        alone = [case.model.generate(**one, **OPTIONS, num_beams=2)[:, -3:] for one in (case.inputs, other.inputs)]
    assert torch.equal(beams, torch.cat(alone))
    assert "_expand_inputs_for_generation" not in vars(case.model)


@pytest.mark.parametrize("expansion", [{"num_beams": 2}, {"num_return_sequences": 3, "do_sample": True}])
def test_questions_and_names_are_repeated(expansion: dict[str, Any]) -> None:
    case, asked = tiny.llava(), []

    def select(point: PruningPoint) -> Selection:
        asked.append((point.text.question, point.sample))
        return Selection(torch.tensor([0]))

    batch = pad_left([case.inputs, case.inputs])
    with prune(case.model, Given({0: select}), question=["how many?", "where?"]) as run:
        run.sample = ["gqa/1", "gqa/2"]
        case.model.generate(**batch, **{**OPTIONS, **expansion})
    times = max(expansion.get("num_beams", 1), expansion.get("num_return_sequences", 1))
    assert asked == [("how many?", "gqa/1")] * times + [("where?", "gqa/2")] * times


@pytest.mark.parametrize("count", [1, 3])
def test_lists_of_another_length_are_refused_before_any_compute(count: int) -> None:
    case = tiny.llava()
    batch = pad_left([case.inputs, case.inputs])
    guard = case.model.model.vision_tower.register_forward_pre_hook(lambda *_: pytest.fail("the tower ran"))
    with guard, prune(case.model, Fixed()) as run:
        for told in ("question", "sample"):
            setattr(run, told, ["one"] * count)
            for call in (case.model, case.model.generate):
                with pytest.raises(ConfigurationError, match=rf"run.{told} has {count} entries.* 2 sample"):
                    call(**batch)
            setattr(run, told, "")
