"""Clocks around what a method asks of the engine, and around the method itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tops.bench.measure import synchronise


class Clock:
    """Adds up the time of its blocks; of nested blocks the outermost counts.

    Parameters
    ----------
    device : torch.device
        Synchronised at both ends of a block.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self._depth = device, 0.0, 0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Time the block."""
        if self._depth:
            yield
            return
        synchronise(self.device)
        start = time.perf_counter()
        self._depth += 1
        try:
            yield
            synchronise(self.device)
        finally:
            self._depth -= 1
            self.seconds += time.perf_counter() - start


class Clocked:
    """Any object whose attributes and calls a clock times; ``vision`` and ``text`` of a point are such objects too."""

    def __init__(self, target: Any, clock: Clock) -> None:
        self._target, self._clock = target, clock

    def __getattr__(self, name: str) -> Any:
        with self._clock.block():
            value = getattr(self._target, name)
        if name in ("vision", "text"):
            return Clocked(value, self._clock)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._clock.block():
                return value(*args, **kwargs)

        return call


class ClockedMethod:
    """A method, its selections timed, with what it asks of the point timed apart.

    Parameters
    ----------
    method : Method
        Any.
    selection, signals : Clock
        Of ``select`` as a whole, and of the point's attributes within it.
    """

    def __init__(self, method: Any, selection: Clock, signals: Clock) -> None:
        self._method, self._selection, self._signals = method, selection, signals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def select(self, point: Any) -> Any:
        """As the method does."""
        with self._selection.block():
            return self._method.select(Clocked(point, self._signals))
