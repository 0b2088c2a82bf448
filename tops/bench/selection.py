"""``tops bench selection``: the greedy selections against plain statements of their authors' code, in one run.

Timed is the whole call, features to indices: checks, similarities and the greedy loop. Both sides take turns, so that
other load on the machine meets both. Picks are compared with the formulas in exact similarities and float64; those of
the plain statements differ where float32 cannot tell two tokens apart.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tops.bench.measure import interleaved_seconds, machine, write_json
from tops.bench.plain import ALPHA, LAM, STATEMENTS
from tops.errors import ConfigurationError
from tops.selection import select_coverage, select_dpp, select_max_min, select_tops
from tops.selection.dispatch import Implementation, choose

SHAPES = ("1x576:64", "1x576:128", "1x2880:320", "1x2880:640", "5x576:128", "64x169:64")
WIDTHS = (1024, 4096)
Select = Callable[[Tensor, Tensor, int, Implementation], Tensor]
SELECTIONS: dict[str, Select] = {
    "tops": lambda x, s, k, i: select_tops(x, s, k, alpha=ALPHA, lam=LAM, implementation=i),
    "scope": lambda x, s, k, i: select_coverage(x, s, k, implementation=i),
    "divprune": lambda x, s, k, i: select_max_min(x, k, implementation=i),
    "cdpruner": lambda x, s, k, i: select_dpp(x, s, k, implementation=i),
}


def main(argv: list[str]) -> int:
    """Measure, print the table, write the record; exit status 1 if any selection differs from the exact formulas."""
    options = _parser().parse_args(argv)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            f"--device {options.device}: torch sees no CUDA device here. Use --device cpu, or a machine with a GPU."
        )
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    print("width         shape  method            ours         plain   ratio   same choice as the exact formulas")
    for width in options.widths:
        for shape in options.shapes:
            for method in options.methods:
                # Loops do not depend on the width: one width is enough to compare their picks.
                exact = width == options.widths[0] and not options.unchecked
                row = measure(method, shape, device, width=width, repeats=options.repeats, exact=exact)
                rows.append(row)
                same = {True: "yes", False: "NO", None: "-"}[row["same"]]  # type: ignore[index]
                print(
                    f"{width:>5} {shape:>13}  {method:<9} {row['ours_ms']:>9.2f} ms {row['plain_ms']:>10.2f} ms"
                    f" {row['ratio']:>6.2f}x  {same}",
                    flush=True,
                )
    ratios = [float(row["ratio"]) for row in rows]  # type: ignore[arg-type]
    record = {
        "benchmark": "selection",
        "machine": machine(device),
        "rows": rows,
        "ratio": {"least": min(ratios), "median": statistics.median(ratios)},
    }
    print(f"ratio: least {min(ratios):.2f}, median {statistics.median(ratios):.2f}")
    print(f"{record['machine']}, alpha {ALPHA}, lambda {LAM}")
    if options.json:
        write_json(options.json, record)
    return 0 if all(row["same"] is not False for row in rows) else 1


def measure(
    method: str, shape: str, device: torch.device, *, width: int, repeats: int, exact: bool
) -> dict[str, object]:
    """One row of the table.

    Parameters
    ----------
    method : str
        One of ``SELECTIONS``.
    shape : str
        ``"BxN:K"``: K tokens of N in each of B batch entries.
    device : torch.device
        Where both sides run.
    width : int
        Feature width d.
    repeats : int
        Timed calls of each side.
    exact : bool
        Whether to compare the picks with the formulas in float64.

    Returns
    -------
    dict
        Milliseconds of both sides, their ratio, ``same`` (bool; None where it was not compared).
    """
    batch, n, k = parse_shape(shape)
    features, scores = clustered(batch, n, width, device)
    select, plain = SELECTIONS[method], STATEMENTS[method]
    ours, theirs = interleaved_seconds(
        [lambda: select(features, scores, k, "auto"), lambda: plain(features, scores, k)], device, repeats=repeats
    )
    same: bool | None = None
    if exact:
        same = torch.equal(select(features, scores, k, "auto"), select(features, scores, k, "direct"))
    return {
        "method": method,
        "shape": shape,
        "width": width,
        "implementation": choose("auto", device, n),
        "ours_ms": 1e3 * ours,
        "plain_ms": 1e3 * theirs,
        "ratio": theirs / ours,
        "same": same,
    }


def parse_shape(shape: str) -> tuple[int, int, int]:
    """(B, N, K) of ``"BxN:K"``.

    Raises
    ------
    ConfigurationError
        If it does not read so.
    """
    try:
        tokens, _, k = shape.partition(":")
        batch, _, n = tokens.partition("x")
        numbers = (int(batch), int(n), int(k))
    except ValueError:
        numbers = (0, 0, 0)
    if not (numbers[0] >= 1 and 1 <= numbers[2] <= numbers[1]):
        raise ConfigurationError(f"shape {shape!r}: BxN:K with 1 <= K <= N is needed, such as 5x576:128.")
    return numbers


def clustered(batch: int, n: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Features in clusters with noise, (B, N, d), and a long-tailed relevance, (B, N); the same for the same sizes."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, width, generator=generator)
    noise = torch.randn(batch, n, width, generator=generator)
    features = centres[torch.randint(40, (batch, n), generator=generator)] + 0.7 * noise
    return features.to(device), torch.rand(batch, n, generator=generator).square().to(device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench selection", description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), metavar="BxN:K", help="default: %(default)s")
    parser.add_argument("--methods", nargs="+", choices=sorted(SELECTIONS), default=list(SELECTIONS))
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="feature widths d (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:I")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each side, of which the median")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: as torch finds them)")
    parser.add_argument(
        "--unchecked", action="store_true", help="leave out the comparison of picks, which takes longest"
    )
    parser.add_argument("--json", type=Path, help="also write the record here")
    return parser
