"""``tops cancel``: stop the array of Slurm jobs that works on a store, or on the cells of an experiment."""

from __future__ import annotations

from functools import partial

from tops.cli.grammar import Command, Key, keys_text, names, values


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    return {
        "experiment": Key(
            "only arrays that work on its cells; all of the store without", partial(choice_names, "experiment")
        ),
        "profile": Key("paper (default) or miniature", partial(choice_names, "profile"), "paper"),
        "results": Key("root of the result store (default: results)", default="results"),
    }


def _help() -> str:
    return (
        "usage: tops cancel [experiment=NAME] [KEY=VALUE ...]\n\nStops arrays that `tops run launcher=slurm` has "
        "submitted. Every answer so far is stored: the command that started a run goes on where it stopped.\n\n"
        f"{keys_text(_keys())}"
    )


def _run(words: tuple[str, ...]) -> int:
    from tops.planning.plan import plan
    from tops.running.launchers.arrays import cancel, running

    options = values(words, _keys(), "tops cancel experiment=table1")
    store = options["results"], options["profile"]
    keys = [
        key
        for name in names(options["experiment"])
        for key in plan(name, options["profile"], results=store[0]).unique()
    ]
    arrays = running(*store, keys or None)
    for array in arrays:
        cancel(array)
        print(f"stopped array {array.number} of {len(array.jobs)} jobs ({array.folder.name})")
    if not arrays:
        print("no array is running")
    return 0 if arrays else 1


command = Command("cancel", _run, text=_help, keys=_keys)
