"""What a pruned run must equal, and proof that these comparisons notice a wrong position, delta or mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import tiny
import tiny_families
import torch
from oracles.reference import MARKS, adding, entering, extended, flash, generate, masked, pad_left, worst
from probes import Fixed, keep_all
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, masking_utils
from transformers.masking_utils import flash_attention_mask

import tops.engine.segment as segment
from tops.backbones import adapter_for
from tops.engine import prune
from tops.engine.cache import state_of
from tops.engine.decode import Decode
from tops.engine.positions import renumber
from tops.engine.prefill import Prefill

STEPS = 3
FAMILIES = tiny.FAMILIES | tiny_families.FAMILIES
# Both modes where positions have one axis and where they have three; the other families in their default one.
FULL = ("llava", "qwen2.5-vl")
# Several images (or frames) in eager attention, one in sdpa; a video of one frame stands for "one image".
MODES = [
    pytest.param(partial(build, 2, attention="eager") if several else build, mode, id=f"{name}-{mode}{several}")
    for name, build in FAMILIES.items()
    for mode in (("contiguous", "original") if name in FULL else ("contiguous",))
    for several in (("", "-several-eager") if mode == "contiguous" else ("",))
]
each = pytest.mark.parametrize(("build", "positions"), MODES)


@each
def test_keep_all_is_bit_equal(build: Any, positions: Any) -> None:
    case = build()
    if positions == "contiguous":
        case.model.to(torch.bfloat16)
    with torch.no_grad():
        full = case.model(**case.inputs).logits
        tokens, logits = generate(case.model, case.inputs, STEPS)
        with prune(case.model, keep_all(positions)):
            assert torch.equal(case.model(**case.inputs).logits, full)
            kept_tokens, kept_logits = generate(case.model, case.inputs, STEPS)
        assert torch.equal(case.model(**case.inputs).logits, full)
    assert torch.equal(kept_tokens, tokens)
    assert torch.equal(kept_logits, logits)


@each
def test_stage_one_is_a_run_on_shortened_embeddings(build: Any, positions: Any) -> None:
    case, method = build(), Fixed((0,), positions=positions)
    if case.model.config._attn_implementation == "eager":
        case.model.to(torch.bfloat16)  # the same kernels on the same shapes: no rounding differs
    embeds, ids = entering(case.model, case.inputs)
    adapter = adapter_for(case.model)
    visual = torch.isin(case.inputs["input_ids"][0], torch.tensor(adapter.placeholder_ids))
    counts = [int(visual.sum())]
    newline = adapter.layout(case.inputs, counts)[0].newline
    keep = torch.nonzero(~visual | _among(visual, method.kept(0)[: counts[0]] & ~newline))[:, 0]
    places = torch.arange(len(visual)) if ids is None else ids[..., 0, :].cpu()
    axes = places if places.ndim == 1 or len(places) == 3 else places[1:]
    moved, _ = renumber(axes, visual, keep, positions)
    moved = moved[..., None, :]
    whole = torch.cat([torch.arange(len(keep))[None, None], moved]) if moved.ndim == 3 else moved
    short = {"inputs_embeds": embeds[:, keep], "attention_mask": torch.ones(1, len(keep), dtype=torch.int64)}
    if axes.ndim == 2 or positions == "original":  # else transformers numbers them itself, from 0 on
        short["position_ids"] = whole
    with adding(case.model, case.inputs, keep):
        tokens, logits = generate(case.model, short, STEPS)
    with prune(case.model, method) as run:
        got_tokens, got_logits = generate(case.model, case.inputs, STEPS)
    assert run.visual_tokens_per_layer[0] == len(keep) - int((~visual).sum())
    assert torch.equal(got_tokens, tokens)
    assert worst(got_logits, logits) <= 1e-5


def _among(visual: Tensor, flags: Tensor) -> Tensor:
    out = torch.zeros_like(visual)
    out[visual] = flags
    return out


def _mask_error(case: tiny.Case, method: Fixed) -> float:
    """Largest error of a pruned generation against a full-length run with -inf on dropped keys."""
    with prune(case.model, method):
        tokens, logits = generate(case.model, case.inputs, STEPS)
        with torch.no_grad():
            out = case.model(**case.inputs, use_cache=True)
    state = state_of(out.past_key_values)
    assert state is not None
    start, total = state.prompt_length, state.prompt_length + STEPS
    whole = extended(case.inputs, tokens)
    _, ids = entering(case.model, whole)
    full = torch.arange(total) if ids is None else ids[..., 0, :].cpu()
    full = full[1:] if full.ndim == 2 and len(full) == 4 else full
    dropped, positions = {}, {}
    for part in state.segments:
        row = part.rows[0]
        gone = torch.ones(total, dtype=torch.bool)
        gone[start:] = False
        gone[row.index] = False
        new = full.clone()
        if method.positions == "contiguous":
            new[..., row.index] = row.positions
            new[..., start:] += row.delta[..., None]
        dropped[part.start], positions[part.start] = gone, new
    with torch.no_grad(), masked(case.model, dropped, positions):
        reference = case.model(**whole).logits
    decoded = worst(logits, reference[:, start - 1 : -1])
    prefilled = worst(out.logits, reference[:, state.segments[-1].rows[0].index])
    return max(decoded, prefilled)


@each
@pytest.mark.parametrize("layers", [(2, 4), (0, 1, 3)])
def test_cuts_are_a_mask_on_dropped_keys(build: Any, positions: Any, layers: tuple[int, ...]) -> None:
    assert _mask_error(build(), Fixed(layers, positions=positions)) <= 1e-5


def test_the_mask_oracle_sees_a_position_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(positions: Tensor, visual: Tensor, source: Tensor, mode: Any) -> tuple[Tensor, Tensor]:
        new, shift = renumber(positions, visual, source, mode)
        return torch.where(visual[source], new + 1, new), shift

    monkeypatch.setattr(segment, "renumber", wrong)
    # The reference must not read the wrong positions back from the engine, so it keeps the original ones.
    assert _mask_error(tiny.llava(), Fixed((2, 4), positions="original")) > 1e-2


def test_the_mask_oracle_sees_a_dropped_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Decode.layer

    def wrong(self: Decode, number: int, hidden: Tensor) -> Any:
        self.state.segments[:] = [replace(s, delta=torch.zeros_like(s.delta)) for s in self.state.segments]
        return real(self, number, hidden)

    monkeypatch.setattr(Decode, "layer", wrong)
    assert _mask_error(tiny.llava(), Fixed((2, 4), positions="contiguous")) > 1e-2


def test_the_mask_oracle_sees_features_added_to_the_wrong_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut at layer 1 or 2 must take along what DeepStack still adds behind these layers."""
    real = Prefill.still_there

    def wrong(self: Prefill, mask: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        there, kept = real(self, mask, features)
        return there, kept.roll(1, 0) if len(kept) < len(features) else kept

    assert _mask_error(tiny_families.qwen3vl(), Fixed((1, 2), positions="original")) <= 1e-5
    monkeypatch.setattr(Prefill, "still_there", wrong)
    assert _mask_error(tiny_families.qwen3vl(), Fixed((1, 2), positions="original")) > 1e-2


def test_the_mask_oracle_sees_a_future_token(monkeypatch: pytest.MonkeyPatch) -> None:
    real = masking_utils.create_causal_mask

    def wrong(**options: Any) -> Any:
        mask = real(**options, allow_is_causal_skip=False)
        return torch.ones_like(mask) if mask.dtype == torch.bool else torch.zeros_like(mask)

    monkeypatch.setattr(masking_utils, "create_causal_mask", wrong)
    assert _mask_error(tiny.llava(), Fixed((2, 4), positions="original")) > 1e-2


@each
def test_cached_generation_is_recomputation(build: Any, positions: Any) -> None:
    case = build()
    with prune(case.model, Fixed((0, 1, 3), positions=positions)) as run:
        tokens, logits = generate(case.model, case.inputs, STEPS)
        again, recomputed = generate(case.model, case.inputs, STEPS, use_cache=False)
        for given in (True, False):
            assert worst(_by_hand(case, tokens, given), logits) <= 1e-5
    assert torch.equal(tokens, again)
    assert worst(logits, recomputed) <= 1e-5
    assert len(run.prompts) == 4, "a recomputed prompt is one prompt"


@torch.no_grad()
def _by_hand(case: tiny.Case, tokens: Tensor, give_mask: bool) -> Tensor:
    out = case.model(**case.inputs, use_cache=True)
    logits, mask = [out.logits[:, -1]], case.inputs["attention_mask"]
    for token in tokens.T[:-1]:
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        options = {"attention_mask": mask} if give_mask else {}
        out = case.model(input_ids=token[:, None], past_key_values=out.past_key_values, use_cache=True, **options)
        logits.append(out.logits[:, -1])
    return torch.stack(logits, 1)


@each
def test_a_padded_row_is_batch_one(build: Any, positions: Any) -> None:
    case, other = build(), build(seed=3)
    batch = pad_left([case.inputs, other.inputs])
    method = Fixed((0, 1, 3), positions=positions)
    with prune(case.model, method) as run:
        alone = [generate(case.model, inputs, STEPS) for inputs in (case.inputs, other.inputs)]
        tokens, logits = generate(case.model, batch, STEPS)
        # With several images in a prompt transformers repeats each image for the beams, not each prompt's images.
        beams = [
            case.model.generate(**i, max_new_tokens=3, num_beams=2, do_sample=False, suppress_tokens=MARKS)
            for i in ((case.inputs, batch) if case.model.config._attn_implementation == "sdpa" else ())
        ]
    assert [r.visual_tokens_per_layer for r in run.prompts[2:4]] == [r.visual_tokens_per_layer for r in run.prompts[:2]]
    assert torch.equal(tokens, torch.cat([a[0] for a in alone]))
    assert worst(logits, torch.cat([a[1] for a in alone])) <= 1e-5
    if beams:
        assert torch.equal(beams[0][0, -3:], beams[1][0, -3:])


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("build", FAMILIES.values(), ids=FAMILIES)
def test_sdpa_is_eager(build: Any, positions: Any) -> None:
    method = Fixed((0, 1, 3), positions=positions)
    got = []
    for attention in ("sdpa", "eager"):
        case = build(attention=attention)
        with prune(case.model, method):
            got.append(generate(case.model, case.inputs, STEPS))
    assert torch.equal(got[0][0], got[1][0])
    assert worst(got[0][1], got[1][1]) <= 1e-5


@pytest.fixture
def flash_contract() -> Iterator[str]:
    """FlashAttention's contract under a name of its own: the kernel itself needs a GPU."""
    name = "flash_contract"
    AttentionInterface.register(name, flash)
    AttentionMaskInterface.register(name, flash_attention_mask)
    yield name
    AttentionInterface._global_mapping.pop(name)
    AttentionMaskInterface._global_mapping.pop(name)


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("build", [FAMILIES[name] for name in FULL], ids=FULL)
def test_flash_attention_is_sdpa(build: Any, positions: Any, flash_contract: str) -> None:
    method = Fixed((0, 1, 3), positions=positions)
    case, other = build(), build(seed=3)
    prompts = (case.inputs, pad_left([case.inputs, other.inputs]))
    got = []
    for attention in ("sdpa", flash_contract):
        case.model.config.text_config._attn_implementation = attention
        with prune(case.model, method):
            got.append([generate(case.model, inputs, STEPS) for inputs in prompts])
    for sdpa, other_kernel in zip(*got, strict=True):
        assert torch.equal(sdpa[0], other_kernel[0])
        assert worst(sdpa[1], other_kernel[1]) <= 1e-5
