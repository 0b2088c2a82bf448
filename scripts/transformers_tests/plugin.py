"""The pytest plugin: every call that a test makes of a served model runs in a ``prune()`` block of its own.

What pruning refuses by name is noted, and runs unpruned, so that the rest of the test is seen too. In the mode that
keeps everything each call also runs without a block, from the same random state, and all values are compared.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from torch import Tensor

from tops import FastV, Uniform, prune
from tops.backbones import families
from tops.budget import Budget, Cut, PromptShape, Schedule
from tops.errors import TopsError
from tops.methods.base import Method
from tops.signals import PruningPoint
from tops.tokens import Selection

MODE, REPORT = "TOPS_TRANSFORMERS_MODE", "TOPS_TRANSFORMERS_REPORT"


class KeepEverything(Method):
    """Keeps every token, yet through the engine's gather: at two layers every row is written anew."""

    name: ClassVar[str] = "keep_everything"
    title: ClassVar[str] = "Keep everything"
    budget = Budget(1.0)
    positions = None

    @property
    def with_newlines(self) -> bool:
        """Newlines too."""
        return True

    def schedule(self, shape: PromptShape) -> Schedule:
        """Before the language model and in its middle."""
        layers = sorted({0, shape.depth // 2})
        return Schedule(shape.visual, shape.depth, tuple(Cut(layer, shape.visual) for layer in layers))

    def select(self, point: PruningPoint) -> Selection:
        """All, as new rows."""
        tokens = point.tokens
        return Selection(torch.arange(len(tokens), device=tokens.index.device), tokens.features)


METHODS: dict[str, Callable[[], Method]] = {
    "keep-all": KeepEverything,
    "before": lambda: Uniform(budget=0.5),
    "inside": lambda: FastV(budget=Budget(0.5, "kept"), layer=1, of=None),
}
"""By mode: everything kept; half of the tokens kept before the language model; half of them from layer 1 on."""


UNCUT = Uniform(budget=1.0)


@dataclass
class Seen:
    """What became of one test.

    Attributes
    ----------
    outcome : str
        As pytest says it.
    error : str
        Last line of the error, where it failed.
    pruned : int
        Calls that ran in a block, of models in eval mode on prompts that hold an image or not.
    values, differing : int
        Numbers compared with those of the run without a block, and those that were not the same.
    refused : dict of str to int
        Refusals, by their words, and how often.
    """

    outcome: str = ""
    error: str = ""
    pruned: int = 0
    values: int = 0
    differing: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class Gate:
    """Stands before the calls of all served models."""

    def __init__(self, method: Method, *, compare: bool) -> None:
        self.method, self.compare = method, compare
        self.tests: dict[str, Seen] = {}
        self.test = Seen()
        self._open = False

    @contextmanager
    def standing(self) -> Iterator[None]:
        """In the place of ``__call__`` and ``generate`` of every served class of transformers."""
        names = [name for adapter in families().values() for name in adapter.model_classes]
        served = [getattr(transformers, name) for name in names if hasattr(transformers, name)]
        for cls in served:
            for call in ("__call__", "generate"):
                setattr(cls, call, self._before(getattr(cls, call)))
        try:
            yield
        finally:
            for cls in served:
                del cls.__call__, cls.generate

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def gated(model: Any, *args: Any, **kwargs: Any) -> Any:
            if self._open:  # a forward of a generation that is in its block already
                return call(model, *args, **kwargs)
            stock = self._stock(call, model, args, kwargs) if self.compare and not model.training else None
            # Padding is gone after a cut, and kernels round other shapes in another way.
            method = UNCUT if self.compare and _padded(kwargs.get("attention_mask")) else self.method
            with self._opened():
                try:
                    with prune(model, method):
                        out = call(model, *args, **kwargs)
                except TopsError as refusal:
                    words = f"{type(refusal).__name__}: {refusal}"
                    self.test.refused[words] = self.test.refused.get(words, 0) + 1
                    return call(model, *args, **kwargs)
            self.test.pruned += 1
            if stock is not None:
                same, differing = compared(stock, out)
                self.test.values += same + differing
                self.test.differing += differing
            return out

        return gated

    def _stock(self, call: Callable[..., Any], model: Any, args: Any, kwargs: Any) -> Any:
        """What the call gives without a block; None where it raises, or its arguments cannot be copied."""
        state = torch.get_rng_state()
        try:
            given = copy.deepcopy((args, kwargs))
            with self._opened():
                return call(model, *given[0], **given[1])
        except Exception:  # whatever a test provokes
            return None
        finally:
            torch.set_rng_state(state)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        self._open = True
        try:
            yield
        finally:
            self._open = False

    @staticmethod
    def pytest_collection_finish() -> None:
        """Masks of ones: transformers' testers of several families mask prompts to a triangle, images in them too."""
        tester = getattr(sys.modules.get("tests.multimodal_tester"), "MultiModalModelTester", None)
        if tester is not None:
            tester.create_attention_mask = lambda self, input_ids: torch.ones_like(input_ids)

    # -- what pytest calls --------------------------------------------------------------------------------------------

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A new test."""
        self.test = self.tests.setdefault(item.nodeid.split("::")[-1], Seen())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How it ended: a failure of a part is one of the whole."""
        seen = self.tests.setdefault(report.nodeid.split("::")[-1], Seen())
        if seen.outcome != "failed" and (report.when == "call" or report.outcome != "passed"):
            seen.outcome = report.outcome
            seen.error = report.longreprtext.strip().splitlines()[-1] if report.failed and report.longreprtext else ""
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                seen.error = crash.message.splitlines()[0] if crash is not None else seen.error

    def pytest_sessionfinish(self) -> None:
        """Leave the report."""
        told = {name: asdict(seen) for name, seen in self.tests.items()}
        Path(os.environ[REPORT]).write_text(json.dumps(told, indent=1), encoding="utf-8")


def _padded(mask: object) -> bool:
    return isinstance(mask, Tensor) and not bool(mask.all())


def compared(stock: Any, pruned: Any) -> tuple[int, int]:
    """Numbers of two results that are the same and that are not, over all their tensors; caches by their layers."""
    if isinstance(stock, Tensor):
        if not isinstance(pruned, Tensor) or stock.shape != pruned.shape:
            return 0, stock.numel()
        same = int(((stock == pruned) | ((stock != stock) & (pruned != pruned))).sum())
        return same, stock.numel() - same
    parts = []
    if isinstance(stock, Mapping):
        parts = [(value, pruned.get(name)) for name, value in stock.items()]
    elif isinstance(stock, list | tuple):
        parts = list(zip(stock, pruned, strict=True))
    elif hasattr(stock, "layers"):
        names = ("keys", "values")
        parts = [
            (getattr(mine, name, None), getattr(other, name, None))
            for mine, other in zip(stock.layers, pruned.layers, strict=True)
            for name in names
        ]
    counts = [compared(mine, other) for mine, other in parts]
    return sum(same for same, _ in counts), sum(differing for _, differing in counts)


def pytest_configure(config: pytest.Config) -> None:
    """Where a mode is named, stand before the models; without one the tests run as they are, and are reported."""
    if REPORT not in os.environ:
        return
    mode = os.environ.get(MODE, "")
    gate = Gate(METHODS[mode]() if mode else KeepEverything(), compare=mode == "keep-all")
    if mode:
        standing = ExitStack()
        standing.enter_context(gate.standing())
        config.add_cleanup(standing.close)
    config.pluginmanager.register(gate, "tops-gate")
