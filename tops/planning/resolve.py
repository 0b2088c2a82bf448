"""Turn names into the specifications inside a cell: the profile resolves backbone, method, budget and benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from tops.backbones import family_named, family_sources
from tops.backbones.image_layouts import check_view, view_of
from tops.backbones.inputs import Inputs
from tops.benchmarks.benchmark import benchmark_source, load_benchmark
from tops.budget import Budget, PromptShape, Protocol
from tops.errors import ConfigurationError, DataError
from tops.methods import Method, method_class
from tops.miniature.benchmarks import check_twin
from tops.planning import engines, staging
from tops.settings.choices import backbone_config, choice_names, load_profile
from tops.settings.methods import build_method, method_defaults, method_spec, method_title
from tops.settings.schema import BackboneConfig, MiniatureConfig, ProfileConfig
from tops.signals import Signal
from tops.store.cell import BackboneSpec, BenchmarkSpec, Cell, MethodSpec
from tops.store.hashes import remember_earlier

T = TypeVar("T")


def prompt_shape(backbone: BackboneConfig, profile: ProfileConfig) -> PromptShape:
    """The prompt a budget is checked against in the plan: one image (or video) at the configured input size."""
    if profile.miniature and (small := backbone.miniature) is not None:
        return PromptShape(small.visual * small.frames, small.depth, small.frames, backbone.name)
    units = Inputs.of(backbone.options).laid_out(backbone.family)[1].units
    known = (units,) if backbone.frames == 1 and sum(units) == backbone.visual else ()
    return PromptShape(backbone.visual * backbone.frames, backbone.depth, backbone.frames, backbone.name, known)


def profile_budget(printed: int | float, backbone: BackboneConfig, profile: ProfileConfig) -> int | float:
    """The paper's budget for this profile; in the miniature a count becomes the same share of its own tokens."""
    if not profile.miniature or backbone.miniature is None or isinstance(printed, float):
        return printed
    return max(1, round(printed / backbone.visual * backbone.miniature.visual))


def profile_options(
    options: dict[str, Any], backbone: BackboneConfig, profile: ProfileConfig, protocol: Protocol = "layer_average"
) -> dict[str, Any]:
    """Method options for this profile; in the miniature, layers of the real model become layers at the same depth.

    Token counts per cut become the same share of the miniature's tokens. Under the protocol ``layer_average`` they are
    left out: with so few tokens and layers whole counts would miss the average, so the budget determines them.
    """
    small = backbone.miniature
    if not profile.miniature or small is None:
        return options

    def scaled(layer: int) -> int:
        return min(max(1, round(layer * small.depth / backbone.depth)), small.depth - 1)

    out = {k: v for k, v in options.items() if k != "counts"}
    if options.get("counts") and protocol != "layer_average":
        out["counts"] = [max(1, round(count / backbone.visual * small.visual)) for count in options["counts"]]
    if "cut_layers" in out:
        out["cut_layers"] = sorted({scaled(layer) for layer in out["cut_layers"]})
    if "layer" in out and out.get("of", 0) is None:
        out["layer"] = scaled(out["layer"])
    return out


def backbone_spec(backbone: BackboneConfig, profile: ProfileConfig) -> BackboneSpec:
    """Specification of a backbone: its weights and how they run.

    Raises
    ------
    ConfigurationError
        If the profile has no checkpoint for this backbone.
    """
    if profile.miniature and backbone.miniature is None:
        raise ConfigurationError(
            f"{backbone.title} has no miniature checkpoint; name one in configs/backbone/{backbone.name}.yaml, or use "
            "profile=paper"
        )
    small = backbone.miniature if profile.miniature else None
    staged = staging.checkpoint(backbone, profile)
    frames, options = (backbone.frames, backbone.options) if small is None else (small.frames, _small(backbone, small))
    return BackboneSpec(
        name=backbone.name,
        family=backbone.family,
        checkpoint=backbone.checkpoint if small is None else small.checkpoint,
        revision="" if staged is None else staged.revision,
        trained=staged is None or staged.trained,
        dtype=profile.dtype or backbone.dtype,
        attention=backbone.attention,
        options={**({"frames": frames} if frames > 1 else {}), **options},
        source=family_source(backbone),
        engine="" if profile.engine == "library" else profile.engine,
    )


