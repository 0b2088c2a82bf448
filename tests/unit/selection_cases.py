"""Hard inputs for the greedy selections, and an implementation's answers; a script for Triton's interpreter."""

import json
import sys

import numpy as np
import torch

from tops.selection import select_coverage, select_dpp, select_max_min, select_tops

KINDS = ("random", "clustered", "near_duplicate", "duplicate", "opposite", "zero_rows")
SHAPES = {"tiny": (2, 14, 6, 9), "one": (1, 33, 8, 12), "batch": (3, 21, 6, 21), "long": (2, 70, 16, 30)}
WEIGHTS = {"alpha": 0.5, "lam": 0.7}
CALLS = {
    f"tops_{principles}_{normalisation}": lambda x, r, k, i, p=principles, n=normalisation: select_tops(
        x, r, k, **WEIGHTS, principles=p, normalisation=n, implementation=i
    )
    for principles in ("R", "C", "D", "RC", "RD", "CD", "RCD")
    for normalisation in ("mean", "minmax")
} | {
    "max_min": lambda x, r, k, i: select_max_min(x, k, implementation=i),
    "coverage": lambda x, r, k, i: select_coverage(x, r, k, implementation=i),
    "coverage_add": lambda x, r, k, i: select_coverage(x, r, k, alpha=0.5, combine="add", implementation=i),
    "dpp": lambda x, r, k, i: select_dpp(x, r, k, implementation=i),
}


def inputs(kind, shape):
    batch, n, d, k = SHAPES[shape]
    g = torch.Generator().manual_seed(KINDS.index(kind))
    x = torch.randn(batch, n, d, generator=g)
    r = torch.rand(batch, n, generator=g).square()
    source = torch.randint(4, (batch, n), generator=g)
    centres = x[torch.arange(batch)[:, None], source]
    if kind == "clustered":
        x = centres + 0.3 * x
    elif kind == "near_duplicate":
        x = centres + 1e-4 * x
        r = r[:, :1] + 1e-6 * r
    elif kind == "duplicate":
        x, r = centres, torch.ones_like(r)
    elif kind == "opposite":
        x[:, 1::2] = -x[:, : n - n % 2 : 2]
    elif kind == "zero_rows":
        x[:, ::3] = 0
        r[:, ::2] = 0
    return x, r, k


def answers(implementation, calls=tuple(CALLS), kinds=KINDS, shapes=tuple(SHAPES)):
    found = {}
    for kind in kinds:
        for shape in shapes:
            x, r, k = inputs(kind, shape)
            for call in calls:
                found[f"{call}/{kind}/{shape}"] = CALLS[call](x, r, k, implementation).tolist()
    return found


def float64_greedy(x, r, k, alpha, lam, principles, normalisation):
    """The paper's loop in numpy, ties (within rounding) to the lowest index; also the smallest gap between scores."""
    x, r = x.double().numpy(), r.double().numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    f = x @ x.T
    np.fill_diagonal(f, 1.0)
    order, gap = [int(r.argmax())], np.inf
    while len(order) < k:
        left = [i for i in range(len(r)) if i not in order]
        best = f[:, order].max(1)
        terms = {
            "R": r[left],
            "C": np.maximum(f[left][:, left] - best[left, None], 0).sum(0),
            "D": 1 - best[left],
        }
        score = np.zeros(len(left))
        for name, weight in (("R", 1.0), ("C", lam), ("D", alpha)):
            if name in principles:
                t = terms[name]
                low, scale = (0.0, t.mean()) if normalisation == "mean" else (t.min(), np.ptp(t))
                if scale != 0:
                    score = score + weight * (t - low) / scale
        below = score.max() - score
        if (below > 1e-11).any():
            gap = min(gap, float(below[below > 1e-11].min()))
        order.append(left[int((below <= 1e-11).argmax())])
    return order, gap


if __name__ == "__main__":
    json.dump(answers(sys.argv[1], kinds=sys.argv[2].split(), shapes=sys.argv[3].split()), sys.stdout)
