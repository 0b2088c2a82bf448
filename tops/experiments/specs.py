"""From names to the specifications inside a cell: what the profile makes of a backbone, a budget, a benchmark."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from tops.budget import Budget, PromptShape, Protocol
from tops.errors import ConfigurationError
from tops.experiments.cell import BackboneSpec, BenchmarkSpec, MethodSpec
from tops.experiments.schema import BackboneChoice, ProfileChoice
from tops.methods import build, method_class, method_names
from tops.signals import Signal

MINIATURE_VISUAL = 144
MINIATURE_DEPTH = 8


def prompt_shape(backbone: BackboneChoice, profile: ProfileChoice) -> PromptShape:
    """The prompt a budget is checked against in the plan: one image (or video) at the configured input size."""
    if profile.miniature:
        return PromptShape(MINIATURE_VISUAL, MINIATURE_DEPTH, 1, backbone.name)
    return PromptShape(backbone.visual * backbone.frames, backbone.depth, backbone.frames, backbone.name)


def profile_budget(
    printed: int | float, backbone: BackboneChoice, profile: ProfileChoice, protocol: Protocol
) -> Budget:
    """The paper's budget on this profile's input: the same number, or the same keep ratio of the miniature's tokens.

    A backbone whose images differ in token count takes the ratio itself, so that small images are pruned alike.
    """
    if not profile.miniature or isinstance(printed, float):
        return Budget(printed, protocol)
    ratio = printed / backbone.visual
    if not backbone.fixed:
        return Budget(ratio, protocol)
    return Budget(max(1, round(ratio * MINIATURE_VISUAL)), protocol)


def backbone_spec(backbone: BackboneChoice, profile: ProfileChoice) -> BackboneSpec:
    """Weights and how they run.

    Raises
    ------
    ConfigurationError
        If the profile has no checkpoint for this backbone.
    """
    if profile.miniature and backbone.miniature is None:
        raise ConfigurationError(
            f"the miniature has one size per family: {backbone.name} would repeat the smaller {backbone.family} model"
        )
    return BackboneSpec(
        name=backbone.name,
        family=backbone.family,
        checkpoint=str(backbone.miniature) if profile.miniature else backbone.checkpoint,
        revision="",
        dtype=profile.dtype or backbone.dtype,
        attention=backbone.attention,
        options=dict(backbone.options),
    )


def method_title(name: str) -> str:
    """Name of a method in tables."""
    if name == "none":
        return "Unpruned"
    return str(method_class(name).title) if name in method_names() else name


def method_spec(name: str, options: dict[str, Any]) -> MethodSpec:
    """A method with every option, defaults included, so that two spellings of one setting are one cell.

    Raises
    ------
    ConfigurationError
        For an unknown method or option.
    """
    if name == "none":
        if options:
            raise ConfigurationError(f"the unpruned model takes no options, not {', '.join(options)}")
        return MethodSpec("none")
    defaults = method_defaults(name)
    unknown = [o for o in options if o not in defaults]
    if unknown:
        build(name, **{o: options[o] for o in unknown})  # raises with the nearest names
    return MethodSpec(name, {**defaults, **options})


@cache
def method_defaults(name: str) -> dict[str, Any]:
    """Options of a method and their defaults, without its budget and seed: those are axes of a cell of their own."""
    out: dict[str, Any] = {}
    for f in fields(method_class(name)):
        if f.name in ("budget", "seed") or not f.init:
            continue
        default = f.default if f.default is not MISSING else None
        if f.default_factory is not MISSING:
            default = f.default_factory()
        out[f.name] = list(default) if isinstance(default, tuple) else default
    return out


def refusal(method: MethodSpec, budget: Budget | None, backbone: BackboneChoice, shape: PromptShape) -> str | None:
    """Why this method cannot run on this backbone with this budget; None when it can. No model is loaded."""
    if method.name == "none":
        return None
    cls = method_class(method.name)
    lacking = sorted(set(cls.signals) - {Signal(s) for s in backbone.signals})
    if lacking:
        return f"{cls.title} needs {', '.join(lacking)}, which {backbone.title} does not have"
    try:
        build_method(method, budget, seed=0).schedule(shape)
    except ConfigurationError as error:
        return str(error)
    return None


def build_method(method: MethodSpec, budget: Budget | None, *, seed: int) -> Any:
    """The method of a cell; None for the unpruned model."""
    if method.name == "none":
        return None
    known = {f.name for f in fields(method_class(method.name))}
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in method.options.items()}
    if budget is not None and "budget" in known:
        options["budget"] = budget
    if "seed" in known:
        options["seed"] = seed
    return build(method.name, **options)


def benchmark_spec(name: str, profile: ProfileChoice, limit: int | None) -> BenchmarkSpec:
    """What is asked."""
    return BenchmarkSpec(name=name, task=name, split="", data_hash="", limit=limit)
