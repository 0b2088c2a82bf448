"""PruMerge and PruMerge+: one image at an automatic count and at fixed ones."""

from __future__ import annotations

import torch

from tops.budget import Budget, PromptShape
from tops.methods.prumerge_plus import PruMergePlus
from tops.selection.supplement import choose_literal
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .points import quartiles


def case(case: Arrays, check: Comparison) -> None:
    """Scores, the adaptive choice of PruMerge and PruMerge+, and the merged sequences."""
    point, n = _prumerge_point(case)
    method = PruMergePlus(rule="adaptive")
    scores, _ = method.scores_keys(point)
    check.close("cls_attn", scores, case["cls_attn"])
    ratio = quartiles(scores, case, check) / n
    check.close("ratio", ratio, case["ratio"])
    step = int(1 / ratio)
    check.same("step_length", step, case["step_length"])
    check.same("stride", int(step / 3), case["stride"])
    top = int(n * ratio)
    check.same("num_topk", top, case["num_topk"])
    for name, plus in (("prumerge", False), ("plus", True)):
        variant = PruMergePlus(rule="adaptive", supplement=plus)
        out = variant.select(point)
        assert out.rows is not None
        check.close(f"output_{name}", out.rows, case[f"output_{name}"])
        chosen = out.indices[:-1]
        check.same("topk_idx", chosen[:top], case["topk_idx"])
        if plus:
            check.same("supplement_idx", chosen[top:], case["supplement_idx"])
            check.same("selected_plus", chosen, case["selected_plus"])
            left = torch.ones(n, dtype=torch.bool)
            left[chosen] = False
            check.same("complement_plus", left.nonzero()[:, 0], case["complement_plus"])


def fixed_budget(case: Arrays, check: Comparison) -> None:
    """The official non-adaptive branch at several budgets, with its repeated and lost patches."""
    point, n = _prumerge_point(Arrays(case.path.with_name("case_2.npz")))
    for name in case.names("output_"):
        slots = int(name.removeprefix("output_"))
        check.close(f"ratio_{slots}", slots / (2 * n), case[f"ratio_{slots}"])
        method = PruMergePlus(budget=Budget(slots), rule="literal")
        assert method.schedule(PromptShape(n, 8)).cuts
        point.keep = slots
        out = method.select(point)
        assert out.rows is not None
        check.same(f"idx_{slots}", out.indices[:-1], case[f"idx_{slots}"])
        check.close(name, out.rows, case[name])
        scores, _ = method.scores_keys(point)
        _, rest = choose_literal(scores[None], slots, supplement=True)
        check.same(f"complement_{slots}", rest[0], case[f"complement_{slots}"])


def _prumerge_point(case: Arrays) -> tuple[ArrayPoint, int]:
    hidden, keys, query = case["hidden"], case["keys"], case["q_cls"]
    n = len(hidden) - 1
    vision = ArrayVision(
        cls=torch.zeros(1, 1, n + 1), encoder=hidden[None], last_keys=keys[None, None], last_query=query[None, None]
    )
    return ArrayPoint(keep=n, tokens=grid_tokens(hidden[1:]), vision=vision), n
