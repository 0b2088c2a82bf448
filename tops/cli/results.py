"""``tops results check``: validate a whole result store and name every fault."""

from __future__ import annotations

import argparse
from pathlib import Path

from tops.errors import ConfigurationError
from tops.store.check import check
from tops.store.store import Store


def main(argv: list[str]) -> int:
    """Exit status 1 when there is a fault."""
    parser = argparse.ArgumentParser(prog="tops results", description=__doc__, allow_abbrev=False)
    parser.add_argument("action", choices=["check"])
    parser.add_argument("--results", default="results", help="root of the result store")
    parser.add_argument("--profile", help="only this profile")
    options = parser.parse_args(argv)
    root = Path(options.results)
    profiles = (
        [options.profile] if options.profile else sorted(p.name for p in root.glob("*") if (p / "cells").is_dir())
    )
    if not profiles:
        raise ConfigurationError(f"no result store in {root}; pass its root with --results")
    found = 0
    for profile in profiles:
        store = Store(root, profile)
        faults = check(store)
        for fault in faults:
            print(f"{profile} {fault}")
        broken = {f.key for f in faults if f.key}
        sound = [store.status(key) for key in list(store.keys()) if key not in broken]
        done = sum(status.done for status in sound)
        begun = f", {len(sound) - done} begun and sound" if done < len(sound) else ""
        print(f"{profile}: {done} complete and sound{begun}, {len(broken)} with faults")
        found += len(faults)
    if found:
        print(
            f"a complete cell with a fault is no evidence: delete its folder ({root}/PROFILE/cells/XX/KEY) and run its "
            "experiment again, or put it back from a copy"
        )
    return 1 if found else 0
