"""Publishing results that are on disk to Weights & Biases: cells after a run, tables after a report.

No other part of the package depends on it.

One wandb run per cell (its id is the cell's key, so that publishing twice changes nothing), grouped by experiment,
and one artifact with the tables. Nothing leaves the machine in ``offline`` mode; ``wandb sync`` sends it later.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tops.planning.plan import Plan
from tops.settings.schema import TrackingConfig
from tops.store.cell import Cell
from tops.store.store import Record, Store

log = logging.getLogger(__name__)

REPORT_SUFFIXES = (".md", ".csv", ".tex", ".html")


def publish(plan: Plan, choice: TrackingConfig, results: str | Path) -> int:
    """Send the complete cells of a plan to Weights & Biases; returns how many were published.

    It never raises, since a run is complete without it; a failure is logged as a warning with its cause.

    Parameters
    ----------
    plan : Plan
        The plan whose complete cells are published.
    choice : TrackingConfig
        ``disabled`` publishes nothing.
    results : path
        Root of the store.
    """
    if choice.mode == "disabled":
        return 0
    store, sent = Store(results, plan.profile.name), 0
    try:
        wandb, common = _wandb(choice)
        for key, planned in plan.unique().items():
            if planned.cell is None or not store.status(key).done:
                continue
            run = wandb.init(**common, **run_arguments(plan, planned.cell))
            for name, value in summary(store.read(key)).items():
                run.summary[name] = value
            run.finish()
            sent += 1
    except Exception as error:
        log.warning("tracking: %d cells published, then %s: %s", sent, type(error).__name__, error)
    return sent


def publish_tables(experiment: str, profile: str, choice: TrackingConfig, files: Iterable[Path]) -> int:
    """Send the tables and the page of a report as one artifact; returns how many files. It never raises."""
    chosen = [path for path in files if path.suffix in REPORT_SUFFIXES]
    if choice.mode == "disabled":
        return 0
    try:
        wandb, common = _wandb(choice)
        name = f"{experiment} tables"
        run = wandb.init(**common, group=experiment, job_type="report", name=name, tags=[profile])
        artifact = wandb.Artifact(f"{profile}-{experiment}", type="tables")
        for path in chosen:
            artifact.add_file(str(path))
        run.log_artifact(artifact)
        run.finish()
    except Exception as error:
        log.warning("tracking: tables not published: %s: %s", type(error).__name__, error)
        return 0
    return len(chosen)


def _wandb(choice: TrackingConfig) -> tuple[Any, dict[str, Any]]:
    """The module ``wandb``, and the arguments of ``wandb.init`` that all runs share."""
    if choice.mode == "online" and not reachable():
        raise ConnectionError("the wandb server does not answer; use tracking=wandb-offline and `wandb sync` later")
    import wandb

    folder = Path(choice.directory)
    folder.mkdir(parents=True, exist_ok=True)
    return wandb, {
        "settings": wandb.Settings(silent=True, init_timeout=30, console="off"),
        "dir": str(folder),
        "mode": choice.mode,
        "project": choice.project,
        "entity": choice.entity,
    }


def run_arguments(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Arguments of ``wandb.init`` for one cell."""
    budget = [] if cell.budget is None else [f"budget={cell.budget.value}"]
    return {
        "id": cell.key[:32],
        "name": cell.label,
        "group": plan.experiment.name,
        "job_type": cell.benchmark.name,
        "tags": [plan.profile.name, cell.backbone.name, cell.method.name, *budget],
        "config": {**cell.as_dict(), "key": cell.key},
        "reinit": "finish_previous",
    }


def summary(record: Record) -> dict[str, float | str]:
    """Metrics of every scorer, and how long the cell took."""
    out: dict[str, float | str] = {"status": record.status.value}
    for scorer, scores in record.scores.items():
        for metric, value in scores["metrics"].items():
            if isinstance(value, int | float):
                out[f"{scorer}/{metric}"] = float(value)
        if scores.get("invalid_rate") is not None:
            out[f"{scorer}/invalid_rate"] = float(scores["invalid_rate"])
    if isinstance(record.provenance.get("seconds"), int | float):
        out["seconds"] = float(record.provenance["seconds"])
    return out


def reachable(timeout: float = 5.0) -> bool:
    """Whether the wandb server takes a connection; ``wandb.init`` itself would try for minutes."""
    from urllib.parse import urlsplit

    url = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    try:
        with socket.create_connection((url.hostname or "", url.port or 443), timeout=timeout):
            return True
    except OSError:
        return False
