"""One self-contained HTML page per experiment: it loads nothing from elsewhere, and all text from data is escaped."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from tops.planning.words import command_of
from tops.reporting.figures.picture import Picture
from tops.reporting.pages.terms import TERMS, hint
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


def provenance(records: Sequence[Record]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Provenance that the page shows: the facts that all cells share, and each cell's own facts.

    Host names stay out: a page is shown to strangers.
    """
    facts = [
        {
            **_flat(r.spec.as_dict(), "specification"),
            **_flat(_public(r.provenance), "run"),
            **(_flat(_public(judge), "judge") if (judge := _judge(r)) else {}),
        }
        for r in records
    ]
    common = dict(facts[0]) if facts else {}
    for own in facts[1:]:
        common = {name: value for name, value in common.items() if own.get(name) == value}
    cells = [
        {
            "key": r.key,
            "label": r.spec.label,
            "command": command_of(r.spec),
            "status": r.status.value,
            "scorer": r.default_scorer,
            "scores": {s: v.get("metrics", {}) for s, v in r.scores.items()},
            "facts": {name: value for name, value in own.items() if name not in common},
        }
        for r, own in zip(records, facts, strict=True)
    ]
    return common, cells


# Names of machines, users and folders are private, and nobody else can run the command of a worker.
_PRIVATE = ("host", "hostname", "command", "platform", "url")


def _public(content: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance without names of machines or persons, at any depth, and without keys in addresses."""
    return {name: _shown(value) for name, value in content.items() if name not in _PRIVATE}


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _public(value)
    return without_secrets(value) if isinstance(value, str) else value


def _judge(record: Record) -> dict[str, Any]:
    scores = record.scores[record.default_scorer] if record.default_scorer is not None else {}
    return dict(scores.get("judge") or {})


def _flat(value: Any, name: str) -> dict[str, str]:
    """Nested settings as ``a.b.c`` to text."""
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{name}.{key}").items()}
    return {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}


def _packed(value: Any) -> str:
    """JSON, compressed, in base64: the same bytes for the same content."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def page(
    *,
    title: str,
    miniature: bool,
    note: str = "",
    verdict: str = "",
    account: str = "",
    main: Sequence[Table],
    more: Sequence[Table] = (),
    summary: Sequence[str] = (),
    warnings: Sequence[str] = (),
    pictures: Sequence[Picture] = (),
    records: Sequence[Record] = (),
    documents: dict[str, Any] | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as text.

    Parameters
    ----------
    title : str
        First heading.
    miniature : bool
        Whether a banner says that no number may be compared with the paper's.
    note : str
        Limits of the run.
    verdict : str
        The sentence at the top.
    account : str
        How many places have a number, and why the others have none.
    main, more : sequence of Table
        Tables of the first screen, and those below.
    summary, warnings : sequence of str
        Sentences below and above the main table.
    pictures : sequence of Picture
        Figures; budget curves stand on the first screen.
    records : sequence of Record
        Cells whose provenance a click shows.
    documents : dict, optional
        From :func:`tops.reporting.data.samples.browser_data`; without documents there is no browser.
    links : sequence of (address, text)
        Other pages of the site.
    """
    from markupsafe import Markup

    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    common, cells = provenance(records)
    number = {cell["key"]: str(i) for i, cell in enumerate(cells)}
    if documents:
        for document in documents["documents"]:
            for answer in document["answers"].values():
                answer["cell"] = number.get(answer["cell"], answer["cell"])
    text: str = _template().render(
        title=title,
        miniature=miniature,
        note=note,
        verdict=verdict,
        account=account,
        summary=summary,
        warnings=warnings,
        main=main,
        more=more,
        curves=[picture for picture in pictures if picture.first],
        pictures=[picture for picture in pictures if not picture.first],
        has_documents=bool(documents and documents["documents"]),
        links=links,
        terms=TERMS,
        hint=hint,
        numbers_of=lambda keys: " ".join(number.get(key, key) for key in keys),
        data=Markup(_packed({"cells": cells, "common": common, "browser": documents})),
        style=Markup(_resource("page.css")),
        script=Markup(script),
        script_hash=digest,
        version=version("tops"),
    )
    return text
