"""One self-contained HTML page per experiment: nothing is loaded from anywhere, everything from data is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from tops.reporting.figures.picture import Picture
from tops.reporting.tables.table import Table
from tops.store.secrets import without_secrets
from tops.store.store import Record


def _resource(name: str) -> str:
    return files("tops.reporting.pages").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.j2")


def safe_json(value: Any) -> str:
    """JSON that may stand inside a script element: no character of it can end the element or start a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def provenance(records: Sequence[Record]) -> dict[str, Any]:
    """What the page shows of each cell, by key."""
    return {
        r.key: {
            "label": r.spec.label,
            "status": r.status.value,
            "scorer": r.default_scorer,
            "scores": {s: v.get("metrics", {}) for s, v in r.scores.items()},
            "provenance": _without_machine(r.provenance),
            "judge": _without_machine(_judge(r)),
            "specification": r.spec.as_dict(),
        }
        for r in records
    }


_MACHINE = ("host", "command", "url", "platform")  # names of machines, users and folders: no business of a reader


def _without_machine(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_machine(v) for k, v in value.items() if k not in _MACHINE}
    return without_secrets(value) if isinstance(value, str) else value


def _judge(record: Record) -> dict[str, Any]:
    scores = record.scores[record.default_scorer] if record.default_scorer is not None else {}
    return dict(scores.get("judge") or {})


def page(
    *,
    title: str,
    miniature: bool,
    note: str = "",
    tables: Sequence[Table],
    summary: Sequence[str] = (),
    warnings: Sequence[str] = (),
    pictures: Sequence[Picture] = (),
    records: Sequence[Record] = (),
    documents: dict[str, Any] | None = None,
) -> str:
    """The page as text.

    Parameters
    ----------
    title : str
        First heading.
    note : str
        What the run was limited to, below the heading.
    miniature : bool
        Whether a banner says that no number compares with the paper's.
    tables : sequence of Table
        The main one first.
    summary, warnings : sequence of str
        Sentences at the top.
    pictures : sequence of Picture
        Figures.
    records : sequence of Record
        Cells whose provenance a click shows.
    documents : dict, optional
        From :func:`tops.reporting.data.samples.browser_data`; without documents there is no browser.
    """
    from markupsafe import Markup

    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text: str = _template().render(
        title=title,
        miniature=miniature,
        note=note,
        summary=summary,
        warnings=warnings,
        tables=tables,
        pictures=pictures,
        has_documents=bool(documents and documents["documents"]),
        data=Markup(safe_json({"cells": provenance(records), "browser": documents})),
        style=Markup(_resource("page.css")),
        script=Markup(script),
        script_hash=digest,
        version=version("tops"),
    )
    return text
