"""State of this machine, and for every suite what would run and what is missing. Nothing is downloaded."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tops.benchmarks.benchmark import load_benchmark, load_suite, suite_names
from tops.benchmarks.data import DataRoot, missing
from tops.benchmarks.fetch import YES, size_text
from tops.errors import ConfigurationError, DataError, TopsError
from tops.planning.hardware import gpu_count

if TYPE_CHECKING:
    from tops.settings.schema import ProfileConfig

State = Literal["ok", "warning", "missing"]
PARTS = ("installation", "machine", "backbones", "suites")
MAIN = "table1"  # the experiment whose download stands as an example of one command for checkpoints and data
PINNED = {"lmms_eval": "0.7.3"}
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
HEADROOM = 1.25  # activations and cache beside the weights, at batch size 1


@dataclass(frozen=True)
class Finding:
    """One line of ``tops doctor``: the subject, its state, and the step to take."""

    topic: str
    state: State
    text: str
    part: str = ""


def examine(profile: str = "paper", judge: str | None = None) -> list[Finding]:
    """All findings, in the order in which they are printed: the installation, the machine, models, suites."""
    from tops.settings.choices import load_profile

    chosen = load_profile(profile)
    verdict = _judge(judge)
    parts = {
        "installation": _installation(),
        "machine": [*_gpus(chosen), *_disk(chosen), *_offline(), verdict],
        f"backbones of profile {profile}": _backbones(chosen),
        f"suites of profile {profile}": _suites(chosen, judged=verdict.state == "ok"),
        "what to fetch": [] if chosen.miniature else _to_fetch(profile),
    }
    return [replace(finding, part=part) for part, findings in parts.items() for finding in findings]


def summary(findings: Sequence[Finding], profile: str) -> str:
    """One line: the backbones and suites that can run here, or why none can."""
    bad = {part: [f for f in findings if f.part.startswith(part) and f.state == "missing"] for part in PARTS}
    models = [f for f in findings if f.part.startswith("backbones")]
    ready = [f.topic for f in models if f.state == "ok"]
    suites = [f.topic.removeprefix("suite ") for f in findings if f.part.startswith("suites") and f.state != "missing"]
    broken = [f.topic for f in (*bad["installation"], *bad["machine"]) if f.topic != "judge"]
    stops = [f"{', '.join(broken)} missing"] if broken else []
    stops += [] if ready else ["no backbone is ready"]
    some = [f for f in findings if f.part.startswith("suites") and (f.state == "ok" or "would run" in f.text)]
    stops += [] if some else ["no benchmark is staged"]
    if stops:
        other = "" if profile == "miniature" else "; `tops doctor profile=miniature` looks at what needs none of them"
        return f"profile {profile} cannot run here: {'; '.join(stops)}{other}"
    whole = f"whole suites {', '.join(suites)}" if suites else "no whole suite, but what the lines above say"
    return f"profile {profile} can run {len(ready)} of {len(models)} backbones ({', '.join(ready)}) on {whole}"


def _installation() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if good else "missing", platform.python_version() + ("" if good else "; 3.11 is needed")
    )
    for name in ("torch", "transformers", "lmms_eval", "av"):
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, "missing", f"not installed; pip install {name}")
            continue
        wanted = PINNED.get(name)
        if wanted is not None and found != wanted:
            yield Finding(name, "warning", f"{found}; prompts and scores were checked with {wanted}")
        else:
            yield Finding(name, "ok", found)


def _gpus(profile: ProfileConfig) -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count and (driven := gpu_count()):
        text = f"the driver shows {driven}, but torch {torch.__version__} cannot use them; install torch for CUDA"
        yield Finding("gpu", "missing" if profile.device == "cuda" else "warning", text)
    elif not count:
        need: State = "missing" if profile.device == "cuda" else "ok"
        hint = f"; profile {profile.name} runs on CUDA, profile miniature on the CPU too" if need == "missing" else ""
        yield Finding("gpu", need, f"no CUDA device, {os.cpu_count()} CPU cores{hint}")
    for i in range(count):
        free, total = torch.cuda.mem_get_info(i)
        text = (
            f"{torch.cuda.get_device_name(i)}, {size_text(free)} free of {size_text(total)}, CUDA {torch.version.cuda}"
        )
        yield Finding(f"gpu {i}", "ok", text)


def _disk(profile: ProfileConfig) -> Iterator[Finding]:
    from tops.planning import staging

    places = {"results": Path("results"), "data": staging.data_root(profile).mirror, "checkpoints": staging.hub_cache()}
    for name, folder in places.items():
        there = _existing(folder)
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        state: State = "ok" if writable and free > 5e9 else "warning"
        note = "" if writable else ", cannot be written"
        yield Finding(f"disk for {name}", state, f"{size_text(free)} free at {folder}{note}")


def _offline() -> Iterator[Finding]:
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    flags = [f"{n}={os.environ[n]}" for n in names if os.environ.get(n, "").lower() in YES]
    offline = f"offline ({', '.join(flags)}): runs work, `tops fetch` does not"
    yield Finding("network", "ok", offline if flags else "allowed; only `tops fetch` uses it, runs take staged files")


def _judge(url: str | None) -> Finding:
    from tops.evaluation.judge import Judge

    judge = Judge(url) if url else Judge.from_environment()
    if judge is None:
        return Finding(
            "judge", "warning", "none: MM-Vet is answered, not judged; name one with judge=URL or set TOPS_JUDGE_URL"
        )
    try:
        found = judge.probe()
    except TopsError as error:
        return Finding("judge", "missing", str(error))
    return Finding("judge", "ok", f"{found.model} at {found.base}")


def _backbones(profile: ProfileConfig) -> Iterator[Finding]:
    from tops.planning import staging
    from tops.settings.choices import backbone_config, choice_names

    memory = _largest_gpu()
    for name in choice_names("backbone"):
        choice = backbone_config(name)
        if profile.miniature and choice.miniature is None:
            continue
        need = choice.parameters * BYTES.get(profile.dtype or choice.dtype, 2) * HEADROOM
        room = "" if profile.miniature else f"; needs about {size_text(int(need))} of GPU memory"
        try:
            staged = staging.checkpoint(choice, profile)
        except (ConfigurationError, DataError) as error:
            yield Finding(name, "missing", str(error))
            continue
        if staged is None:
            yield Finding(name, "missing", f"{choice.checkpoint} is not staged: `tops fetch backbone={name}`{room}")
            continue
        if not profile.miniature and memory is not None and memory < need:
            text = (
                f"needs about {size_text(int(need))}, the largest GPU has {size_text(memory)}: spread it with "
                f"launcher.gpus_per_worker={-(-int(need) // memory)}"
            )
            yield Finding(name, "missing", text)
        else:
            trained = "" if staged.trained else ", random weights: plumbing only"
            yield Finding(name, "ok", f"revision {staged.revision[:12]}{trained}{room}")


def _largest_gpu() -> int | None:
    if find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return max(torch.cuda.mem_get_info(i)[1] for i in range(torch.cuda.device_count()))


def _suites(profile: ProfileConfig, *, judged: bool) -> Iterator[Finding]:
    from tops.miniature.benchmarks import has_twin
    from tops.planning import staging

    root: DataRoot = staging.data_root(profile)
    small = profile.miniature
    for suite in suite_names():
        whole = load_suite(suite)
        twins = [load_benchmark(n).data for n in whole]
        names = [n for n, data in zip(whole, twins, strict=True) if not small or has_twin(data.path, data.config)]
        if not names:
            yield Finding(
                f"suite {suite}", "missing", "its benchmarks have no miniature documents; profile=paper asks them"
            )
            continue
        silent = [load_benchmark(n).title for n in names if load_benchmark(n).judged and not judged]
        note = f"; without a judge {', '.join(silent)} ends answered, with no number" if silent else ""
        left_out = ", ".join(n for n in whole if n not in names)
        note += f"; {left_out} left out: no miniature documents" if left_out else ""
        lacking = [name for name in names if missing(load_benchmark(name), root) is not None]
        there = [name for name in names if name not in lacking]
        if lacking and profile.miniature:
            text = f"not built yet: the first `tops run profile={profile.name}` builds it by itself{note}"
            yield Finding(f"suite {suite}", "ok", text)
            continue
        if not lacking:
            yield Finding(f"suite {suite}", "ok", f"all {len(names)} benchmarks are staged{note}")
            continue
        wanted = f"benchmark={','.join(lacking)}" if there else f"suite={suite}"
        what = f"would run {', '.join(there)}{note}; missing {', '.join(lacking)}" if there else "nothing is there yet"
        yield Finding(f"suite {suite}", "missing", f"{what}: `tops fetch {wanted}`{_room(lacking, root)}")


def _to_fetch(profile: str) -> Iterator[Finding]:
    """One command that stages checkpoints and data of a whole experiment, with its size and the room for it."""
    from tops.planning import staging
    from tops.planning.cost import downloads
    from tops.planning.request import request

    plan = request((f"experiment={MAIN}", f"profile={profile}")).plan
    checkpoints, data = downloads(plan)
    if not checkpoints + data:
        yield Finding(MAIN, "ok", "all its checkpoints and data are staged")
        return
    free = [
        f"{size_text(shutil.disk_usage(_existing(place)).free)} are free at {place}"
        for place in (staging.hub_cache(), staging.data_root(plan.profile).mirror)
    ]
    text = (
        f"`tops fetch experiment={MAIN}`: about {size_text(checkpoints)} of checkpoints ({free[0]}) and "
        f"{size_text(data)} of data ({free[1]}); interrupted, the same command goes on"
    )
    yield Finding(MAIN, "warning", text)


def _room(benchmarks: Sequence[str], root: DataRoot) -> str:
    """Text with the size of a download, and whether it fits on the disk."""
    size = sum(load_benchmark(name).data.megabytes for name in benchmarks) * 10**6
    free = shutil.disk_usage(_existing(root.mirror)).free
    return f" (about {size_text(size)}" + (f", but {size_text(free)} are free)" if size > free else ")")


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
