"""``tops run``: one cell, a sweep, or an experiment, composed by Hydra."""

from __future__ import annotations

import sys
from dataclasses import asdict

from tops.errors import ConfigurationError
from tops.planning.plan import Plan
from tops.store.store import Store


def help_text() -> str:
    """The text of ``tops run --help``, with every choice there is."""
    from tops.settings.compose import GROUPS, names_of

    choices = "\n".join(f"  {group}: {', '.join(names_of(group))}" for group in GROUPS)
    return f"""usage: tops run [-m] [--cfg [job]] [--dry] KEY=VALUE ...

  tops run backbone=llava-1.5-7b method=tops budget=64 benchmark=pope     one cell
  tops run backbone=llava-1.5-7b method=tops budget=64 suite=llava        the same on every benchmark of a suite
  tops run -m method=tops,fastv budget=0.25,0.5 benchmark=pope,gqa        a sweep (Hydra's grammar)
  tops run experiment=table1 profile=miniature                            every cell of a table
  tops run experiment=table1 launcher=slurm launcher.options.timeout_min=240

options:
  -m, --multirun   take several values per key and run every combination
  --cfg [job]      print the composed configuration and stop
  --dry            print the plan and stop, as `tops plan` does

choices:
{choices}

other keys: budget, protocol, seed, limit, full, backbones, results;
and every option of a choice, as in method.layer=3"""


def main(argv: list[str]) -> int:
    """Run; exit status 1 when a cell is missing at the end, 2 for a wrong configuration."""
    if {"-h", "--help"} & set(argv):
        print(help_text())
        return 0
    from tops.planning.request import request, split_words

    words, given = split_words(_without_job(argv), ("-m", "--multirun", "--cfg", "--dry"))
    asked = request(words, multirun=bool(given & {"-m", "--multirun"}))
    if "--cfg" in given:
        import yaml

        print(yaml.safe_dump(_plain(asdict(asked.config)), sort_keys=False, allow_unicode=True), end="")
        return 0
    from tops.planning.show import plan_text

    if "--dry" in given:
        print(plan_text(asked.plan))
        return 0
    from tops.planning.requirements import check_requirements
    from tops.planning.staging import prepare
    from tops.running.judging import with_judge
    from tops.running.run import run

    if asked.config.profile.miniature:
        prepare(asked.config.profile)
        asked = request(words, multirun=bool(given & {"-m", "--multirun"}))  # the documents are named by their hash
    if not asked.plan.unique() and not asked.plan.experiment.rows:
        raise ConfigurationError(f"nothing can run: {asked.plan.cells[0].reason}")
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
    if not summary.asked and not asked.plan.experiment.rows:
        raise ConfigurationError(f"nothing can run: {asked.plan.cells[0].reason}")
    return 1 if summary.missing else 0


def _complete(plan: Plan) -> str:
    """How many cells of a plan are complete now."""
    store = Store(plan.store or "results", plan.profile.name)
    keys = list(plan.unique())
    return f"{sum(store.status(key).done for key in keys)} of {len(keys)} cells complete"


def _without_job(argv: list[str]) -> list[str]:
    """Hydra's ``--cfg job`` is ``--cfg`` here: there is no other configuration to print."""
    return [word for i, word in enumerate(argv) if word != "job" or argv[i - 1 : i] != ["--cfg"]]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
