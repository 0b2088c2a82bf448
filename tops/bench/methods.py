"""``tops bench methods``: milliseconds per selection of every method, against random selection and plain statements.

Measured is ``select`` alone, on synthetic arrays in the layouts of LLaVA-1.5 (576 tokens), LLaVA-NeXT (5 tiles of 576)
and LLaVA-Video (64 frames of 169), at the paper's largest budget of each. Attention rows are computed from queries and
keys, as the engine does; vision towers, projectors and text towers are not part of it. Five methods are also timed
against a plain statement of their authors' code (:mod:`tops.bench.plain`) on the same arrays, both sides taking turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tops.bench import plain
from tops.bench.measure import interleaved_seconds, machine, median_seconds, write_json
from tops.budget import Budget, PromptShape
from tops.errors import BudgetError, ConfigurationError
from tops.methods import build, method_names
from tops.methods.base import InputControl, Method
from tops.methods.units import Scope, groups
from tops.testing import ArrayPoint, ArrayText, ArrayVision, grid_tokens

# tokens: (units, images, tokens of a unit, kept)
LAYOUTS = {576: (1, 1, 576, 128), 2880: (5, 1, 576, 640), 10816: (64, 64, 169, 64 * 64)}
TEXT, HEAD, JOINT = 64, 64, 768


@dataclass
class _Point(ArrayPoint):
    """Computes the attention rows that it is asked for."""

    def attention(self, rows: Tensor, *, layer: Literal["own", "previous"] = "own", rope: bool = True) -> Tensor:
        keys = self.keys(layer=layer)
        scores = keys[:, rows] @ keys.mT / HEAD**0.5
        future = torch.arange(keys.shape[1], device=keys.device) > rows[:, None]
        probabilities: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1)
        return probabilities


def main(argv: list[str]) -> int:
    """Measure, print the table, write the record."""
    options = _parser().parse_args(argv)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"--device {options.device}: torch sees no CUDA device here; use --device cpu")
    names = options.methods or [n for n in method_names() if _selects(n)]
    reference: dict[int, float] = {}
    rows: dict[str, dict[int, float | None]] = {}
    print(f"{'method':<16}" + "".join(f"{n:>13,} tokens   " for n in options.tokens))
    for name in ["random", *(n for n in names if n != "random")]:
        rows[name] = {n: milliseconds(name, n, device, options.width, options.repeats) for n in options.tokens}
        if name == "random":
            reference = {n: value for n, value in rows[name].items() if value}
        print(f"{name:<16}" + "".join(_cell(rows[name][n], reference[n]) for n in options.tokens), flush=True)
    ratios: dict[str, dict[int, float | None]] = {}
    compared = [name for name in names if name in PLAIN]
    if compared:
        print("\nwhole select(): a plain statement's time over ours")
    for name in compared:
        ratios[name] = {n: ratio_to_plain(name, n, device, options.width, options.repeats) for n in options.tokens}
        cells = "".join("-".rjust(14) if value is None else f"{value:>13.2f}x" for value in ratios[name].values())
        print(f"{name:<16}{cells}", flush=True)
    record = {
        "benchmark": "methods",
        "machine": machine(device),
        "width": options.width,
        "milliseconds": rows,
        "plain_over_ours": ratios,
    }
    print(f"{record['machine']}, width {options.width}; x: times random; -: not on this layout")
    if options.json:
        write_json(options.json, record)
    return 0


def milliseconds(name: str, tokens: int, device: torch.device, width: int, repeats: int) -> float | None:
    """Median milliseconds of one selection at the method's first cut; None where the method refuses the layout.

    Parameters
    ----------
    name : str
        Method.
    tokens : int
        576, 2880 or 10816.
    device : torch.device
        Where the arrays lie.
    width : int
        Width of features, hidden states and encoder features.
    repeats : int
        Calls that count, after one that does not.
    """
    prepared = _prepare(name, tokens, device, width)
    if prepared is None:
        return None
    with torch.no_grad():
        return 1e3 * median_seconds(lambda: _select(*prepared), device, repeats=repeats)


def ratio_to_plain(name: str, tokens: int, device: torch.device, width: int, repeats: int) -> float | None:
    """Time of a plain statement of one of ``PLAIN`` over ours; parameters and None as in :func:`milliseconds`."""
    prepared = _prepare(name, tokens, device, width)
    if prepared is None:
        return None
    method, point = prepared
    with torch.no_grad():
        ours, theirs = interleaved_seconds(
            [lambda: _select(method, point), lambda: PLAIN[name](point)], device, repeats=repeats
        )
    return theirs / ours


def _prepare(name: str, tokens: int, device: torch.device, width: int) -> tuple[Method, _Point] | None:
    units, images, size, keep = LAYOUTS[tokens]
    method: Method = build(name, budget=Budget(keep // images, "kept"))
    try:
        cut = method.schedule(PromptShape(tokens, 32, images)).cuts[0]
    except BudgetError:
        return None
    point = scene(units, images, size, device, width)
    point.layer, point.keep = cut.layer, cut.keep
    return method, point


def _select(method: Method, point: _Point) -> object:
    point.memory.clear()
    return method.select(point)


def _plain(
    statement: Callable[[Tensor, Tensor, int], Tensor],
    read: Callable[[_Point], tuple[Tensor, Tensor]],
    *,
    scope: Scope = "unit",
) -> Callable[[_Point], object]:
    """A plain statement on the arrays of a point, unit by unit as our method shares the budget."""

    def run(point: _Point) -> object:
        features, scores = read(point)
        shared = groups(point, proportional=False, scope=scope)
        return [statement(features[g.positions], scores[g.positions], g.keep) for g in shared]

    return run


def _conditional(point: _Point) -> tuple[Tensor, Tensor]:
    patches, text = point.vision.joint_embeddings().flatten(0, 1), point.text.clip_embeddings("", segments=True)
    away = -(normalize(patches, dim=-1) @ normalize(text, dim=-1).mT).mean(-1)
    return point.tokens.features, (away - away.min() + 1e-6) / (away.max() - away.min())


def _trim(point: _Point) -> object:
    hidden, joint = point.vision.encoder_features()[:, 1:], point.vision.joint_embeddings()
    return plain.trim(hidden, joint, point.text.clip_embeddings("", segments=False)[0], point.keep // len(hidden) - 1)


PLAIN: dict[str, Callable[[_Point], object]] = {
    "tops": _plain(plain.tops, lambda p: (p.tokens.features, p.vision.saliency())),
    "scope": _plain(
        plain.scope, lambda p: (p.vision.encoder_features()[:, 1:].flatten(0, 1), p.vision.saliency(reduce="sum"))
    ),
    "divprune": _plain(plain.divprune, lambda p: (p.tokens.features, p.tokens.features[:, 0]), scope="image"),
    "cdpruner": _plain(plain.cdpruner, _conditional),
    "trim": _trim,
}


def scene(units: int, images: int, size: int, device: torch.device, width: int) -> _Point:
    """Arrays of every signal, drawn once from a fixed seed."""
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    n, heads = units * size, max(1, width // HEAD)
    features, text = draw(n, width), draw(TEXT, width)
    keys = draw(heads, n + TEXT, HEAD)
    encoder_keys = draw(units, 16, 1 + size, 64)
    cls, received = draw(units, 16, 1 + size).softmax(-1), draw(n).softmax(-1)
    return _Point(
        keep=1,
        shape=PromptShape(n, 32, images),
        tokens=grid_tokens(features, units=units, images=images),
        vision=ArrayVision(
            cls=cls,
            cls_at={5: cls},
            received_at={"feature": received, 8: received},
            encoder=draw(units, 1 + size, width),
            feature_keys=encoder_keys,
            last_keys=encoder_keys,
            feature_query=encoder_keys[:, :, 0],
            last_query=encoder_keys[:, :, 0],
            joint=draw(units, size, JOINT),
            inputs=features,
        ),
        text=ArrayText("What is it?", tokens=text, clip=draw(1, JOINT)),
        length=n + TEXT,
        states=torch.cat([features, text]),
        own_keys=keys,
        previous_keys=keys,
        norm=(torch.ones(width, device=device), 1e-6),
        ids=torch.arange(n + TEXT, device=device),
    )


def _selects(name: str) -> bool:
    method: Any = build(name)
    return not isinstance(method, InputControl)


def _cell(value: float | None, reference: float) -> str:
    return f"{'-':>14}         " if value is None else f"{value:>10.2f} ms {value / reference:>7.1f}x "


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench methods", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("methods", nargs="*", help="default: all that select tokens")
    parser.add_argument("--tokens", type=int, nargs="+", choices=sorted(LAYOUTS), default=sorted(LAYOUTS))
    parser.add_argument("--width", type=int, default=1024, help="width of features (default 1024)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the record here")
    return parser
