"""``tops compare``: one method against others: plan, run and report in one command."""

from __future__ import annotations

from functools import partial

from tops.cli.grammar import Command, Key, keys_text, names

EXAMPLE = "tops compare method=./mine.py:Mine against=tops,visionzip,divprune suite=llava budget=128,64,32"


def _keys() -> dict[str, Key]:
    from tops.cli.run import run_keys
    from tops.settings.choices import names_of

    shared = {name: key for name, key in run_keys().items() if name not in ("experiment", "backbones", "seed")}
    own = {
        "method": Key("the one to compare: a name, ./mine.py:Mine or package.module:Mine", partial(names_of, "method")),
        "against": Key("its opponents, separated by commas", partial(names_of, "method")),
        "backbone": Key("one or several, separated by commas", partial(names_of, "backbone")),
        "budget": Key("token counts of the real model or keep ratios, separated by commas"),
        "reports": Key("where reports go (default: reports)"),
    }
    return {**own, **{name: key for name, key in shared.items() if name not in own}}


def _help() -> str:
    return f"""usage: tops compare [--dry] method=... against=... budget=... [KEY=VALUE ...]

  {EXAMPLE}

Asks every document of the unpruned model, the method, its opponents and the controls (five random seeds, uniform grid,
pooling, downsampling, text only), at every budget, and writes the report: the main table, the method against each with
intervals, figures and the page. Under profile=miniature budgets stand at the same keep ratio.

options:
  --dry            print the plan and stop

keys:
{keys_text(_keys())}

Options of the method are keys too, as in method.order=1. Exit status: as of `tops run`."""


def _run(words: tuple[str, ...], dry: bool) -> int:
    from tops.cli.carrying_out import carried_out
    from tops.planning.comparison import comparison

    reports = [word.partition("=")[2] for word in words if word.startswith("reports=")]
    asked = [word for word in words if not word.startswith("reports=")]
    if dry:
        from tops.planning.show import plan_text

        print(plan_text(comparison(asked).plan))
        return 0
    return carried_out(lambda: comparison(asked), (names(reports[-1]) if reports else ["reports"])[0])


command = Command("compare", _run, text=_help, keys=_keys, switches={"--dry": "print the plan"})
