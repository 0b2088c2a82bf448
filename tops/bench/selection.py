"""``tops bench selection``: select_tops against the direct evaluation, in one run.

The direct evaluation is the plain loop over the paper's formulas with batched torch operations, in float32, the way it
is fastest. Equality is judged against the same loop in float64.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from tops.bench.measure import machine, median_seconds, synchronise, write_json
from tops.errors import ConfigurationError
from tops.selection import select_tops
from tops.selection.dispatch import choose, loop
from tops.selection.similarity import ONE, cosine_similarity, fixed_point_similarity

SHAPES = ("1x576:64", "5x576:128", "64x169:64", "1x2880:640", "1x2880:1280")
ALPHA, LAM = 0.5, 0.7


def main(argv: list[str]) -> int:
    """Measure, print the table, write the record; exit status 1 if any selection differs."""
    options = _parser().parse_args(argv)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            f"--device {options.device}: torch sees no CUDA device here. Use --device cpu, or a machine with a GPU."
        )
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    print("        shape  similarity       direct      greedy   ratio         all   ratio  same choice")
    for shape in options.shapes:
        row = measure(shape, device, width=options.width, repeats=options.repeats)
        rows.append(row)
        print(
            f"{shape:>13} {row['similarity_ms']:>8.2f} ms {row['direct_ms']:>9.1f} ms"
            f" {row['greedy_ms']:>8.2f} ms {row['greedy_ratio']:>6.1f}x"
            f" {row['all_ms']:>8.2f} ms {row['all_ratio']:>6.1f}x  {'yes' if row['same'] else 'NO'}",
            flush=True,
        )
    record = {"benchmark": "selection", "machine": machine(device), "width": options.width, "rows": rows}
    print(f"{record['machine']}, features of width {options.width}, alpha {ALPHA}, lambda {LAM}")
    print(
        "all: checks, similarities and greedy loop of select_tops; its ratio is over float32 similarities plus direct."
    )
    if options.json:
        write_json(options.json, record)
    return 0 if all(row["same"] for row in rows) else 1


def measure(shape: str, device: torch.device, *, width: int, repeats: int) -> dict[str, object]:
    """One row of the table.

    Parameters
    ----------
    shape : str
        ``"BxN:K"``: K tokens of N in each of B batch entries.
    device : torch.device
        Where both sides run.
    width : int
        Feature width d.
    repeats : int
        Timed calls of select_tops; the direct evaluation runs once, its warm-up is its first ten steps.

    Returns
    -------
    dict
        Milliseconds of each part, the two ratios, ``same`` (bool).
    """
    batch, n, k = parse_shape(shape)
    features, relevance = clustered(batch, n, width, device)
    plain = cosine_similarity(features)
    plain_seconds = median_seconds(lambda: cosine_similarity(features), device, repeats=repeats)
    greedy_direct(plain, relevance, min(k, 10))
    synchronise(device)
    start = time.perf_counter()
    greedy_direct(plain, relevance, k)
    synchronise(device)
    direct_seconds = time.perf_counter() - start
    del plain

    fixed, scores = fixed_point_similarity(features), relevance.double()
    name = choose("auto", device, n)
    same = torch.equal(
        select_tops(features, relevance, k, alpha=ALPHA, lam=LAM), greedy_direct(fixed.double() / ONE, relevance, k)
    )
    settings = {"alpha": ALPHA, "lam": LAM, "principles": "RCD", "normalisation": "mean"}
    greedy_seconds = median_seconds(lambda: loop("tops", name, fixed, scores, k, **settings), device, repeats=repeats)
    similarity_seconds = median_seconds(lambda: fixed_point_similarity(features), device, repeats=repeats)
    all_seconds = median_seconds(
        lambda: select_tops(features, relevance, k, alpha=ALPHA, lam=LAM), device, repeats=repeats
    )
    return {
        "shape": shape,
        "implementation": name,
        "similarity_ms": 1e3 * similarity_seconds,
        "direct_ms": 1e3 * direct_seconds,
        "greedy_ms": 1e3 * greedy_seconds,
        "greedy_ratio": direct_seconds / greedy_seconds,
        "all_ms": 1e3 * all_seconds,
        "all_ratio": (plain_seconds + direct_seconds) / all_seconds,
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


def greedy_direct(similarity: Tensor, relevance: Tensor, k: int) -> Tensor:
    """The paper's loop with mean normalisation, all pairs at every step, in the dtype of ``similarity``.

    Parameters
    ----------
    similarity : Tensor, (B, N, N)
        Cosine similarities.
    relevance : Tensor, (B, N)
        Relevance scores.
    k : int
        Tokens to keep.

    Returns
    -------
    Tensor, (B, k) int64
        Indices in order of selection.
    """
    entry = torch.arange(len(relevance), device=relevance.device)
    relevance = relevance.to(similarity.dtype)
    left = torch.ones_like(relevance, dtype=torch.bool)
    chosen = relevance.argmax(1)
    covered = similarity[entry, chosen]
    order = [chosen]
    pairs = torch.empty_like(similarity)  # allocated once: paging it in anew would slow every step down
    for _ in range(k - 1):
        left[entry, chosen] = False
        gain = torch.maximum(similarity, covered[:, :, None], out=pairs).sum(1) - covered.sum(1, keepdim=True)
        score = torch.zeros_like(relevance)
        for weight, term in ((1.0, relevance), (LAM, gain), (ALPHA, 1 - covered)):
            mean = (term * left).sum(1, keepdim=True) / left.sum(1, keepdim=True)
            score += weight * torch.where(mean == 0, 0.0, term / mean)
        chosen = torch.where(left, score, -torch.inf).argmax(1)
        covered = torch.maximum(covered, similarity[entry, chosen])
        order.append(chosen)
    return torch.stack(order, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench selection", description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), metavar="BxN:K", help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:I")
    parser.add_argument("--width", type=int, default=64, help="feature width d (default 64; LLaVA-1.5-7B has 4096)")
    parser.add_argument("--repeats", type=int, default=11, help="timed calls of select_tops, of which the median")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: as torch finds them)")
    parser.add_argument("--json", type=Path, help="also write the record here")
    return parser
