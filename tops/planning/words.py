"""The command that a person runs for one cell."""

from __future__ import annotations

import json
import shlex
from typing import Any

from tops.settings.methods import changed_options
from tops.store.cell import Cell


def command_of(cell: Cell) -> str:
    """``tops run ...`` with every key that differs from its default, quoted for a shell."""
    words = [f"backbone={cell.backbone.name}", f"method={cell.method.name}"]
    if cell.budget is not None:
        words.append(f"budget={cell.budget.value}")
        if cell.budget.protocol != "layer_average":
            words.append(f"protocol={cell.budget.protocol}")
    options = changed_options(cell.method.name, cell.method.options)
    words += [f"method.{name}={_hydra(value)}" for name, value in sorted(options.items())]
    words.append(f"benchmark={cell.benchmark.name}")
    convention = cell.benchmark.prompt.get("convention", "default")
    if convention != "default":
        words.append(f"benchmark.convention={convention}")
    if cell.benchmark.limit is not None:
        words.append(f"limit={cell.benchmark.limit}")
    if cell.seed:
        words.append(f"seed={cell.seed}")
    words.append(f"profile={cell.profile}")
    return " ".join(["tops", "run", *map(shlex.quote, words)])


def _hydra(value: Any) -> str:
    """A value in the grammar of an override."""
    return value if isinstance(value, str) else json.dumps(value)
