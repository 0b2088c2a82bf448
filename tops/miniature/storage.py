"""Files of the miniature data: Parquet with the columns that a hub repository has, and hashes of what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tops.miniature.documents import IMAGE, NUMBERS, STRINGS, Part


def sha256_of_hashes(hashes: Mapping[str, str]) -> str:
    """Hex sha256 over names and hashes of many files, independent of their order."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _feature(kind: Any) -> Any:
    from datasets import Image, List, Value

    if isinstance(kind, dict):
        return {name: _feature(inner) for name, inner in kind.items()}
    if kind == IMAGE:
        return Image()
    lists = {STRINGS: "string", NUMBERS: "float32"}
    return List(Value(lists[kind])) if kind in lists else Value(kind)


def write_part(path: Path, part: Part) -> None:
    """Write one split as Parquet, with the column types that the ``datasets`` library reads back.

    Parameters
    ----------
    path : Path
        File to write; its folder is made.
    part : Part
        The rows. Images become ``{"bytes", "path"}`` records.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    schema = Features({name: _feature(kind) for name, kind in part.columns.items()}).arrow_schema
    columns = {}
    for name, kind in part.columns.items():
        values = [row[name] for row in part.rows]
        if kind == IMAGE:
            values = [None if value is None else {"bytes": value, "path": None} for value in values]
        columns[name] = pa.array(values, type=schema.field(name).type)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema), path, compression="snappy")


def write_repository(folder: Path, parts: Iterable[Part]) -> None:
    """Write a data set as a hub repository is laid out: Parquet files, and their list in the head of README.md.

    Parameters
    ----------
    folder : Path
        The repository.
    parts : iterable of Part
        Its splits.
    """
    configs: dict[str, list[str]] = {}
    for part in parts:
        below = part.config or "data"
        write_part(folder / below / f"{part.split}-00000-of-00001.parquet", part)
        lines = configs.setdefault(part.config or "default", [])
        lines.append(f"  - split: {part.split}\n    path: {below}/{part.split}-*\n")
    head = "".join(f"- config_name: {name}\n  data_files:\n{''.join(lines)}" for name, lines in configs.items())
    text = (
        f"---\nconfigs:\n{head}---\nGenerated scenes in the schema of this data set; none of its documents are here.\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
