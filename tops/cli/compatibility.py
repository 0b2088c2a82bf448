"""Which method runs on which model family: a table derived from what both declare. ``tops compatibility``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tops.methods import build, method_class, method_names

if TYPE_CHECKING:
    from tops.backbones.base import Adapter

DOCUMENT = Path(__file__).parents[1] / "docs" / "compatibility.md"
_HEAD = """# Compatibility

`tops compatibility --write` writes this page from what methods and families declare. A test checks that it is up to
date, runs every pair marked *yes*, and expects a refusal by name from every other pair.

## Families

| family | transformers class | signals | position ids after a cut |
|---|---|---|---|
"""
_MIDDLE = """
`saliency`: CLS attention of each visual token, or, where the vision tower has no CLS token, the mean attention that it
receives. `received`: the mean attention received on every tower, in any of its layers. `cls`: a CLS token. `encoder`:
features, keys and queries of the tower per patch, and a projector that works on single rows. `text_tower`: CLIP's text
tower, which belongs to CLIP's vision tower only. `frames`: videos; methods that need it refuse a prompt that shows a
single image.

## Methods

"""


def missing(method: str, adapter: type[Adapter]) -> list[str]:
    """Signals that a method needs and a family lacks, sorted; empty when it runs."""
    have = adapter.available()
    return sorted(build(method).needs(have) - have)


def table() -> str:
    """The document, Markdown."""
    from tops.backbones import families

    known = dict(sorted(families().items()))
    rows = []
    for name, adapter in known.items():
        classes, signals = (f"`{cls}`" for cls in adapter.model_classes), sorted(adapter.available())
        rows.append(f"| {name} | {', '.join(classes)} | {', '.join(signals)} | {adapter.default_positions} |")
    lines = [f"| method | {' | '.join(known)} |", f"|---|{'---|' * len(known)}"]
    for method in sorted(method_names()):
        cells = [", ".join(missing(method, adapter)) for adapter in known.values()]
        lines.append(
            f"| {method_class(method).title} | {' | '.join(f'lacks {cell}' if cell else 'yes' for cell in cells)} |"
        )
    return _HEAD + "\n".join(rows) + "\n" + _MIDDLE + "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """Print the table, or write it into the documentation with ``--write``."""
    parser = argparse.ArgumentParser(prog="tops compatibility", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help=f"write {DOCUMENT.name} of the docs instead of printing it"
    )
    if parser.parse_args(argv).write:
        DOCUMENT.write_text(table(), encoding="utf-8")
        print(f"wrote {DOCUMENT}")
    else:
        print(table(), end="")
    return 0
