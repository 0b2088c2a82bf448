"""Visual tokens that each layer saw in a run of another program, as far as its log tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tops.budget import Budget, PromptShape
from tops.errors import TopsError
from tops.importing.angelslim import Configuration
from tops.planning.resolve import prompt_shape
from tops.settings.choices import backbone_config, choice_names
from tops.settings.methods import build_method, method_spec, method_title
from tops.settings.schema import ProfileConfig

TOPS = "tops"  # `lmms-eval --model tops`
_INPUTS = ("checkpoint", "method", "budget", "device", "attention", "dtype", "batch_size", "max_batch_size")
_OPTIONS = ("system_prompt", "image_padding", "image_layout", "min_pixels", "max_pixels", "frames", "frames_per_second")


@dataclass(frozen=True)
class Told:
    """What a log says of its budget.

    Attributes
    ----------
    title : str
        Of the method.
    budget : str
        In words; empty where nothing is said.
    tokens : tuple of float
        Per decoder layer; empty where they do not follow.
    unknown : tuple of str
        What is not told.
    """

    title: str
    budget: str = ""
    tokens: tuple[float, ...] = ()
    unknown: tuple[str, ...] = ()


def backbone_named(model: str, profile: ProfileConfig) -> str:
    """Catalogue name of a checkpoint: a hub id, a folder of that name, or the embedded one in the miniature profile."""
    last = model.rstrip("/").rsplit("/", 1)[-1]
    found = {}
    for name in choice_names("backbone") if last else ():
        config = backbone_config(name)
        small = config.miniature
        if profile.miniature:
            own = [] if small is None else [small.checkpoint]
        else:
            own = [config.checkpoint, config.checkpoint.rsplit("/", 1)[-1], name]
        if model in own or last in own:
            found[name] = config.parameters
    return min(found, key=lambda name: found[name], default="")  # a miniature stands for the smallest first


def of_lmms_eval(model: str, arguments: Mapping[str, str], backbone: str, profile: ProfileConfig) -> Told:
    """Of a log of lmms-eval: known for the model ``tops``, whose arguments are the method's; not for any other."""
    if model != TOPS:
        named = f"model {model!r}" if model else "no model (its results file is not beside it)"
        why = f"what pruned: the log names {named}, which any code may have changed"
        return Told(model or "unknown model", unknown=(why, "the budget"))
    name = arguments.get("method", "none")
    title = method_title(name)
    if not backbone:
        return Told(title, _words(arguments), unknown=("the budget in tokens, for the model is none of the catalogue",))
    shape = prompt_shape(backbone_config(backbone), profile)
    if name == "none":
        return Told(title, _of(shape, "all visual tokens"), (float(shape.visual),) * shape.depth)
    try:
        given = {k: _value(v) for k, v in arguments.items() if k not in (*_INPUTS, *_OPTIONS)}
        budget = Budget(_value(arguments["budget"])) if "budget" in arguments else None  # type: ignore[arg-type]
        schedule = build_method(method_spec(name, given), budget, seed=0).schedule(shape)
    except (TopsError, KeyError, TypeError, ValueError) as error:
        return Told(title, _words(arguments), unknown=(f"the budget in tokens ({error})",))
    return Told(title, _of(shape, _words(arguments)), tuple(map(float, schedule.tokens_per_layer)))


def of_angelslim(configuration: Configuration, backbone: str, profile: ProfileConfig) -> Told:
    """Of a configuration of AngelSlim: shares of the tokens; counts where the model is told by the user."""
    missing = "the answers, so that the scores are lmms-eval's own and no interval exists"
    if not configuration.stages:
        return Told(configuration.title, unknown=(missing, "the budget: its settings cannot be read"))
    if not backbone:
        why = "the model, and so the budget in tokens (backbone=NAME says it)"
        return Told(configuration.title, configuration.budget, unknown=(missing, why))
    shape = prompt_shape(backbone_config(backbone), profile)
    tokens = tuple(shape.visual * share for share in configuration.kept(shape.depth))
    return Told(configuration.title, _of(shape, configuration.budget), tokens, (missing,))


def _of(shape: PromptShape, words: str) -> str:
    return f"{words} (of {shape.visual} visual tokens, nominal)"


def _words(arguments: Mapping[str, str]) -> str:
    return f"budget={arguments['budget']}" if "budget" in arguments else "the method's own default"


def _value(text: str) -> object:
    """A number, a switch or a list as JSON writes it, else the text."""
    try:
        found: object = json.loads(text)
    except ValueError:
        return text
    return found
