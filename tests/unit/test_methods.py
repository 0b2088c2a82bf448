"""One list drives every method through the same properties. A new file under tops/methods enters by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny
import tiny_families
import torch
from scenes import scene
from test_loading import encoder

from tops.budget import PROTOCOLS, Budget, Cut, PromptShape, Schedule
from tops.engine import prune
from tops.engine.cache import state_of
from tops.errors import BudgetError, ConfigurationError, MissingSignalError, NonFiniteError, TopsError
from tops.methods import build, method_class, method_names
from tops.methods._options import declared
from tops.methods.base import Control, InsideModel, Method, adopted
from tops.methods.sparsevlm import recycling
from tops.signals import Signal
from tops.testing import ArrayText, ArrayVision
from tops.tokens import Selection

NAMES = method_names()
BUDGETED = [n for n in NAMES if not issubclass(method_class(n), Control)]
# Where the first cut of a method inside the model lies on the eight layers of a scene.
FIRST = {n: 1 for n in NAMES if issubclass(method_class(n), InsideModel)}
# What compares frames chooses over the whole video.
VIDEO = [n for n in BUDGETED if Signal.FRAMES in method_class(n).signals]
PER_IMAGE = [n for n in BUDGETED if n not in FIRST and n not in VIDEO]
# New or reordered rows: the language model sees them in an order of the method's own.
OWN_ORDER = {"visionzip", "prumerge_plus", "trim", "sparsevlm", "holov", "prunesid"}
# Anchors of new rows may repeat a place that is kept too.
REPEATS = {"visionzip", "prumerge_plus", "trim", "prunesid"}
# What is kept depends on the tokens alone, not on where they lie.
EQUIVARIANT = ["fastv", "pdrop", "dart", "divprune", "scope", "cdpruner", "tops"]


@pytest.fixture(scope="module")
def llava() -> Any:
    return tiny.llava(images=2)


def cut_of(name: str, keep: int) -> Any:
    """A first cut of the method among 36 tokens: of one image, or of four frames."""
    return scene(keep, images=4, side=3) if name in VIDEO else scene(keep, layer=FIRST.get(name, 0))


def chosen(name: str, point: Any, **options: Any) -> Any:
    return build(name, budget=Budget(point.keep, "kept"), **options).select(point)


@pytest.mark.parametrize("name", BUDGETED)
@pytest.mark.parametrize("keep", [5, 9, 20, 35])
def test_right_count_in_order_without_duplicates(name: str, keep: int) -> None:
    point = cut_of(name, keep)
    out = chosen(name, point)
    assert out.indices.dtype == torch.int64
    assert len(out.indices) == keep
    assert int(out.indices.min()) >= 0
    assert int(out.indices.max()) < 36
    if name not in REPEATS:
        assert len(out.indices.unique()) == keep
    if name not in OWN_ORDER:
        assert bool((out.indices.diff() > 0).all())
    assert out.rows is None or out.rows.shape == (keep, 16)


@pytest.mark.parametrize("name", NAMES)
def test_keep_all_is_the_identity(name: str) -> None:
    """By no cut at all, and by a cut that keeps every token."""
    method = build(name)
    assert method.budget.value == 1.0
    for protocol in PROTOCOLS:
        everything = build(name, budget=Budget(1.0, protocol))
        assert everything.schedule(PromptShape(36, 8)).tokens_per_layer == (36,) * 8
        assert everything.schedule(PromptShape(36, 8)).cuts == ()
    point = cut_of(name, 36)
    out = method.select(point)
    rows = point.tokens.features[out.indices] if out.rows is None else out.rows
    assert torch.equal(out.indices, torch.arange(36))
    assert torch.equal(rows, point.tokens.features)


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_a_permutation_of_the_patches_permutes_the_choice(name: str) -> None:
    order = torch.randperm(36, generator=torch.Generator().manual_seed(3))
    plain = chosen(name, scene(12, layer=FIRST.get(name, 0))).indices
    options = {"order": "norm"} if name == "dart" else {}
    if options:
        plain = chosen(name, scene(12, layer=FIRST.get(name, 0)), **options).indices
    moved = chosen(name, scene(12, layer=FIRST.get(name, 0), order=order), **options).indices
    assert set(order[moved].tolist()) == set(plain.tolist())


@pytest.mark.parametrize("name", ["random", "uniform", "free_truncation"])
def test_blind_controls_ignore_what_the_tokens_hold(name: str) -> None:
    assert torch.equal(chosen(name, scene(12)).indices, chosen(name, scene(12, seed=8)).indices)


@pytest.mark.parametrize("name", PER_IMAGE)
@pytest.mark.parametrize("tiles", [1, 2])
def test_an_image_gets_its_share_and_keeps_what_it_keeps_alone(name: str, tiles: int) -> None:
    pair, keep, size = scene(24, images=2, tiles=tiles), 12, 36 * tiles
    together = chosen(name, pair)
    alone = chosen(name, scene(keep, tiles=tiles))
    owner = pair.tokens.image[together.indices]
    assert torch.bincount(owner).tolist() == [keep, keep]
    if name != "random":
        assert torch.equal(together.indices[owner == 0], alone.indices)
        if alone.rows is not None:
            torch.testing.assert_close(together.rows[owner == 0], alone.rows)
    assert int(together.indices[owner == 1].min()) >= size


@pytest.mark.parametrize("name", [n for n in PER_IMAGE if n != "downsampling"])
def test_an_image_without_a_token_is_refused_before_compute(name: str) -> None:
    with pytest.raises(BudgetError, match="image"):
        build(name, budget=0.1).schedule(PromptShape(20, 8, images=4))


@pytest.mark.parametrize("name", PER_IMAGE)
def test_small_images_leave_their_share_to_the_others(name: str) -> None:
    point = scene(16, images=3, side=2)
    assert torch.bincount(point.tokens.image[chosen(name, scene(11, images=3, side=2)).indices]).tolist() == [4, 4, 3]
    assert len(chosen(name, replace(point, keep=12)).indices) == 12


READS = {
    "fastv": ["previous"], "pdrop": ["own"], "sparsevlm": ["previous"], "dart": ["previous_keys", "states"],
    "visionzip": ["cls", "feature_keys"], "scope": ["cls", "encoder"], "cdpruner": ["joint", "features"],
    "trim": ["joint"], "prumerge_plus": ["last_keys"], "divprune": ["features"], "tops": ["cls", "features"],
    "vispruner": ["cls", "encoder"], "holov": ["cls", "features"], "hiprune": ["received_at"],
    "vscan": ["cls", "cls_at", "features"], "prunesid": ["cls", "encoder"], "evs": ["features"],
    "vidcom2": ["features"], "fastvid": ["cls", "features"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "source"), [(n, s) for n, sources in READS.items() for s in sources])
def test_nan_is_refused(name: str, source: str) -> None:
    point = cut_of(name, 12)
    if source == "features":
        point.tokens.features[:] = torch.nan
    else:
        holder = point.vision if hasattr(point.vision, source) else point
        values = getattr(holder, source)
        for tensor in values.values() if isinstance(values, dict) else [values]:
            tensor[:] = torch.nan
    with pytest.raises(NonFiniteError, match="finite"):
        chosen(name, point)


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_that_is_listed_is_needed_and_one_that_is_not_listed_is_not(name: str) -> None:
    needed = method_class(name).signals
    point = cut_of(name, 12)
    full = point.vision
    received = torch.rand(36)
    bare = ArrayVision(received=received, inputs=full.inputs, received_at=dict.fromkeys((5, 8), received))
    if not needed <= {Signal.SALIENCY, Signal.RECEIVED, Signal.FRAMES}:
        bare = full
    method = build(name) if issubclass(method_class(name), Control) else build(name, budget=Budget(12, "kept"))
    method.select(replace(point, vision=bare))
    if needed - {Signal.FRAMES}:
        with pytest.raises(MissingSignalError):
            method.select(replace(point, vision=ArrayVision(), text=ArrayText("What is it?")))


@pytest.mark.parametrize("name", BUDGETED)
def test_a_method_without_a_budget_is_refused_before_compute(name: str, llava: Any) -> None:
    method = build(name)
    with pytest.raises(BudgetError, match="without a budget prunes nothing"):
        method.schedule(PromptShape(36, 8))
    with pytest.raises(BudgetError, match="without a budget prunes nothing"):
        prune(llava.model, method).__enter__()


WORDS = [
    (name, option, words[0])
    for name in NAMES
    for option, (words, _) in declared(method_class(name)).items()
    if isinstance(next(iter(words), None), str)
]


@pytest.mark.parametrize(("name", "option", "word"), WORDS)
def test_a_word_that_is_no_choice_of_an_option_is_refused_with_the_nearest(name: str, option: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option}='{word}x'. Did you mean '{word}'"):
        build(name, **{option: f"{word}x"})


def test_a_method_written_without_the_base_classes_gets_their_defaults(llava: Any) -> None:
    class Bare:
        title, signals, budget, positions = "Bare", frozenset(), Budget(3), None

        def schedule(self, shape: PromptShape) -> Schedule:
            return Schedule(shape.visual, shape.depth, (Cut(0, 3),))

        def select(self, point: Any) -> Selection:
            return Selection(torch.arange(3))

    method = Bare()
    assert adopted(method).with_newlines is False
    assert adopted(method).needs(frozenset()) == frozenset()
    with prune(llava.model, method) as run, torch.no_grad():
        llava.model(**llava.inputs)
    assert run.visual_tokens_per_layer == [3] * tiny.DEPTH


@pytest.mark.parametrize("name", NAMES)
def test_options_are_checked_and_shown(name: str) -> None:
    with pytest.raises(ConfigurationError, match="has no option 'bugdet'"):
        build(name, bugdet=3)
    cls = method_class(name)
    assert cls.__doc__
    assert cls.title
    assert isinstance(build(name), Method)
    hash(build(name))


# The paper's settings: tokens, layers, images or frames, and budgets per image.
PAPER = {
    "llava-1.5-7b": (576, 32, 1, (192, 128, 64, 32)),
    "llava-1.5-13b": (576, 40, 1, (192, 128, 64, 32)),
    "llava-next-7b": (2880, 32, 1, (640, 320, 160)),
    "llava-next-13b": (2880, 40, 1, (640, 320, 160)),
    "qwen2.5-vl-7b": (1296, 28, 1, (256, 128)),
    "internvl3-8b": (1280, 28, 1, (256, 128)),
    "llava-video-7b": (64 * 169, 28, 64, (64, 32, 16)),
    "miniature": (144, 8, 1, (48, 36)),
    "miniature, as few as table 1 asks": (144, 8, 1, (8,)),
}
SETTINGS = [(b, v, d, i, t) for b, (v, d, i, budgets) in PAPER.items() for t in budgets]
# Averages that the layers before the first cut and the least that must stay after it make impossible.
IMPOSSIBLE = {
    ("llava-1.5-7b", 32): {"fastv", "pdrop", "dart", "sparsevlm"},
    ("llava-1.5-13b", 32): {"pdrop", "dart", "sparsevlm"},
    ("llava-next-7b", 160): {"fastv", "pdrop", "dart", "sparsevlm"},
    ("llava-next-13b", 160): {"pdrop", "sparsevlm"},
    ("qwen2.5-vl-7b", 128): {"sparsevlm"},
    ("internvl3-8b", 128): {"sparsevlm"},
    ("llava-video-7b", 16): {"pdrop", "sparsevlm"},
    ("miniature, as few as table 1 asks", 8): {"fastv", "pdrop", "dart", "sparsevlm"},
}


@pytest.mark.parametrize("name", BUDGETED)
@pytest.mark.parametrize(("backbone", "visual", "depth", "images", "tokens"), SETTINGS)
def test_every_budget_of_the_paper_is_met_or_impossible(
    name: str, backbone: str, visual: int, depth: int, images: int, tokens: int
) -> None:
    shape = PromptShape(visual, depth, images, backbone)
    if name in VIDEO and images == 1:
        with pytest.raises(BudgetError, match="compares the frames of a video"):
            build(name, budget=Budget(tokens)).schedule(shape)
        return
    kept = build(name, budget=Budget(tokens, "kept")).schedule(shape)
    assert kept.cuts[0].keep == tokens * images
    method = build(name, budget=Budget(tokens))
    if name in IMPOSSIBLE.get((backbone, tokens), ()):
        with pytest.raises(BudgetError, match=r"floor|pivots"):
            method.schedule(shape)
        return
    average = method.schedule(shape).layer_average
    assert average <= tokens * images * (1.02 if name == "tops" else 1.0)
    assert average >= tokens * images - max(1.0, 0.02 * tokens * images)


def test_fastv_cannot_average_32_of_576() -> None:
    with pytest.raises(BudgetError, match=r"FastV cannot average 32 of 576 .* floor is 36\.9\. Cut earlier"):
        build("fastv", budget=32).schedule(PromptShape(576, 32))
    (cut,) = build("fastv", budget=32, layer=1).schedule(PromptShape(576, 32)).cuts
    assert (cut.layer, cut.keep) == (1, 14)


@pytest.mark.parametrize(("target", "counts"), [(192, (322, 180, 100)), (128, (241, 101, 42)), (64, (110, 21, 4))])
def test_pdrop_solves_the_ratio_that_its_author_describes(target: int, counts: tuple[int, ...]) -> None:
    cuts = build("pdrop", budget=target).schedule(PromptShape(576, 32)).cuts
    assert tuple(c.layer for c in cuts) == (2, 8, 16)
    assert tuple(c.keep for c in cuts) == counts


def test_pdrop_as_in_the_paper_averages_270() -> None:
    method = build("pdrop", layers=[8, 16, 24], keeps=[0.5, 0.25, 0.125])
    schedule = method.schedule(PromptShape(576, 32))
    assert [c.keep for c in schedule.cuts] == [288, 144, 72]
    assert schedule.layer_average == 270
    assert [c.keep for c in method.schedule(PromptShape(150, 32)).cuts] == [75, 37, 18]


@pytest.mark.parametrize(
    ("target", "counts", "average"),
    [(192, (309, 204, 113), 206.5), (128, (312, 117, 39), 145.4), (96, (249, 55, 27), 114.1), (64, (82, 32, 18), 82.3)],
)
def test_sparsevlm_as_printed_is_the_authors_table(target: int, counts: tuple[int, ...], average: float) -> None:
    schedule = build("sparsevlm", budget=Budget(target, "as_printed")).schedule(PromptShape(576, 32))
    assert tuple(c.keep for c in schedule.cuts) == counts
    assert schedule.layer_average == pytest.approx(average, abs=0.06)


@pytest.mark.parametrize("have", [7, 40, 309, 576])
def test_sparsevlm_leaves_exactly_what_was_asked(have: int) -> None:
    from tops.methods.sparsevlm import kept_of

    for total in range(recycling(have - 1)[1] + 1, have):
        kept = kept_of(total, have)
        assert kept + recycling(have - kept)[1] == total


@pytest.mark.parametrize(("target", "kept"), [(128, 132), (64, 68), (32, 36)])
def test_dart_as_printed_overshoots_like_the_official_code(target: int, kept: int) -> None:
    (cut,) = build("dart", budget=Budget(target, "as_printed")).schedule(PromptShape(576, 32)).cuts
    assert cut.keep == kept
    (cut,) = build("dart", budget=Budget(target, "kept"), fill=False).schedule(PromptShape(576, 32)).cuts
    assert cut.keep == kept - 8


@pytest.mark.parametrize(("total", "split"), [(192, (162, 30)), (128, (108, 20)), (64, (54, 10)), (32, (27, 5))])
def test_visionzip_splits_as_its_authors_do(total: int, split: tuple[int, int]) -> None:
    assert build("visionzip").split(total) == split


@pytest.mark.parametrize("name", ["fastv", "pdrop", "dart", "sparsevlm"])
@pytest.mark.parametrize("depth", [6, 8, 16, 28, 32, 40, 80])
def test_cuts_keep_their_fraction_of_the_depth(name: str, depth: int) -> None:
    cuts = build(name, budget=Budget(0.5, "kept")).schedule(PromptShape(576, depth)).cuts
    of_32 = build(name, budget=Budget(0.5, "kept")).schedule(PromptShape(576, 32)).cuts
    assert cuts[0].layer >= 1
    for cut, reference in zip(cuts, of_32, strict=True):
        assert abs(cut.layer - reference.layer * depth / 32) <= 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", BUDGETED)
def test_a_budget_beyond_the_tokens_is_refused(name: str, protocol: Any) -> None:
    if name == "downsampling":
        assert build(name, budget=577).schedule(PromptShape(576, 32)).cuts == ()
        return
    with pytest.raises(BudgetError):
        build(name, budget=Budget(577, protocol)).schedule(PromptShape(576, 32))


@pytest.mark.parametrize(
    ("name", "options"),
    [("trim", {"count": "outliers"}), ("prumerge_plus", {"rule": "adaptive"}), ("sparsevlm", {"version": "v1"})],
)
def test_counts_that_follow_the_image_take_no_budget(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="has no budget"):
        build(name, budget=8, **options)
    method = build(name, **options)
    assert set(method.schedule(PromptShape(36, 8)).tokens_per_layer) == {36}


def test_random_depends_on_seed_and_sample_alone() -> None:
    point = scene(12)
    draws = {tuple(build("random", budget=12, seed=s).select(point).indices.tolist()) for s in range(5)}
    draws |= {tuple(build("random", budget=12).select(replace(point, sample=s)).indices.tolist()) for s in "abcde"}
    assert len(draws) == 10


def test_random_is_uniform_over_places() -> None:
    counts = torch.zeros(36)
    for seed in range(400):
        counts[build("random", budget=9, seed=seed).select(scene(9)).indices] += 1
    assert float(counts.min()) > 60
    assert float(counts.max()) < 140


@pytest.mark.parametrize("name", [n for n in NAMES if n not in VIDEO])
def test_in_a_batch_as_alone(name: str, llava: Any) -> None:
    """Through the engine: a padded batch keeps, in every row, what the same prompt keeps alone."""
    short = tiny.llava(images=2, seed=1).inputs
    budget = Budget(8) if name == "downsampling" else Budget(0.5, "kept")
    method = build(name) if issubclass(method_class(name), Control) else build(name, budget=budget)
    prompts = [llava.inputs, short]
    options: dict[str, Any] = {"record_kept": True, "text_encoder": encoder()}
    alone = []
    for number, inputs in enumerate(prompts):
        with prune(llava.model, method, **options, question="how many") as run, torch.no_grad():
            run.sample = f"document {number}"
            llava.model(**inputs)
        alone.append(run.prompts[0])
    width = max(p["input_ids"].shape[1] for p in prompts)
    pads = [width - p["input_ids"].shape[1] for p in prompts]
    batch = {
        key: torch.cat([torch.nn.functional.pad(p[key], (pad, 0)) for p, pad in zip(prompts, pads, strict=True)])
        for key in ("input_ids", "attention_mask")
    }
    batch["pixel_values"] = torch.cat([p["pixel_values"] for p in prompts])
    with prune(llava.model, method, **options, question=["how many"] * 2) as run, torch.no_grad():
        run.sample = ["document 0", "document 1"]
        llava.model(**batch, position_ids=(batch["attention_mask"].cumsum(1) - 1).clamp_min(0))
    assert [r.kept for r in run.prompts] == [r.kept for r in alone]
    assert [r.visual_tokens_per_layer for r in run.prompts] == [r.visual_tokens_per_layer for r in alone]
    assert run.prompts[0].visual_tokens_per_layer == run.prompts[0].scheduled


@pytest.mark.parametrize("name", ["pdrop", "sparsevlm", "fastv"])
@pytest.mark.parametrize("family", ["llava", "qwen2.5-vl"])
def test_position_ids_after_a_cut(name: str, family: str) -> None:
    """PyramidDrop and SparseVLM re-index ids of one axis, FastV none; nobody closes gaps of mRoPE unasked."""
    case = (tiny.FAMILIES | tiny_families.FAMILIES)[family]()
    with prune(case.model, build(name, budget=0.6)), torch.no_grad():
        cache = case.model(**case.inputs, use_cache=True).past_key_values
    state = state_of(cache)
    assert state is not None
    before, after = state.segments[0].rows[0], state.segments[-1].rows[0]
    assert len(after) < len(before)
    moves = family == "llava" and name != "fastv"
    want = torch.arange(len(after)) if moves else before.positions[..., after.index]
    assert torch.equal(after.positions, want)


def test_no_method_imports_torch() -> None:
    import subprocess
    import sys

    code = "import sys, tops.methods as m; m.method_names(); sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names_answer_with_the_nearest() -> None:
    with pytest.raises(TopsError, match=r"Did you mean 'divprune'"):
        build("divprun")
