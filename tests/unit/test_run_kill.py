"""A launcher and its workers that are killed again and again: no answer is lost.

`TOPS_KILLS=100 pytest -s tests/unit/test_run_kill.py` is the long form; it prints its figures. The launcher, the worker
processes and the store are the real ones; the model answers after a moment.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import PROFILE, answer, grid

from tops.running.launchers.local import launch
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig
from tops.store.check import check
from tops.store.store import CellStatus, Store

KILLS = int(os.environ.get("TOPS_KILLS", "6"))
DOCUMENTS = 40
CELLS = grid(seeds=6)


def load(spec, profile):
    """The evaluator of the workers."""
    return evaluate


def evaluate(cell, store, *, progress, **_):
    writer = store.open_cell(cell)
    if writer is None:
        return
    with writer:
        progress.begin(cell.label, DOCUMENTS, len(writer.answers))
        for i in range(DOCUMENTS):
            if i not in writer.answers:
                time.sleep(0.01)  # the model
                told = replace(answer(i), answer=f"{os.getpid()} {time.perf_counter()}")  # another if asked twice
                writer.append(told)
                progress.advance(told, 0.01)
        rows = {"llava": {i: {"score": 1.0} for i in range(DOCUMENTS)}}
        scores = {"llava": {"metrics": {"f1": 80.0, "accuracy": 80.0}, "documents": DOCUMENTS, "invalid_rate": 0.0}}
        writer.seal(scores=scores, provenance={"seconds": 3.0}, default_scorer="llava", rows=rows)


def start(root: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, Path(__file__).parents[:2]), *sys.path])}
    with (root / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, __file__, str(root)], stdout=log, stderr=log, env=environment)


def main(root: Path) -> None:
    folder = root / f"run-{os.getpid()}"
    folder.mkdir()
    assignment = Assignment(str(root), PROFILE, CELLS, 1000, evaluator="test_run_kill:load")
    launch(assignment, folder, LauncherConfig("local", workers=1, attempts=1000), lambda event: None)


def workers(launcher: int) -> list[int]:
    found = Path(f"/proc/{launcher}/task/{launcher}/children")
    try:
        return [int(pid) for pid in found.read_text().split()]
    except OSError:
        return []


def stored(root: Path) -> dict[tuple[str, int], str]:
    """The answer of every whole line, by cell and document."""
    out = {}
    for file in root.rglob("answers.jsonl"):
        for line in file.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                row = json.loads(line)
                out[file.parent.name, row["doc_id"]] = row["answer"]
    return out


def size(root: Path) -> int:
    """Bytes of all answers: about 250 each."""
    return sum(file.stat().st_size for file in root.glob("miniature/cells/*/*/answers.jsonl"))


def statuses(root: Path) -> list[CellStatus]:
    store = Store(root, "miniature")
    return [store.status(key) for key in store.keys()]  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers of a launcher in /proc")
def test_nothing_is_lost_to_kills_of_workers_and_launchers(tmp_path):
    chance, kills, amid, lost, known = random.Random(KILLS), {"launcher": 0, "worker": 0, "both": 0}, 0, 0, {}
    roots = [tmp_path / "0"]
    roots[0].mkdir()
    process = start(roots[0])
    starts = 0
    while sum(kills.values()) < KILLS:
        wanted, until = size(roots[-1]) + chance.randint(0, 5000), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until and size(roots[-1]) < wanted:
            time.sleep(0.01)
        if process.poll() is not None and set(statuses(roots[-1])) != {CellStatus.SCORED}:
            process, starts = start(roots[-1]), starts + 1  # it gave up a cell at which two workers ended; go on
            assert starts < 10 + KILLS, (roots[-1] / "log").read_text()[-2000:]
            continue
        if process.poll() is not None:  # all is done: kills go on at a new store
            ended(process, roots[-1], known)
            known = {}
            roots.append(tmp_path / str(len(roots)))
            roots[-1].mkdir()
            process = start(roots[-1])
            continue
        what, children = chance.choice(("worker", "worker", "launcher", "both")), workers(process.pid)
        if what != "launcher" and not children:
            continue
        amid += CellStatus.RUNNING in statuses(roots[-1])
        for pid in [*(children if what != "launcher" else []), *([process.pid] if what != "worker" else [])]:
            os.kill(pid, signal.SIGKILL)
        kills[what] += 1
        if what != "worker":
            process.wait()
        now = stored(roots[-1])
        lost += sum(now.get(place) != told for place, told in known.items())
        known = now
        if what != "worker":
            process = start(roots[-1])
    while process.wait(timeout=300) or set(statuses(roots[-1])) != {CellStatus.SCORED}:
        process = start(roots[-1])
    ended(process, roots[-1], known)
    assert lost == 0
    print(
        f"\nkills {kills}, {amid} with a cell in work; {len(roots)} stores of {len(CELLS)} cells; {lost} answers lost"
    )


def ended(process: subprocess.Popen, root: Path, known: dict[tuple[str, int], str]) -> None:
    """Everything that was stored is still there, whole and sealed."""
    assert process.wait() == 0, (root / "log").read_text()[-2000:]
    now = stored(root)
    assert {place: now.get(place) for place in known} == known
    assert check(Store(root, "miniature")) == []
    assert statuses(root) == [CellStatus.SCORED] * len(CELLS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
