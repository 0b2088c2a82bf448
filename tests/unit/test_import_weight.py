"""What must start fast imports nothing heavy: planning, reading results and the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "lmms_eval", "datasets", "wandb", "scipy", "pandas", "matplotlib")


@pytest.mark.parametrize(
    "statement",
    [
        "import tops, tops.cli.main, tops.budget, tops.tokens, tops.signals, tops.selection",
        "import tops.methods; [tops.methods.method_class(n) for n in tops.methods.method_names()]",
        "import tops.planning.plan, tops.store.store, tops.store.cell",
        "import tops.paper.audit",
        "from tops.backbones import families; assert 'llava' in families()",
        "from tops.cli.main import main; assert main(['--help']) == 0",
        "from tops.cli.main import main; assert main(['bench', '--help']) == 0",
        "from tops.cli.main import main; assert main('plan experiment=table1 profile=miniature limit=2'.split()) == 0",
    ],
)
def test_light(statement: str) -> None:
    code = f"import sys\n{statement}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_reports_need_no_torch() -> None:
    code = "import sys, tops.statistics, tops.reporting.build; print([m for m in sys.modules if m == 'torch'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_library_imports_little_beyond_torch() -> None:
    code = "import sys; from tops import TOPS, prune; print({'transformers', 'torch._dynamo'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
