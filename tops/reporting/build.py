"""Everything a report of one experiment consists of, from the store to files."""

from __future__ import annotations

from pathlib import Path

from tops.reporting import render
from tops.reporting.layout import main_tables
from tops.reporting.results import Results
from tops.reporting.table import Table


def write_tables(name: str, tables: list[Table], folder: Path) -> list[Path]:
    """One file per format with all tables of a report; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "md": "\n".join(render.markdown(t) for t in tables),
        "csv": "\n".join(render.as_csv(t) for t in tables),
        "tex": "\n".join(render.latex(t) for t in tables),
        "html": _document(tables),
    }
    paths = []
    for ending, content in contents.items():
        path = folder / f"{name}.{ending}"
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths


def _document(tables: list[Table]) -> str:
    body = "\n".join(render.html(t) for t in tables)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{body}</body></html>\n"


def build(results: Results, folder: Path) -> list[Path]:
    """Write the report of an experiment."""
    return write_tables(results.name, main_tables(results), folder)
