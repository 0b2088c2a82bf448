"""Which implementation of a greedy selection runs, and the way there from features."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from tops.errors import ConfigurationError, nearest_names
from tops.selection import filtered
from tops.selection.similarity import as_array, fixed_point_similarity

Implementation = Literal["auto", "incremental", "direct", "triton"]
IMPLEMENTATIONS = ("incremental", "direct", "triton")
MAX_TRITON_TOKENS = 16384


def choose(implementation: str, device: torch.device, n: int) -> str:
    """The implementation that will run.

    Parameters
    ----------
    implementation : str
        ``"auto"``: the Triton kernels on CUDA, direct torch there without Triton or above ``MAX_TRITON_TOKENS`` tokens,
        the incremental evaluation on any other device. Or the name of one of ``IMPLEMENTATIONS``.
    device : torch.device
        Where the features are.
    n : int
        Tokens of one batch entry.

    Raises
    ------
    ConfigurationError
        Unknown name; Triton asked for where it cannot run.
    """
    if implementation == "auto":
        if device.type != "cuda":  # before looking for Triton, which takes as long as a small selection
            return "incremental"
        return "triton" if has_triton() and n <= MAX_TRITON_TOKENS else "direct"
    if implementation not in IMPLEMENTATIONS:
        raise ConfigurationError(
            f"implementation={implementation!r}: {nearest_names(implementation, ('auto', *IMPLEMENTATIONS))}"
        )
    if implementation == "triton":
        if not has_triton():
            raise ConfigurationError("implementation='triton': Triton is not installed. Use 'auto'.")
        if n > MAX_TRITON_TOKENS:
            raise ConfigurationError(
                f"implementation='triton' with {n} tokens: at most {MAX_TRITON_TOKENS} in one batch entry. "
                "Use 'auto', or select per tile or frame."
            )
    return implementation


@cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None


def run(
    method: Literal["tops", "max_min", "coverage", "dpp"],
    features: Tensor,
    scores: Tensor | None,
    k: int,
    *,
    implementation: str,
    needs_similarity: bool = True,
    **options: object,
) -> Tensor:
    """Similarities, then the greedy loop, where and how ``choose`` says.

    Parameters
    ----------
    method : str
        A function of the implementation modules.
    features : Tensor, (N, d) or (B, N, d)
        Checked.
    scores : Tensor or None, (N,) or (B, N)
        Scores per token, for the methods that take them.
    k : int
        Tokens to keep.
    implementation : str
        See :func:`choose`.
    needs_similarity : bool
        False: the formula at hand ignores similarities, none are computed.
    **options
        Of the method.

    Returns
    -------
    Tensor, (k,) or (B, k) int64
        On the device of ``features``.
    """
    name = choose(implementation, features.device, features.shape[-2])
    with torch.no_grad():
        batched = features.detach() if features.ndim == 3 else features.detach()[None]
        if name == "incremental":
            batched = batched.cpu()
            if method in ("max_min", "dpp"):
                values = as_array(batched)
                arguments = [] if scores is None else [scores.detach().reshape(values.shape[:2]).cpu().double().numpy()]
                chosen = torch.from_numpy(getattr(filtered, method)(values, *arguments, k))
                return chosen.reshape(*features.shape[:-2], k).to(features.device)
        similarity = fixed_point_similarity(batched) if needs_similarity else None
        if scores is not None:
            scores = scores.detach().reshape(batched.shape[:-1]).to(batched.device, torch.float64)
        order = loop(method, name, similarity, scores, k, **options)
    return order.reshape(*features.shape[:-2], k).to(features.device)


def loop(
    method: str, implementation: str, similarity: Tensor | None, scores: Tensor | None, k: int, **options: object
) -> Tensor:
    """The greedy loop alone, on similarities that are there.

    Parameters
    ----------
    method : str
        As in :func:`run`.
    implementation : str
        One of ``IMPLEMENTATIONS``.
    similarity : Tensor or None, (B, N, N) int32
        From :func:`tops.selection.similarity.fixed_point_similarity`.
    scores : Tensor or None, (B, N) float64
        Scores per token, for the methods that take them.
    k : int
        Tokens to keep.
    **options
        Of the method.

    Returns
    -------
    Tensor, (B, k) int64
        Indices in order of selection.
    """
    inputs: list[object] = [similarity] if scores is None else [similarity, scores]
    if implementation == "incremental":
        inputs = [x.numpy() if isinstance(x, Tensor) else x for x in inputs]
    home = "tops.selection.kernels.greedy" if implementation == "triton" else f"tops.selection.{implementation}"
    return torch.as_tensor(getattr(import_module(home), method)(*inputs, k, **options)[0])