def family_source(backbone: BackboneConfig) -> str:
    """Digest of the adapter of a backbone whose family is not part of the package; empty for those that are."""
    own = family_sources().get(backbone.family)
    if own is None:
        return ""
    remember_earlier(own.digest, own.earlier)
    return own.digest


def _small(backbone: BackboneConfig, small: MiniatureConfig) -> dict[str, Any]:
    """The miniature's own options, and the user's changes: options that differ from the backbone's file."""
    written = backbone_config(backbone.name).options if backbone.name in choice_names("backbone") else {}
    return {**small.options, **{k: v for k, v in backbone.options.items() if k not in written or written[k] != v}}


def check_layout(backbone: BackboneConfig, profile: ProfileConfig, spec: BackboneSpec) -> None:
    """Refuse an image layout that the family lacks, or whose counts are not true for the checkpoint that is staged.

    Raises
    ------
    ConfigurationError
        With the known layouts, or the sizes of the views.
    """
    _, layout = Inputs.of(spec.options).laid_out(backbone.family)
    staged = staging.checkpoint(backbone, profile)
    if staged is not None:
        check_view(layout, view_of(staged.path))


def shown(benchmark: str, spec: BackboneSpec, backbone: BackboneConfig, *, miniature: bool = False) -> BackboneSpec:
    """The backbone specification for one benchmark: for a video benchmark, the ``video`` options replace ``options``.

    Raises
    ------
    ConfigurationError
        If the benchmark has videos and the backbone takes none.
    """
    asked = load_benchmark(benchmark)
    if asked.modality == "image":
        return spec
    if backbone.video is None:
        able = [name for name in choice_names("backbone") if backbone_config(name).video is not None]
        raise ConfigurationError(
            f"{backbone.title} is not shown videos, so not {asked.title}; choose one of {', '.join(able)}, or show "
            "frames as images where they fit: 'backbone.video={frames: 2, frames_as_images: true}'"
        )
    small = backbone.miniature if miniature else None
    video = backbone.video if small is None or small.video is None else small.video
    return replace(spec, options={**spec.options, **video})


def on_backbone(
    method: str, options: dict[str, Any], backbone: BackboneConfig, profile: ProfileConfig
) -> dict[str, Any]:
    """Options of a method; the backbone's file replaces those that are at the method's default."""
    wanted = profile_options(backbone.methods.get(method, {}), backbone, profile)
    defaults = method_defaults(method) if wanted else {}
    return options | {k: v for k, v in wanted.items() if options.get(k, defaults.get(k)) == defaults.get(k)}


# Meaning of an option that older stored cells leave out; today's cells write the paper's condition in its place.
_EARLIER: dict[tuple[str, str], dict[str, Any]] = {("llava-video-7b", "tops"): {"cut_layers": [10, 21]}}


def as_stored(method: MethodSpec, backbone: BackboneConfig, profile: ProfileConfig) -> MethodSpec:
    """The method as it enters the cell's key: an option at its former default is None, as in older cells."""
    earlier = profile_options(_EARLIER.get((backbone.name, method.name), {}), backbone, profile)
    same = {k: None for k, v in earlier.items() if method.options.get(k) == v}
    return replace(method, options={**method.options, **same}) if same else method


def as_meant(cell: Cell) -> MethodSpec:
    """Inverse of :func:`as_stored`: the method to build for a cell."""
    earlier = _EARLIER.get((cell.backbone.name, cell.method.name))
    if earlier is None or cell.backbone.name not in choice_names("backbone"):
        return cell.method
    earlier = profile_options(earlier, backbone_config(cell.backbone.name), load_profile(cell.profile))
    left = {k: v for k, v in earlier.items() if cell.method.options.get(k) is None}
    return replace(cell.method, options={**cell.method.options, **left}) if left else cell.method


