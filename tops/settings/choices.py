"""The YAML files under ``configs/``, one file = one choice, read without Hydra so that a plan is fast."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tops.errors import ConfigurationError, nearest_names
from tops.methods import method_names
from tops.settings import folders, own
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
    "engine": "vllm: models run in vLLM (needs make serving-env); library: by transformers, as ever",
    "record_kept": "true: store which tokens each cut kept, and the pictures",
    "results": "root of the result store",
    "stop": "separable: draw documents in rounds, and end a column when its methods are told apart",
    "margin": "with stop: points of 100 below which a difference does not matter (default 2)",
    "stale": "cells that other code answered: rerun, keep (marked in reports), or refuse to mix them with new ones",
}

# choices that know their name, which is that of the file
NAMED = {"backbone": BackboneConfig, "suite": SuiteConfig, "profile": ProfileConfig, "experiment": Experiment}
SCHEMAS: dict[str, type[Any]] = {**NAMED, "launcher": LauncherConfig, "tracking": TrackingConfig}


def choice_names(group: str) -> list[str]:
    """Names of all choices of a group, sorted; those of a user's own folders among them."""
    return sorted(folders.files(group))


def choice_file(group: str, name: str) -> Path:
    """The file of a choice.

    Raises
    ------
    ConfigurationError
        For a name without a file, with the nearest names.
    """
    known = folders.files(group)
    if name not in known:
        where = ", ".join(str(folder) for folder in folders.search_path()[1:])
        own = f" Looked into {where} too." if where else ""
        raise ConfigurationError(f"unknown {group} {name!r}. {nearest_names(name, known)}{own}")
    return known[name]


def names_of(group: str) -> list[str]:
    """Every choice of a group, methods included."""
    return ["none", *method_names()] if group == "method" else choice_names(group)


def check_name(group: str, name: str) -> None:
    """Refuse a name without a file, with the nearest names."""
    choice_file(group, name)


def root_defaults() -> dict[str, Any]:
    """``configs/config.yaml``: the default of every group and key, with what a user's ``override: true`` changes."""
    first, *own = [folder / "config.yaml" for folder in folders.search_path()]
    root = folders.read(first)
    for path in own:
        if not path.is_file() or path.read_bytes() == first.read_bytes():
            continue
        content = folders.read(path)
        if content.pop("override", False) is not True:
            raise ConfigurationError(f"{path} has other defaults; write `override: true` into it to use them")
        groups = {g: n for entry in content.pop("defaults", []) if isinstance(entry, dict) for g, n in entry.items()}
        defaults = [
            {g: groups.get(g, n) for g, n in entry.items()} if isinstance(entry, dict) else entry
            for entry in root["defaults"]
        ]
        root = {**root, **content, "defaults": defaults}
    return root


def raw_choice(group: str, name: str, *, inherit: bool = False) -> dict[str, Any]:
    """The plain content of a choice's file; ``extends: other`` takes what it does not give from there.

    Parameters
    ----------
    group, name : str
        Which choice.
    inherit : bool
        Keep the key ``extends``, which for a benchmark names the benchmark whose documents it uses.

    Raises
    ------
    ConfigurationError
        For an unknown name, a file that is not a YAML mapping, or files that extend each other.
    """
    path = choice_file(group, name)
    content = _content(group, path, ())
    base = folders.read(path).get("extends")
    content = own.named_content(group, content, path.parent)
    return {**content, "extends": base} if inherit and base is not None else content


def _content(group: str, path: Path, on_the_way: tuple[Path, ...]) -> dict[str, Any]:
    content = folders.read(path)
    override = content.pop("override", False)
    base = content.pop("extends", None)
    if base is None:
        return content
    if base != path.stem:
        parent: Path | None = choice_file(group, str(base))
    else:
        parent = folders.below(group, path) if override is True else None
    if parent is None or parent in on_the_way:
        raise ConfigurationError(f"{path} extends {base!r}, which extends it again; name another file")
    return {**_content(group, parent, (*on_the_way, path)), **content}


def choice_from(group: str, name: str, content: dict[str, Any], where: str | None = None) -> Any:
    """A checked choice from plain values; errors name ``where`` the values are from (None: the choice's file)."""
    values = {**content, "name": name} if group in NAMED else content
    if group == "experiment" and isinstance(values.get("levels"), dict) and isinstance(values.get("backbones"), list):
        values["levels"] = {  # one keep ratio for all
            label: dict.fromkeys(values["backbones"], budget) if isinstance(budget, int | float) else budget
            for label, budget in values["levels"].items()
        }
    if group == "experiment" and "subject" in values:
        _check_subject(values, where or name)
    return parse(SCHEMAS[group], values, where or str(folders.files(group).get(name, name)))


def _check_subject(values: dict[str, Any], where: str) -> None:
    rows = [row for row in values.get("rows") or () if isinstance(row, dict)]
    methods = [str(method) for row in rows for method in row.get("methods") or ()]
    if values["subject"] not in methods:
        raise ConfigurationError(
            f"{where}: subject {values['subject']!r} is in no row. {nearest_names(str(values['subject']), methods)}"
        )


@cache
def _load(group: str, name: str, path: Path, changed: int) -> Any:
    return choice_from(group, name, raw_choice(group, name))


def load_choice(group: str, name: str) -> Any:
    """One choice as the dataclass of its schema; any group except methods and benchmarks."""
    path = choice_file(group, name)
    return _load(group, name, path, path.stat().st_mtime_ns)


def backbone_config(name: str) -> BackboneConfig:
    """One backbone of the catalogue."""
    choice: BackboneConfig = load_choice("backbone", name)
    return choice


def load_profile(name: str) -> ProfileConfig:
    """``paper`` or ``miniature``, or one of your own."""
    choice: ProfileConfig = load_choice("profile", name)
    return choice


def load_experiment(name: str) -> Experiment:
    """One table, figure or study."""
    choice: Experiment = load_choice("experiment", name)
    return choice
