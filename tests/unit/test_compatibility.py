"""The compatibility table says what happens: every method on every family, pruned and generated."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import tiny_families
import torch
from test_loading import encoder

from tops.backbones import adapter_for
from tops.cli.compatibility import DOCUMENT, main, missing, table
from tops.engine import prune
from tops.errors import BudgetError, MissingSignalError
from tops.methods import build, method_names
from tops.signals import Signal

# They act on pictures, not on tokens.
WITHOUT_RATIO: dict[str, dict[str, Any]] = {
    "text_only": {},
    "blank_image": {},
    "shuffled_image": {},
    "downsampling": {"budget": 4},
}
CASES = tiny.FAMILIES | tiny_families.FAMILIES


def test_the_document_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == table(), "run `tops compatibility --write`"
    assert main([]) == 0
    assert capsys.readouterr().out == table()


@torch.no_grad()
@pytest.mark.parametrize("case_name", CASES)
def test_every_method_runs_where_the_table_says_so(case_name: str) -> None:
    case = CASES[case_name]()
    adapter = adapter_for(case.model)
    text = encoder() if Signal.ENCODER in adapter.signals else None
    options: dict[str, Any] = {"text_encoder": text, "question": "how many dogs ?"}
    for name in method_names():
        method = build(name, **WITHOUT_RATIO.get(name, {"budget": 0.6}))
        if lacking := missing(name, type(adapter)):
            with pytest.raises(MissingSignalError, match=f"needs {', '.join(lacking)}, and {adapter.family} has"):
                prune(case.model, method, **options).__enter__()
            continue
        if Signal.FRAMES in method.signals and "video" not in case_name:
            with (
                pytest.raises(BudgetError, match="compares the frames of a video"),
                prune(case.model, method, **options),
            ):
                case.model(**case.inputs)
            continue
        with prune(case.model, method, **options) as run:
            out = case.model.generate(
                **case.inputs, max_new_tokens=2, do_sample=False, suppress_tokens=[90, 91, 92, 93]
            )
        assert out.shape[1] == case.inputs["input_ids"].shape[1] + 2, name
        (record,) = run.last
        assert record.visual_tokens_per_layer == record.scheduled, name
