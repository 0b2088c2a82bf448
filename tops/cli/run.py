"""``tops run``: one cell, a sweep, or an experiment, composed by Hydra."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, get_args

from tops.cli.grammar import Command, Key, keys_text
from tops.errors import ConfigurationError

if TYPE_CHECKING:
    from tops.planning.plan import Plan

MULTIRUN = "-m,--multirun"


def run_keys() -> dict[str, Key]:
    """Every key that ``run``, ``plan`` and ``status`` take: the groups of choices, then the others."""
    from tops.budget import PROTOCOLS
    from tops.settings.choices import GROUPS, SCALARS, names_of
    from tops.settings.schema import Stale

    known: dict[str, Callable[[], Iterable[str]]] = {
        "protocol": lambda: PROTOCOLS,
        "full": lambda: ("true", "false"),
        "stale": lambda: get_args(Stale),
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

choices:
{choices}

other keys:
{others}

Every option of a choice is a key too, as in method.layer=3 or profile.device=cpu.
Exit status: 0 when every cell is complete, 1 when one is missing, 2 for a wrong configuration."""


def _run(words: tuple[str, ...], multirun: bool, cfg: bool, dry: bool) -> int:
    from tops.planning.request import request

    words = tuple(word for word in words if not (cfg and word == "job"))  # Hydra's `--cfg job` means the same
    asked = request(words, multirun=multirun)
    if cfg:
        import yaml

        print(yaml.safe_dump(_plain(asdict(asked.config)), sort_keys=False, allow_unicode=True), end="")
        return 0
    from tops.planning.show import plan_text

    if dry:
        print(plan_text(asked.plan))
        return 0
    from tops.planning.requirements import check_requirements
    from tops.planning.staging import prepare
    from tops.running.judging import with_judge
    from tops.running.run import run

    if asked.config.profile.miniature:
        prepare(asked.config.profile)
        asked = request(words, multirun=multirun)  # the documents are named by their hash
    if not asked.plan.unique():
        refused = [planned.reason for planned in asked.plan.cells] or ["it has no cells"]
        more = f" ({len(refused)} cells are refused; this is the first)" if len(refused) > 1 else ""
        raise ConfigurationError(f"nothing can run: {refused[0]}{more}")
    if asked.plan.todo():
        check_requirements(asked.plan, asked.config.launcher)
    print(plan_text(asked.plan, short=True), file=sys.stderr)
    try:
        summary = run(with_judge(asked.plan), asked.config.launcher, asked.config.results)
    except KeyboardInterrupt:
        stored = "every answer so far is stored, the same command goes on where it stopped"
        print(f"\nstopped with {_complete(asked.plan)}; {stored}", file=sys.stderr)
        return 130
    print(summary.text(), file=sys.stderr)
    if asked.config.tracking.mode != "disabled":
        from tops.running.tracking import publish

        publish(asked.plan, asked.config.tracking, asked.config.results)
    return 1 if summary.missing else 0


def _complete(plan: Plan) -> str:
    """How many cells of a plan are complete now."""
    from tops.store.store import Store

    store = Store(plan.store or "results", plan.profile.name)
    keys = list(plan.unique())
    return f"{sum(store.status(key).done for key in keys)} of {len(keys)} cells complete"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


command = Command(
    "run",
    _run,
    text=_help,
    keys=run_keys,
    switches={MULTIRUN: "every combination", "--cfg": "print the configuration", "--dry": "print the plan"},
)
