"""``tops results check``: validate a whole result store and name every fault."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tops.cli.grammar import Command, Key, keys_text, values
from tops.errors import ConfigurationError, nearest_names


def _keys() -> dict[str, Key]:
    from tops.settings.choices import choice_names

    return {
        "results": Key("root of the result store (default: results)", default="results"),
        "profile": Key("only this profile", partial(choice_names, "profile")),
        "rescore": Key("true: score the stored texts again and compare", lambda: ("true", "false"), "false"),
    }


def _help() -> str:
    return (
        "usage: tops results check [KEY=VALUE ...]\n\nReads every cell of a store and names every fault; repairs "
        f"nothing. Exit status 1 when there is a fault.\n\n{keys_text(_keys())}"
    )


def _run(words: tuple[str, ...]) -> int:
    from tops.evaluation.rescoring import rescored_otherwise
    from tops.store.check import check
    from tops.store.store import Store

    if words[:1] != ("check",):
        raise ConfigurationError(f"write `tops results check`, not {' '.join(words[:1]) or 'nothing'!r}")
    options = values(words[1:], _keys(), "tops results check results=results profile=paper")
    root = Path(options["results"])
    profile = options["profile"]
    there = sorted(p.name for p in root.glob("*") if (p / "cells").is_dir())
    if profile and profile not in there:
        raise ConfigurationError(f"no cells of profile {profile!r} in {root}. {nearest_names(profile, there)}")
    if options["rescore"] not in ("true", "false"):
        raise ConfigurationError(f"rescore={options['rescore']!r} is neither true nor false")
    profiles = [profile] if profile else there
    if not profiles:
        raise ConfigurationError(f"no result store in {root}; name its root, as in results={root}")
    found = 0
    for name in profiles:
        store = Store(root, name)
        faults = check(store)
        if options["rescore"] == "true":
            faults += rescored_otherwise(store, {fault.key for fault in faults})
        for fault in faults:
            print(f"{name} {fault}")
        broken = {f.key for f in faults if f.key}
        sound = sorted(set(store.keys()) - broken)
        done = sum((store.path(key) / "complete.json").exists() for key in sound)  # `check` has read them
        begun = f", {len(sound) - done} begun and sound" if done < len(sound) else ""
        print(f"{name}: {done} complete and sound{begun}, {len(broken)} with faults")
        found += len(faults)
    if found:
        print(
            f"a complete cell with a fault is no evidence: delete its folder ({root}/PROFILE/cells/XX/KEY) and run its "
            "experiment again, or put it back from a copy"
        )
    return 1 if found else 0


command = Command("results", _run, text=_help, keys=_keys)
