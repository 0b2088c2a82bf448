"""Hydra's composition of ``configs/``: overrides, sweeps, and messages that name what was meant.

Choices are read from their files (methods from their dataclasses), checked, and handed to Hydra with every default
filled in, so that each option can be overridden and a new method needs no YAML at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tops.budget import PROTOCOLS, Protocol
from tops.errors import ConfigurationError, nearest_names
from tops.settings.choices import GROUPS, SCALARS, check_name, choice_from, names_of, raw_choice, root_defaults
from tops.settings.methods import method_defaults, method_spec
from tops.settings.own import named_words
from tops.settings.schema import (
    BackboneConfig,
    EngineName,
    LauncherConfig,
    ProfileConfig,
    Stale,
    Stop,
    Stopping,
    SuiteConfig,
    TrackingConfig,
    typed,
)

QUOTING = """A value with other characters than letters, digits and /.:-_ is quoted twice: 'results="/data/a #1"'"""
OPEN = ("launcher.options.", "backbone.options.")  # mappings that take keys beyond those of the file


@dataclass(frozen=True)
class Composed:
    """One composed configuration.

    Attributes
    ----------
    experiment : str or None
        Name of the experiment. When it is given, the experiment's own axes replace backbone, method, benchmark and
        budget.
    method, benchmark : dict
        ``name`` and every option.
    suite : SuiteConfig or None
        Suite of benchmarks to ask in place of ``benchmark``; None without a suite.
    """

    backbone: BackboneConfig
    method: dict[str, Any]
    benchmark: dict[str, Any]
    suite: SuiteConfig | None
    profile: ProfileConfig
    launcher: LauncherConfig
    tracking: TrackingConfig
    experiment: str | None
    budget: int | float | None
    protocol: Protocol
    seed: int
    limit: int | None
    full: bool
    backbones: tuple[str, ...] | None
    results: str
    record_kept: bool | None = None
    stale: Stale = "refuse"
    stop: Stopping | None = None


def node(group: str, name: str) -> dict[str, Any]:
    """A choice with every default filled in, as plain values.

    Raises
    ------
    ConfigurationError
        For an unknown name, or a file that does not fit the schema.
    """
    if group == "method":
        if name not in names_of("method"):
            raise ConfigurationError(f"unknown method {name!r}. {nearest_names(name, names_of('method'))}")
        return {"name": name, **({} if name == "none" else method_defaults(name))}
    if group == "benchmark":
        check_name(group, name)
        return {"name": name, "convention": None}
    content = raw_choice(group, name)
    filled = asdict(choice_from(group, name, content))
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(_lists(filled))))


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lists(v) for k, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value


def _register(overrides: Sequence[Override]) -> None:
    """Register with Hydra the root configuration and every choice that is a default or named in an override."""
    store = ConfigStore.instance()
    root = root_defaults()
    wanted = {(g, n) for entry in root["defaults"] if isinstance(entry, dict) for g, n in entry.items() if n}
    for override in overrides:
        if override.key_or_group in GROUPS and isinstance(override.value(), str):
            check_choice(override.key_or_group, cast(str, override.value()))
            wanted.add((override.key_or_group, cast(str, override.value())))
    for group, name in sorted(wanted):
        content = {"name": name} if group == "experiment" else node(group, name)
        store.store(group=group, name=name, node=OmegaConf.create(content), provider="tops")
    store.store(name="config", node=OmegaConf.create(root), provider="tops")


def check_choice(group: str, name: str) -> None:
    """Refuse a choice that does not exist, with the nearest names."""
    if group == "method":
        node(group, name)
    else:
        check_name(group, name)


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Parse command-line words by Hydra's override grammar.

    Raises
    ------
    ConfigurationError
        For a word that is not an override, or a key that does not exist.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise ConfigurationError(
            f"{_first_line(error)}; an override looks like method=tops or budget=64. {QUOTING}"
        ) from None
    for override in overrides:
        head = override.key_or_group.split(".")[0].split("@")[0].lstrip("/")
        if head not in (*GROUPS, *SCALARS):
            raise ConfigurationError(f"unknown key {head!r}. {nearest_names(head, (*GROUPS, *SCALARS))}")
        if override.is_delete():
            raise ConfigurationError(f"{override.input_line}: nothing can be taken out; name another value, {head}=...")
    return overrides


def composed(words: Sequence[str]) -> Composed:
    """Compose one configuration from overrides without sweeps.

    Raises
    ------
    ConfigurationError
        For unknown names and keys (with the nearest ones) and values of the wrong type.
    """
    words = named_words(words)
    overrides = parse_overrides(words)
    for override in overrides:
        if override.is_sweep_override():
            advice = (
                "an experiment is a run of its own" if override.key_or_group == "experiment" else "add -m to run them"
            )
            raise ConfigurationError(f"{override.input_line} names several values; {advice}")
    _register(overrides)
    try:
        config = _compose([f"++{w}" if w.startswith(OPEN) else w for w in words])
        values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(_explain(error, words)) from None
    return _checked(values)


def _compose(words: Sequence[str]) -> DictConfig:
    if GlobalHydra.instance().is_initialized():
        return compose("config", overrides=list(words))
    with initialize(version_base="1.3", config_path=None):
        return compose("config", overrides=list(words))


def _checked(values: dict[str, Any]) -> Composed:
    protocol, budget = values["protocol"], values["budget"]
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"protocol {protocol!r} is unknown. {nearest_names(str(protocol), PROTOCOLS)}")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int | float)):
        raise ConfigurationError(f"budget={budget!r} is neither a token count (64) nor a keep ratio (0.25)")
    for key, kind in (("seed", int), ("full", bool), ("results", str)):
        if not isinstance(values[key], kind) or (kind is int and isinstance(values[key], bool)):
            raise ConfigurationError(f"{key}={values[key]!r} is not {kind.__name__}")
    if not 0 <= values["seed"] < 2**63:
        raise ConfigurationError(f"seed={values['seed']} is not from 0 to 2**63 - 1; a generator takes no other")
    _check_place(values["results"])
    limit = values["limit"]
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigurationError(f"limit={limit!r} is not a number of documents (1 or more)")
    method = values["method"]
    method_spec(method["name"], {k: v for k, v in method.items() if k != "name"})
    launcher = values["launcher"]
    if launcher["kind"] == "local" and launcher["options"]:
        raise ConfigurationError(f"launcher=local takes no options, not {', '.join(launcher['options'])}")
    experiment, backbones = values.get("experiment"), values["backbones"]
    if isinstance(backbones, str):
        backbones = [backbones]
    if backbones is not None and (not backbones or not all(isinstance(b, str) for b in backbones)):
        raise ConfigurationError(f"backbones={backbones!r} names none; write backbones=[one,another] or leave it out")

    def checked(group: str) -> Any:
        content = values.get(group)
        return None if content is None else choice_from(group, content.get("name", ""), content, group)

    return Composed(
        backbone=checked("backbone"),
        method=method,
        benchmark=values["benchmark"],
        suite=checked("suite"),
        profile=_with_engine(checked("profile"), values["engine"]),
        launcher=checked("launcher"),
        tracking=checked("tracking"),
        experiment=None if experiment is None else experiment["name"],
        budget=budget,
        protocol=protocol,
        seed=values["seed"],
        limit=limit,
        full=values["full"],
        backbones=None if backbones is None else tuple(backbones),
        results=values["results"],
        record_kept=typed(bool | None, values["record_kept"], "record_kept"),
        stale=typed(Stale, values["stale"], "stale"),
        stop=_stopping(values["stop"], values["margin"]),
    )


def _stopping(stop: Any, margin: Any) -> Stopping | None:
    if typed(Stop | None, stop, "stop") is None:
        if margin is not None:
            raise ConfigurationError(f"margin={margin} is that of stop=separable; add it, or leave margin out")
        return None
    if margin is None:
        return Stopping()
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < 100:
        raise ConfigurationError(f"margin={margin!r} is no difference in points of 100 (0 or more, below 100)")
    return Stopping(float(margin))


def _with_engine(profile: ProfileConfig, engine: Any) -> ProfileConfig:
    """The profile with the engine of a word ``engine=vllm``, which says the same as ``profile.engine=vllm``."""
    if engine is None:
        return profile
    asked = typed(EngineName, engine, "engine")
    if profile.engine not in ("library", asked):
        raise ConfigurationError(f"engine={asked} and profile.engine={profile.engine}; leave one of them out")
    return replace(profile, engine=asked)


def _check_place(results: str) -> None:
    if not results.strip():
        raise ConfigurationError("results= is empty; name the folder of the store, as in results=results")
    if results.startswith("~"):
        raise ConfigurationError(
            f"results={results!r} begins with ~, which no shell expands there; write results=$HOME{results[1:]}"
        )


def _explain(error: Exception, words: Sequence[str]) -> str:
    """Hydra's message, with the nearest key where it names one that does not exist."""
    text = _first_line(error)
    found = re.search(r"(?:Could not (?:override|append to config.*?)|key) '?([\w.\-]+)'?", text)
    if found is None or "." not in found[1]:
        return text
    group, key = found[1].split(".", 1)
    name = next((w.split("=", 1)[1] for w in words if w.startswith(f"{group}=")), None)
    name = name or next(
        n for entry in root_defaults()["defaults"] if isinstance(entry, dict) for g, n in entry.items() if g == group
    )
    if name is None or group == "experiment":
        return f"{group}={name or '...'} takes no options here; change its file under configs/{group} instead"
    known = [k for k in node(group, name) if k != "name"]
    return f"{group} {name!r} has no option {key!r}. {nearest_names(key, known)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
