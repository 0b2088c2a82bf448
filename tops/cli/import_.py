"""``tops import``: results of other programs from their logs, scored by the rules here, as rows marked as imported."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tops.cli.grammar import Command, Key, keys_text, values
from tops.errors import ConfigurationError

if TYPE_CHECKING:
    from tops.store.imported import Imported

EXAMPLE = "tops import logs/llava profile=paper"


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    profiles, backbones = partial(choice_names, "profile"), partial(choice_names, "backbone")
    return {
        "profile": Key("whose documents it answers: paper (default) or miniature", profiles, "paper"),
        "results": Key("root of the result store (default: results)", default="results"),
        "backbone": Key("the model, where the log does not name one of the catalogue", backbones),
        "title": Key("name of the row, in place of the one that the log gives"),
    }


def _help() -> str:
    return (
        f"usage: tops import FILE|FOLDER [KEY=VALUE ...]\n\n  {EXAMPLE}\n"
        "  tops import final_summary_1764600000.json backbone=qwen2.5-vl-7b\n\n"
        "Reads lmms-eval's *_samples_TASK.jsonl (--log_samples), with the results file beside it, and AngelSlim's\n"
        "final_summary_*.json. Answers are checked against the staged documents and scored by the rules here;\n"
        "nothing of a log is executed. Reports show the rows in a table of their own and below the main table, marked\n"
        "as imported; none is ranked. Each is a folder below RESULTS/PROFILE/imported; delete it to take it back.\n\n"
        f"{keys_text(_keys())}"
    )


def _run(words: tuple[str, ...]) -> int:
    from tops.importing.run import Asked, import_logs
    from tops.settings.choices import load_profile

    paths = [word for word in words if "=" not in word or Path(word).exists()]
    options = values([word for word in words if word not in paths], _keys(), EXAMPLE)
    if len(paths) != 1:
        raise ConfigurationError(f"give one file or folder, not {len(paths)}; for example: {EXAMPLE}")
    asked = Asked(load_profile(options["profile"]), options["results"], options["backbone"], options["title"])
    for record in import_logs(Path(paths[0]), asked):
        for line in _lines(record):
            print(line)
    return 0


def _lines(record: Imported) -> list[str]:
    from tops.benchmarks.benchmark import load_benchmark

    average = record.layer_average
    tokens = "not told" if average is None else f"{average:.1f} visual tokens a layer on average"
    lines = [
        f"{record.title} on {load_benchmark(record.benchmark).title}, imported from {record.program} ({record.file}): "
        f"{record.documents or 'no'} answers",
        f"  budget: {', '.join(part for part in (record.budget, tokens) if part)}",
    ]
    return [*lines, *(f"  not known: {what}" for what in record.unknown)]


command = Command("import", _run, text=_help, keys=_keys)
