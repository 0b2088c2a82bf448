"""Build, check and time the cluster kernel of TOPS on a GPU of compute capability 9 (``scripts/bench_cluster.py``).

Picks are compared with the CPU's on clustered features; the exit status is 1 if any differ. The loop alone is timed,
beside the Triton kernel's, on similarities that are there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from tops.bench.measure import machine, median_seconds, write_json
from tops.bench.plain import ALPHA, LAM
from tops.bench.selection import SHAPES, clustered, parse_shape
from tops.errors import ConfigurationError
from tops.selection import select_tops
from tops.selection.dispatch import has_triton, loop
from tops.selection.kernels.cluster import ClusterKernel
from tops.selection.similarity import fixed_point_similarity


def main() -> int:
    """Check and time every shape, print the table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), metavar="BxN:K")
    parser.add_argument("--json", type=Path, help="also write the record here")
    options = parser.parse_args()
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] < 9:
        raise ConfigurationError("a GPU of compute capability 9 or above is needed, such as an H100")
    device, rows = torch.device("cuda"), []
    with tempfile.TemporaryDirectory() as folder:
        kernel = ClusterKernel(Path(folder))
        for shape in options.shapes:
            rows.append(measure(kernel, shape, device))
            print(rows[-1], flush=True)
    if options.json:
        write_json(options.json, {"benchmark": "cluster", "machine": machine(device), "rows": rows})
    return 0 if all(row["same"] for row in rows) else 1


def measure(kernel: ClusterKernel, shape: str, device: torch.device) -> dict[str, object]:
    """Milliseconds of both kernels' loops on one shape, and whether the cluster's picks are the CPU's."""
    batch, n, k = parse_shape(shape)
    features, scores = clustered(batch, n, 1024, torch.device("cpu"))
    similarity, relevance = fixed_point_similarity(features).to(device), scores.double().to(device)
    weights = {"alpha": ALPHA, "lam": LAM}
    order = kernel.tops(similarity, relevance, k, **weights)[0].cpu()
    row: dict[str, object] = {
        "shape": shape,
        "same": torch.equal(order, select_tops(features, scores, k, **weights)),
        "cluster_ms": 1e3 * median_seconds(lambda: kernel.tops(similarity, relevance, k, **weights), device, repeats=9),
    }
    if has_triton():
        triton = {**weights, "principles": "RCD", "normalisation": "mean"}
        row["triton_ms"] = 1e3 * median_seconds(
            lambda: loop("tops", "triton", similarity, relevance, k, **triton), device, repeats=9
        )
    return row


if __name__ == "__main__":
    sys.exit(main())
