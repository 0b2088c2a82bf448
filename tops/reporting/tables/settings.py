"""Tables 7 to 10: the paper's weights and schedules as printed, beside the budgets that follow from them."""

from __future__ import annotations

from tops.paper.audit_budgets import PublishedSchedule, published_schedules
from tops.paper.published import SOURCE, read_csv
from tops.reporting.data.names import backbone_title
from tops.reporting.tables.table import Datum, Header, Line, Table, number

_WEIGHTS = {"7": "alpha and lambda of the LLaVA models", "8": "alpha and lambda of the other models"}
_SCHEDULES = {"9": "Schedules of the LLaVA models", "10": "Schedules of Qwen2.5-VL and InternVL3"}


def settings_tables() -> list[Table]:
    """One table for each of the paper's tables 7 to 10."""
    return [*map(_weights, _WEIGHTS), *map(_schedules, _SCHEDULES)]


def _weights(table: str) -> Table:
    lines = [
        Line(
            backbone_title(row["backbone"]),
            (Datum(row["budget"]), Datum(row["compression"]), _printed(row["alpha"]), _printed(row["lambda"])),
        )
        for row in read_csv("hyperparameters.csv")
        if row["source"] == table
    ]
    titles = ("tokens", "reduction (%)", "alpha", "lambda")
    return Table(
        f"table{table}",
        f"Table {table}: {_WEIGHTS[table]} ({SOURCE})",
        tuple(Header(t) for t in titles),
        tuple(lines),
        (
            "As printed. The table names no stage; section C.2 fixes 0.5 and 0.5 for Stage I of every model, so that "
            "these are read as Stage II's (open question 7).",
        ),
        label_title="Model",
        short=f"Table {table}",
    )


def _printed(value: str) -> Datum:
    return Datum(value, float(value))


def _schedules(table: str) -> Table:
    lines = [_schedule(s) for s in published_schedules() if s.table == table]
    titles = ("tokens", "schedule", "cuts at", "average over layers", "over the budget (%)")
    return Table(
        f"table{table}",
        f"Table {table}: {_SCHEDULES[table]} ({SOURCE})",
        tuple(Header(t) for t in titles),
        tuple(lines),
        (
            "tokens and schedule as printed (tokens left after Stage I and after each cut; Table 10 prints no budget). "
            "The average follows from them: visual tokens that a decoder layer sees. Runs take the schedule that meets "
            "the budget, and this one under protocol=as_printed.",
        ),
        label_title="Model",
        short=f"Table {table}",
    )


def _schedule(schedule: PublishedSchedule) -> Line:
    counts = " > ".join(map(str, (schedule.initial, schedule.stage1, *schedule.budgets)))
    data = (
        number(float(schedule.target), 0),
        Datum(counts),
        Datum(", ".join(map(str, schedule.layers))),
        number(schedule.averages[1]),
        number(schedule.over_percent),
    )
    return Line(backbone_title(schedule.backbone), data)
