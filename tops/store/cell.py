"""A cell: one backbone x method x budget x benchmark, and the key under which its result is stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from tops.budget import Budget

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class BackboneSpec:
    """Which weights are used and how they run; ``name`` is the catalogue name in both profiles (``llava-1.5-7b``)."""

    name: str
    family: str
    checkpoint: str  # hub id, or the name of an embedded miniature checkpoint: never a path of one machine
    revision: str  # commit of the hub repository, or the sha256 of the local weights
    weights: str = "pretrained"  # or "random"
    trained: bool = True  # False: random-init miniature, "plumbing only" in every table
    dtype: str = "bfloat16"
    attention: str = "sdpa"
    options: dict[str, Any] = field(default_factory=dict)  # image size, tiling, frames, pixel range
    source: str = ""  # digest of an adapter that is not part of the package
    engine: str = ""  # "vllm" where that runs the model; empty for transformers


@dataclass(frozen=True)
class MethodSpec:
    """``name`` in the method registry ("none" for the unpruned model) and every option, defaults included.

    ``weights`` names further weights that a method needs, such as CLIP's text tower, with their revision. ``source`` is
    the digest of a method that is not part of the package (:func:`tops.fingerprint.of_file`).
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    source: str = ""


@dataclass(frozen=True)
class BenchmarkSpec:
    """The benchmark as it is asked: ``data_hash`` covers the documents; ``limit`` is None for all of them.

    ``source`` is the digest of a benchmark that is not part of the package: its file, and the user's own scoring rules.
    ``turns`` says how many questions of a picture make a conversation and on which of them its tokens are cut
    (:class:`tops.benchmarks.benchmark.Turns`); empty where every question stands alone.
    """

    name: str
    task: str
    split: str
    data_hash: str
    prompt: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    source: str = ""
    turns: dict[str, Any] = field(default_factory=dict)


# Fields added later: left out of a specification where they are empty, so that older keys stay valid.
_OPTIONAL = (
    ("method", "weights"),
    ("method", "source"),
    ("backbone", "source"),
    ("backbone", "engine"),
    ("benchmark", "source"),
    ("benchmark", "turns"),
)


@dataclass(frozen=True)
class Cell:
    """The full specification of one result: everything that may change an answer, nothing that may not."""

    profile: str
    backbone: BackboneSpec
    method: MethodSpec
    budget: Budget | None  # None for the unpruned model and for controls without one
    benchmark: BenchmarkSpec
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict)  # packages that can change an answer
    schema: int = SCHEMA_VERSION

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, the content of ``spec.json``."""
        spec: dict[str, Any] = _plain(self)
        for part, name in _OPTIONAL:
            if not spec[part][name]:
                del spec[part][name]
        return spec

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> Cell:
        """Inverse of :meth:`as_dict`."""
        spec = dict(spec)
        budget = spec.pop("budget")
        return cls(
            backbone=BackboneSpec(**spec.pop("backbone")),
            method=MethodSpec(**spec.pop("method")),
            benchmark=BenchmarkSpec(**spec.pop("benchmark")),
            budget=None if budget is None else Budget(**budget),
            **spec,
        )

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON of the specification, 64 hex digits."""
        text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def label(self) -> str:
        """Readable name, as ``llava-1.5-7b / tops@32 / pope``; a miniature cell is marked: another model answers it."""
        backbone = self.backbone.name if self.profile == "paper" else f"{self.profile} {self.backbone.name}"
        backbone += "" if self.backbone.trained else " (untrained)"
        backbone += f" in {self.backbone.engine}" if self.backbone.engine else ""
        budget = f"@{self.budget.value}" if self.budget else ""
        seed = f" seed {self.seed}" if self.seed else ""
        return f"{backbone} / {self.method.name}{budget}{seed} / {self.benchmark.name}"


def _plain(value: Any) -> Any:
    """Like ``dataclasses.asdict``, in a third of the time: a plan of all experiments calls it forty thousand times."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
