"""What must start fast imports nothing heavy: planning, reading results and the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "lmms_eval", "datasets", "wandb")


@pytest.mark.parametrize(
    "statement",
    [
        "import tops, tops.cli, tops.budget, tops.tokens, tops.signals, tops.selection",
        "import tops.methods; [tops.methods.method_class(n) for n in tops.methods.method_names()]",
        "import tops.experiments.plan, tops.experiments.store, tops.experiments.cell",
        "import tops.statistics, tops.paper.audit, tops.reporting.build",
    ],
)
def test_light(statement: str) -> None:
    code = f"import sys; {statement}; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
