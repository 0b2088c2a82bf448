"""A checkpoint's card, for programs and for readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tops.store.answers import write_atomically


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write the card as ``card.json``, and for readers as ``README.md``."""
    write_atomically(folder / "card.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(folder / "README.md", render(card).encode())


def _table(table: dict[str, Any]) -> list[str]:
    """Markdown rows; entries that are dictionaries of the same keys become columns."""
    first = next(iter(table.values()), None)
    if isinstance(first, dict) and all(isinstance(v, dict) and v.keys() == first.keys() for v in table.values()):
        head = ["", *first]
        rows = [[key, *(str(value) for value in entry.values())] for key, entry in table.items()]
    else:
        head, rows = ["", ""], [[key, str(value)] for key, value in table.items()]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def render(card: dict[str, Any]) -> str:
    """The card as Markdown: plain facts first, then one table per group."""
    flat = {key.replace("_", " "): value for key, value in card.items() if not isinstance(value, dict)}
    parts = [f"# Miniature {card['family']}", "", *_table(flat)]
    for key, value in card.items():
        if isinstance(value, dict):
            parts += ["", f"## {key.replace('_', ' ').capitalize()}", "", *_table(value)]
    return "\n".join(parts) + "\n"
