"""Vision features held in memory: one pass of the tower per image, for every method and budget that asks about it."""

from __future__ import annotations

import hashlib
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tops.backbones.base import Seen
from tops.errors import ConfigurationError

_FEATURES = ("pooler_output", "deepstack_features")
"""What a model reads of its vision features."""
_LOCK = threading.Lock()


@dataclass(frozen=True)
class _Stored:
    """A tensor in main memory, and where it belongs."""

    tensor: Tensor
    device: torch.device


@dataclass(frozen=True)
class _Pass:
    """What one pass of the tower gave: its features, and what the watched modules saw."""

    features: Any
    seen: dict[str, list[tuple[Any, Any]]]
    seconds: float
    size: int


class VisionMemory:
    """What the vision tower of one model made of its inputs, up to a number of bytes; then no more is taken.

    A pass is found again by the bytes of all that it was given and by the state in which the tower runs (autocast,
    weights, settings, hooks: :func:`tops.engine.surroundings.surroundings`), so what comes out is what the tower would
    compute, bit for bit. Several threads may share it. Nothing is ever pushed out: every row of a table asks the same
    images in the same order, and whatever is dropped for the newest would have been asked first.

    Parameters
    ----------
    limit : int
        Bytes of main memory.

    Attributes
    ----------
    calls, found : int
        Passes asked for, and those that were held.
    held_bytes : int
        Memory in use.
    saved_seconds : float
        How much longer all calls would have taken without it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls = self.found = self.held_bytes = 0
        self.saved_seconds = 0.0
        self._held: dict[bytes, _Pass] = {}
        self._model: weakref.ref[nn.Module] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def claim(self, model: nn.Module) -> None:
        """Serve this model and, from now on, no other: the same pixels mean something else to each.

        Raises
        ------
        ConfigurationError
            Another model uses this memory.
        """
        if self._model is None:
            self._model = weakref.ref(model)
        elif self._model() is not model:
            raise ConfigurationError(
                "this VisionMemory holds what another model made of images; give every model a VisionMemory of its own"
            )

    def features(
        self,
        compute: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        seen: dict[str, list[Seen]],
        state: str = "",
    ) -> Any:
        """Result of ``compute(*args, **kwargs)``, from memory where it is held.

        Parameters
        ----------
        compute : callable
            ``get_image_features`` or ``get_video_features`` of a model of transformers.
        args, kwargs
            Its arguments.
        seen : dict
            Where the watched modules write; filled as they would fill it.
        state : str
            What beside the arguments decides on the result (:func:`tops.engine.surroundings.surroundings`).

        Returns
        -------
        BaseModelOutputWithPooling
            With ``pooler_output``, the projected features, and ``deepstack_features``, where the tower gives some;
            from memory it has nothing else.
        """
        begin = time.perf_counter()
        with _LOCK:
            self.calls += 1
        key = _key((compute.__name__, state, list(args), dict(kwargs)))
        held = None if key is None else self._held.get(key)
        # A pass that was held for a method that looked at fewer layers does not serve one that looks at more.
        if held is None or not seen.keys() <= held.seen.keys():
            before, start = {name: len(calls) for name, calls in seen.items()}, time.perf_counter()
            out = compute(*args, **kwargs)
            features = {name: getattr(out, name) for name in _FEATURES if hasattr(out, name)}
            _wait_for(features)
            seconds = time.perf_counter() - start
            if key is not None:
                self._hold(key, features, {name: calls[before[name] :] for name, calls in seen.items()}, seconds)
        else:
            from transformers.modeling_outputs import BaseModelOutputWithPooling

            with _LOCK:
                self.found += 1
            for name in seen:
                seen[name] += [Seen(_fetched(value), _fetched(options)) for value, options in held.seen[name]]
            out, seconds = BaseModelOutputWithPooling(), held.seconds
            for name, value in held.features.items():
                setattr(out, name, _fetched(value))
        with _LOCK:
            self.saved_seconds += seconds - (time.perf_counter() - begin)
        return out

    def _hold(self, key: bytes, features: Any, seen: dict[str, list[Seen]], seconds: float) -> None:
        calls = {name: [(one.value, dict(one.kwargs)) for one in ones] for name, ones in seen.items()}
        size = _size(features) + _size(calls)
        with _LOCK:
            before = self._held.get(key)
            more = size - (before.size if before is not None else 0)
            if self.held_bytes + more <= self.limit:
                self._held[key] = _Pass(_stored(features), _stored(calls), seconds, size)
                self.held_bytes += more


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    """``change`` applied to the leaves of nested lists, tuples and dictionaries."""
    if isinstance(tree, dict):
        return {name: _map(change, value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map(change, value) for value in tree)
    return change(tree)


def _wait_for(tree: Any) -> None:
    """Until the devices that compute these tensors are done."""

    def wait(leaf: Any) -> None:
        if isinstance(leaf, Tensor) and leaf.device.type == "cuda":
            torch.cuda.synchronize(leaf.device)

    _map(wait, tree)


def _stored(tree: Any) -> Any:
    return _map(
        lambda leaf: _Stored(leaf.detach().to("cpu", copy=True), leaf.device) if isinstance(leaf, Tensor) else leaf,
        tree,
    )


def _fetched(tree: Any) -> Any:
    """Copies, so that nobody can change what is held."""
    return _map(lambda leaf: leaf.tensor.to(leaf.device, copy=True) if isinstance(leaf, _Stored) else leaf, tree)


def _size(tree: Any) -> int:
    found = 0

    def count(leaf: Any) -> None:
        nonlocal found
        found += leaf.nbytes if isinstance(leaf, Tensor) else 0

    _map(count, tree)
    return found


def _key(tree: Any) -> bytes | None:
    """sha256 of a nest of tensors and plain values; None where anything else is in it, whose text may hide a part."""
    digest, plain = hashlib.sha256(), True

    def add(leaf: Any) -> None:
        nonlocal plain
        if isinstance(leaf, Tensor):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)} {leaf.device}".encode())
            digest.update(leaf.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        elif leaf is None or isinstance(leaf, str | bool | int | float):
            digest.update(repr(leaf).encode())
        else:
            plain = False
        digest.update(b";")

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            walk([[name, node[name]] for name in sorted(node)])
        elif isinstance(node, list | tuple):
            digest.update(f"[{len(node)}:".encode())
            for value in node:
                walk(value)
        else:
            add(node)

    walk(tree)
    return digest.digest() if plain else None