def signals_of(backbone: BackboneConfig) -> frozenset[Signal]:
    """Signals that a backbone offers to methods.

    Raises
    ------
    ConfigurationError
        If its family is unknown.
    """
    available = family_named(backbone.family).available()
    return available if backbone.signals is None else frozenset(Signal(s) for s in backbone.signals)


def needed_signals(method: MethodSpec, budget: Budget | None, backbone: BackboneConfig) -> frozenset[Signal]:
    """Signals that a method reads on a backbone; those of ``needs(have)`` where they depend on it."""
    if method.name == "none":
        return frozenset()
    built: Method = build_method(method, budget, seed=0)
    return built.needs(signals_of(backbone))


def refusal(method: MethodSpec, budget: Budget | None, backbone: BackboneConfig, shape: PromptShape) -> str | None:
    """Why this method cannot run on this backbone with this budget; None when it can. No model is loaded."""
    if method.name == "none":
        return None
    title = method_class(method.name).title
    try:
        lacking = sorted(needed_signals(method, budget, backbone) - signals_of(backbone))
        if lacking:
            return f"{title} needs {', '.join(lacking)}, which {backbone.title} does not have"
        built = build_method(method, budget, seed=0)
        built.check_quotas(built.schedule(shape), shape, signals_of(backbone))
    except ConfigurationError as error:
        return str(error)
    return None


def with_weights(
    method: MethodSpec, budget: Budget | None, backbone: BackboneConfig, profile: ProfileConfig
) -> MethodSpec:
    """A method with the name of the text tower that it reads, where the tower is staged apart from the backbone.

    Raises
    ------
    DataError
        If the backbone is staged here and the text tower is not.
    """
    if profile.miniature or Signal.TEXT_TOWER not in needed_signals(method, budget, backbone):
        return method
    own, tower = staging.checkpoint(backbone, profile), staging.text_tower(backbone, profile)
    if tower is not None:
        return replace(method, weights=f"{backbone.text_tower}@{tower.revision}")
    if own is not None and not staging.has_own_tower(own):
        raise DataError(
            f"{method_title(method.name)} reads the CLIP text tower {backbone.text_tower}, which is not staged; run "
            f"`tops fetch backbone={backbone.name}`"
        )
    return method


# Raised by hand when a change of this package changes answers that were stored before it.
ANSWERS = "1"


@dataclass(frozen=True)
class Refusal:
    """Why a cell cannot run, and the cell; None where it could not be specified."""

    reason: str
    cell: Cell | None = None


Known = dict[tuple[Any, ...], Any]  # a cache shared by the cells of one plan


