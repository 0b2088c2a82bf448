"""Requirements of a run on this machine, checked before anything is loaded."""

from __future__ import annotations

from tops.benchmarks.benchmark import load_benchmark
from tops.errors import ConfigurationError
from tops.planning import staging
from tops.planning.hardware import gpu_count
from tops.planning.plan import Plan
from tops.settings.choices import backbone_config
from tops.settings.schema import LauncherConfig


def check_requirements(plan: Plan, launcher: LauncherConfig) -> None:
    """Refuse a run that cannot work on this machine.

    Jobs of a cluster run on other machines, so a GPU is asked for only where the workers are local.

    Raises
    ------
    ConfigurationError
        If something is missing; the message names all of it, and a command that does run here.
    """
    missing = []
    if plan.profile.device == "cuda" and launcher.kind == "local" and gpu_count() == 0:
        missing.append("a CUDA GPU (no driver shows one); launcher=slurm and launcher=ray run on other machines")
    if not plan.profile.miniature:
        choices = [backbone_config(n) for n in dict.fromkeys(cell.backbone.name for cell in plan.todo())]
        absent = ", ".join(c.checkpoint for c in choices if staging.checkpoint(c, plan.profile) is None)
        if absent:
            models = ",".join(c.name for c in choices if staging.checkpoint(c, plan.profile) is None)
            missing.append(f"checkpoints {absent}: `tops fetch backbone={models}`, or set profile.checkpoints")
        benchmarks = dict.fromkeys(
            load_benchmark(cell.benchmark.name).source for cell in plan.todo() if not cell.benchmark.data_hash
        )
        if benchmarks:
            missing.append(f"data of {', '.join(benchmarks)}: `tops fetch benchmark={','.join(benchmarks)}`")
    if missing:
        name = plan.experiment.name
        instead = (
            f"`make reproduce-{name} PROFILE=miniature` or `tops run experiment={name} profile=miniature`"
            if plan.experiment.rows
            else "the same command with profile=miniature"
        )
        listed = "\n".join(f"  - {item}" for item in missing)
        raise ConfigurationError(
            f"profile {plan.profile.name} cannot run here; missing:\n{listed}\nOn this machine: {instead}"
        )
