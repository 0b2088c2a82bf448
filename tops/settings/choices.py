"""The YAML files under ``configs/``, one file = one choice, read without Hydra so that a plan is fast."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tops.errors import ConfigurationError, nearest_names
from tops.methods import method_names
from tops.settings.schema import (
    BackboneConfig,
    Experiment,
    LauncherConfig,
    ProfileConfig,
    SuiteConfig,
    TrackingConfig,
    parse,
)

T = TypeVar("T")

GROUPS = ("backbone", "method", "benchmark", "suite", "profile", "launcher", "tracking", "experiment")
# The other keys of `tops run`, with what they say.
SCALARS = {
    "budget": "tokens per image or frame (64), or a keep ratio (0.25)",
    "protocol": "what the budget counts: layer_average, kept or as_printed",
    "seed": "seed of methods that draw at random",
    "limit": "documents per benchmark",
    "full": "true: all documents, whatever the experiment says",
    "backbones": "of an experiment only these: one name, or [one,another]",
    "results": "root of the result store",
    "stale": "cells that other code answered: rerun, keep (marked in reports), or refuse to mix them with new ones",
}

# choices that know their name, which is that of the file
NAMED = {"backbone": BackboneConfig, "suite": SuiteConfig, "profile": ProfileConfig, "experiment": Experiment}
SCHEMAS: dict[str, type[Any]] = {**NAMED, "launcher": LauncherConfig, "tracking": TrackingConfig}


def config_folder() -> Path:
    """``configs/`` of this checkout, or the folder that ``TOPS_CONFIGS`` names.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    named = os.environ.get("TOPS_CONFIGS")
    folder = Path(named) if named else Path(__file__).parents[2] / "configs"
    if not folder.is_dir():
        raise ConfigurationError(f"no folder of configurations at {folder}; set TOPS_CONFIGS to a checkout's configs/")
    return folder


def names_of(group: str) -> list[str]:
    """Every choice of a group, methods included."""
    return ["none", *method_names()] if group == "method" else choice_names(group)


def choice_names(group: str) -> list[str]:
    """Names of all choices of a group, sorted."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def check_name(group: str, name: str) -> None:
    """Refuse a name without a file.

    Raises
    ------
    ConfigurationError
        With the nearest names.
    """
    known = choice_names(group)
    if name not in known:
        raise ConfigurationError(f"unknown {group} {name!r}. {nearest_names(name, known)}")


def root_defaults() -> dict[str, Any]:
    """The content of ``configs/config.yaml``: the default of every group and scalar."""
    return _read(config_folder() / "config.yaml")


def raw_choice(group: str, name: str) -> dict[str, Any]:
    """The plain content of ``configs/<group>/<name>.yaml``; ``extends: other`` takes what it does not give from there.

    Raises
    ------
    ConfigurationError
        For an unknown name, or a file that is not a YAML mapping.
    """
    check_name(group, name)
    content = _read(config_folder() / group / f"{name}.yaml")
    if (base := content.pop("extends", None)) is None:
        return content
    if base == name:
        raise ConfigurationError(f"configs/{group}/{name}.yaml extends itself")
    return {**raw_choice(group, base), **content}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected a mapping, not {content!r}")
    return content


def choice_from(group: str, name: str, content: dict[str, Any], where: str | None = None) -> Any:
    """A checked choice from plain values; errors say ``where`` they are from, the choice's file for None."""
    values = {**content, "name": name} if group in NAMED else content
    if group == "experiment" and isinstance(values.get("levels"), dict) and isinstance(values.get("backbones"), list):
        values["levels"] = {  # one keep ratio for all
            label: dict.fromkeys(values["backbones"], budget) if isinstance(budget, int | float) else budget
            for label, budget in values["levels"].items()
        }
    return parse(SCHEMAS[group], values, where or f"configs/{group}/{name}.yaml")


@cache
def _load(group: str, name: str, folder: Path) -> Any:
    return choice_from(group, name, raw_choice(group, name))


def backbone_config(name: str) -> BackboneConfig:
    """One backbone of the catalogue."""
    choice: BackboneConfig = _load("backbone", name, config_folder())
    return choice


def load_profile(name: str) -> ProfileConfig:
    """``paper`` or ``miniature``, or one of your own."""
    choice: ProfileConfig = _load("profile", name, config_folder())
    return choice


def load_experiment(name: str) -> Experiment:
    """One table, figure or study."""
    choice: Experiment = _load("experiment", name, config_folder())
    return choice


def load_launcher(name: str) -> LauncherConfig:
    """Where workers run."""
    choice: LauncherConfig = _load("launcher", name, config_folder())
    return choice


def load_tracking(name: str) -> TrackingConfig:
    """Whether results are published."""
    choice: TrackingConfig = _load("tracking", name, config_folder())
    return choice