def _once(known: Known, key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """The result of ``make``, or its error raised again; ``make`` is called once for each key."""
    if key not in known:
        try:
            known[key] = make()
        except (ConfigurationError, DataError) as error:
            known[key] = error
    found = known[key]
    if isinstance(found, Exception):
        raise found
    return found  # type: ignore[no-any-return]


def cell(
    backbone: BackboneConfig,
    method: str,
    options: dict[str, Any],
    budget: int | float | None,
    protocol: Protocol,
    benchmark: str,
    profile: ProfileConfig,
    limit: int | None,
    seed: int,
    *,
    convention: str | None = None,
    known: Known | None = None,
) -> Cell | Refusal:
    """A cell from choices, or why it cannot run. No model is loaded.

    ``budget`` is the budget of the cell itself; :func:`profile_budget` converts a printed one. ``known`` is a cache
    that the cells of one profile share; it requires catalogue backbones, so that one name means one backbone.
    """
    known = {} if known is None else known
    way = (backbone.name, method, repr(sorted(options.items())), budget, protocol)
    try:
        spec = _once(known, ("shown", backbone.name, benchmark), lambda: _shown(benchmark, backbone, profile))
        chosen = _once(
            known, ("method", *way), lambda: method_spec(method, on_backbone(method, options, backbone, profile))
        )
        allowance = None if budget is None or method == "none" else Budget(budget, protocol)
        asked = _once(
            known,
            ("asked", benchmark, limit, convention, backbone.family),
            lambda: _asked(benchmark, profile, limit, convention, backbone.family),
        )
    except (ConfigurationError, DataError) as error:
        return Refusal(str(error))
    stored = as_stored(chosen, backbone, profile)
    packages = {**versions(), **batching(spec, profile, asked), **engines.versions(spec)}
    out = Cell(profile.name, spec, stored, allowance, asked, seed, packages)
    shape = prompt_shape(backbone, profile)
    reason = _once(known, ("refusal", *way), lambda: refusal(chosen, allowance, backbone, shape))
    if reason is None and spec.engine:
        reason = engines.refusal(out, chosen, shape)
    if reason is not None:
        return Refusal(reason, out)
    try:
        weighed = _once(known, ("weights", *way), lambda: with_weights(stored, allowance, backbone, profile))
    except DataError as error:
        return Refusal(str(error), out)
    return replace(out, method=weighed)


def _shown(benchmark: str, backbone: BackboneConfig, profile: ProfileConfig) -> BackboneSpec:
    spec = shown(benchmark, backbone_spec(backbone, profile), backbone, miniature=profile.miniature)
    check_layout(backbone, profile, spec)
    return spec


def _asked(
    benchmark: str, profile: ProfileConfig, limit: int | None, convention: str | None, family: str
) -> BenchmarkSpec:
    asked = benchmark_spec(benchmark, profile, limit, convention, family)
    return replace(asked, generation={**asked.generation, "allow_empty": True}) if profile.allow_empty else asked


def benchmark_spec(
    name: str, profile: ProfileConfig, limit: int | None, convention: str | None = None, family: str = ""
) -> BenchmarkSpec:
    """Specification of a benchmark, with the hash of its staged documents (empty when they are not staged).

    Raises
    ------
    ConfigurationError
        If the profile asks miniature documents and the benchmark has none.
    """
    benchmark = load_benchmark(name)
    if profile.miniature and not Path(benchmark.data.path).is_absolute():  # a folder of the user's own
        check_twin(benchmark.title, benchmark.data.path, benchmark.data.config)
    spec = benchmark.spec(
        staging.data(name, profile), profile=profile.name, convention=convention, family=family, limit=limit
    )
    return replace(spec, source=benchmark_source(name))


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that can change an answer."""
    return {"answers": ANSWERS, **{name: version(name) for name in ("lmms_eval", "torch", "transformers")}}


def batching(spec: BackboneSpec, profile: ProfileConfig, asked: BenchmarkSpec) -> dict[str, str]:
    """The batch size, where answers can depend on it: in half precision, when it is not 1; turns are asked alone.

    vLLM batches as it sees fit, whatever the profile says."""
    alone = profile.batch_size == 1 or spec.dtype == "float32" or bool(asked.turns) or bool(spec.engine)
    return {} if alone else {"batch_size": str(profile.batch_size)}


def documents(spec: BenchmarkSpec, profile: ProfileConfig) -> int:
    """How many documents a cell will ask, as far as this is known before they are loaded."""
    there = staging.documents(spec.name, profile)
    asked = there if spec.limit is None else min(spec.limit, there)
    turns = int(spec.turns.get("questions", 1))  # whole conversations, and at least one
    return max(turns, asked // turns * turns)


def layer_average(cell: Cell, shape: PromptShape) -> float:
    """Visual tokens of a cell, mean over decoder layers, by its own schedule on the configured prompt."""
    method = build_method(as_meant(cell), cell.budget, seed=cell.seed)
    return float(shape.visual if method is None else method.schedule(shape).layer_average)
