"""``tops run``: one cell, a sweep, or an experiment, composed by Hydra."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import get_args

from tops.cli.grammar import Command, Key, keys_text

MULTIRUN = "-m,--multirun"


def run_keys() -> dict[str, Key]:
    """Every key that ``run``, ``plan`` and ``status`` take: the groups of choices, then the others."""
    from tops.budget import PROTOCOLS
    from tops.settings.choices import GROUPS, SCALARS, names_of
    from tops.settings.schema import EngineName, Stale

    known: dict[str, Callable[[], Iterable[str]]] = {
        "protocol": lambda: PROTOCOLS,
        "full": lambda: ("true", "false"),
        "stale": lambda: get_args(Stale),
        "engine": lambda: get_args(EngineName),
        "backbones": partial(names_of, "backbone"),
    }
    groups = {group: Key(f"one of configs/{group}", partial(names_of, group)) for group in GROUPS}
    return {**groups, **{name: Key(text, known.get(name)) for name, text in SCALARS.items()}}


def _help() -> str:
    from tops.settings.choices import GROUPS, SCALARS, names_of

    choices = "\n".join(f"  {group}: {', '.join(names_of(group))}" for group in GROUPS)
    others = keys_text({name: key for name, key in run_keys().items() if name in SCALARS})
    return f"""usage: tops run [-m] [--cfg] [--dry] KEY=VALUE ...
       tops run SPEC.json ...

  tops run backbone=llava-1.5-7b method=tops budget=64 benchmark=pope     one cell
  tops run backbone=llava-1.5-7b method=tops budget=64 suite=llava        the same on every benchmark of a suite
  tops run -m method=tops,fastv budget=0.25,0.5 benchmark=pope,gqa        a sweep (Hydra's grammar)
  tops run experiment=table1 profile=miniature                            every cell of a table
  tops run experiment=table1 launcher=slurm launcher.options.timeout_min=240
  tops run results/paper/cells/ab/abcd.../spec.json results=again         stored cells, exactly as they were specified

options:
  -m, --multirun   take several values per key and run every combination
  --cfg            print the composed configuration and stop
  --dry            print the plan and stop, as `tops plan` does
  --detach         with launcher=slurm: submit and return; the same command without it waits for the array

choices:
{choices}

other keys:
{others}

Every option of a choice is a key too, as in method.layer=3 or profile.device=cpu.
Exit status: 0 when every cell is complete, 1 when one is missing, 2 for a wrong configuration."""


def _run(words: tuple[str, ...], multirun: bool, cfg: bool, dry: bool, detach: bool) -> int:
    from tops.planning.request import request

    words = tuple(word for word in words if not (cfg and word == "job"))  # Hydra's `--cfg job` means the same
    words = (*words, "launcher.detach=true") if detach else words
    asked = request(words, multirun=multirun)
    if cfg:
        import yaml

        print(yaml.safe_dump(_plain(asdict(asked.config)), sort_keys=False, allow_unicode=True), end="")
        return 0
    from tops.planning.show import plan_text

    if dry:
        print(plan_text(asked.plan))
        return 0
    from tops.cli.carrying_out import carried_out

    several = not asked.plan.experiment.rows and len(asked.plan.cells) > 1  # a sweep or suite has no other report
    return carried_out(partial(request, words, multirun=multirun), "reports" if several else "")


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


command = Command(
    "run",
    _run,
    text=_help,
    keys=run_keys,
    switches={
        MULTIRUN: "every combination",
        "--cfg": "print the configuration",
        "--dry": "print the plan",
        "--detach": "submit to Slurm and return",
    },
)
