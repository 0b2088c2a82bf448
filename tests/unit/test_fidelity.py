"""Teacher-forced loss of a given answer: against generation step by step, on every family, pruned and not."""

from contextlib import nullcontext

import pytest
import tiny
import tiny_families
import torch

from tops.benchmarks.scorers import RULES
from tops.budget import Budget
from tops.engine import prune
from tops.errors import NonFiniteError
from tops.evaluation.fidelity import teacher_forced
from tops.methods import build

FAMILIES = {**tiny.FAMILIES, **tiny_families.FAMILIES}


@pytest.mark.parametrize("method", [None, "uniform", "fastv"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_steps_of_generation(family, method):
    case = FAMILIES[family]()
    length = case.inputs["input_ids"].shape[1]
    chosen = None if method is None else build(method, budget=Budget(0.6, "kept"))
    with nullcontext() if chosen is None else prune(case.model, chosen):
        out = case.model.generate(
            **case.inputs, do_sample=False, max_new_tokens=4, return_dict_in_generate=True, output_logits=True
        )
        answer = out.sequences[:, length:]
        forced = teacher_forced(case.model, case.inputs, answer)
        other = teacher_forced(case.model, case.inputs, (answer + 1) % 80)
        short = teacher_forced(case.model, case.inputs, answer[:, :1])
    wanted = [-step.float().log_softmax(-1)[0, token] for step, token in zip(out.logits, answer[0], strict=True)]
    torch.testing.assert_close(torch.tensor(forced.loss), torch.stack(wanted), rtol=1e-4, atol=1e-4)
    assert forced.agrees == [True] * 4
    assert sum(other.loss) > sum(forced.loss)
    assert short.loss == pytest.approx(forced.loss[:1], abs=1e-5)


def test_a_loss_that_is_not_finite_is_an_error():
    case = tiny.llava()
    case.model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(NonFiniteError):
        teacher_forced(case.model, case.inputs, torch.tensor([[3, 4]]))


def test_the_rule_weighs_documents_alike():
    rule = RULES["fidelity"]
    targets = [
        {"loss": [1.0, 3.0], "unpruned_loss": [0.5, 0.5], "agrees": [True, False]},
        {"loss": [0.5], "unpruned_loss": [0.5], "agrees": [True]},
    ]
    metrics = {name: m.point for name, m in rule.metrics([rule.row("", t) for t in targets]).items()}
    assert metrics == {"agreement": 75.0, "loss_increase": 0.75, "loss": 1.25, "unpruned_loss": 0.5}
