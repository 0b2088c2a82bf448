"""A stand-in for the model in tests of planning, workers and launchers: answers at once, into the real store."""

import os
import signal
import time
from pathlib import Path

from tops.benchmarks.benchmark import load_benchmark
from tops.budget import Budget
from tops.settings.schema import ProfileConfig
from tops.store.answers import Answer
from tops.store.cell import BackboneSpec, BenchmarkSpec, Cell, MethodSpec

PROFILE = ProfileConfig(name="miniature", title="test", device="cpu", miniature=True)


def cell(backbone="llava-1.5-7b", method="tops", benchmark="pope", seed=0, budget=32):
    return Cell(
        profile="miniature",
        backbone=BackboneSpec(backbone, "llava", "llava", "0" * 40),
        method=MethodSpec(method),
        budget=None if budget is None else Budget(budget),
        benchmark=BenchmarkSpec(benchmark, benchmark, "test", "1" * 64),
        seed=seed,
    )


def grid(backbones=("llava-1.5-7b", "qwen2.5-vl-7b"), seeds=3):
    return tuple(cell(b, "random", m, s) for b in backbones for m in ("pope", "gqa") for s in range(seeds))


class FakeEvaluator:
    """Answers three documents a cell. ``log`` receives a line per load, per cell and per end of a cell.

    Once ``free`` cells have ended, the others wait before their last document until the file ``gate`` is there.
    """

    def __init__(self, log, fail=lambda cell: None, gate=None, free=3):
        self.log, self.fail, self.gate, self.free = Path(log), fail, gate, free

    def load(self, spec, profile):
        self._note(f"load {spec.name}")
        if (error := self.fail(spec)) is not None:
            raise error
        return self

    def __call__(self, cell, store, *, record_kept, let_through, progress, following=None):
        writer = store.open_cell(cell)
        if writer is None:
            return
        with writer:
            self._note(f"cell {cell.key}")
            if (error := self.fail(cell)) is not None:
                raise error
            progress.begin(cell.label, 3, len(writer.answers))
            for i in range(3):
                if i == 2:
                    self._wait()
                if i not in writer.answers:
                    writer.append(answer(i))
                    progress.advance(answer(i), 1.0)
            rows = {"llava": {i: {"score": 1.0} for i in range(3)}}
            metric = load_benchmark(cell.benchmark.name).metric
            scores = {"llava": {"metrics": {metric: 80.0}, "documents": 3, "invalid_rate": 0.0}}
            writer.seal(scores=scores, provenance={"seconds": 3.0}, default_scorer="llava", rows=rows)
            self._note(f"end {cell.key}")

    def _wait(self):
        while self.gate and not Path(self.gate).exists() and self.log.read_text().count(" end ") >= self.free:
            time.sleep(0.02)

    def _note(self, line):
        with self.log.open("a") as file:
            file.write(f"{os.getpid()} {line}\n")


def failing(key):
    """An error for that cell alone."""
    return lambda what: RuntimeError("boom") if getattr(what, "key", "") == key else None


def answer(i):
    return Answer(
        doc_id=i, cluster=str(i), prompt="p", prompt_hash="h", question="q", answer="yes", target="yes",
        output_tokens=1, visual_tokens_per_layer=(32,) * 8, kept=None, seconds=0.1, image=None,
    )  # fmt: skip


def load_from_environment(spec, profile):
    """The evaluator of a worker process: what it does comes from ``TOPS_TEST_*`` variables."""
    gate, free = os.environ.get("TOPS_TEST_GATE"), int(os.environ.get("TOPS_TEST_FREE", "3"))
    evaluator = FakeEvaluator(os.environ["TOPS_TEST_LOG"], _suicide, gate, free)
    return evaluator.load(spec, profile)


def _suicide(what):
    """Kill this process at the cell that the environment names: once, or each time."""
    key = getattr(what, "key", "")  # empty: a model that is loaded
    if key and key == os.environ.get("TOPS_TEST_DEADLY"):
        os.kill(os.getpid(), signal.SIGKILL)
    mark = Path(os.environ["TOPS_TEST_LOG"]).with_suffix(".killed")
    if key and key == os.environ.get("TOPS_TEST_KILL") and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
