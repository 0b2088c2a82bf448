"""`tops run` whose launcher and workers are killed again and again: no answer is lost, none is asked twice.

`TOPS_KILLS=100 pytest tests/miniature/test_run_kill.py` is the long form; it prints its figures.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tops.store.check import check
from tops.store.store import CellStatus, Store

KILLS = int(os.environ.get("TOPS_KILLS", "6"))
WORDS = ["experiment=smoke", "profile=miniature", "limit=100", "launcher.workers=1", "launcher.attempts=1000"]


def start(root: Path) -> subprocess.Popen:
    command = [sys.executable, "-P", "-m", "tops", "run", *WORDS, f"results={root}"]
    root.mkdir(exist_ok=True)
    with (root / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def workers(launcher: int) -> list[int]:
    found = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(pid) for pid in found.read_text().split()] if found.exists() else []


def stored(root: Path) -> dict[tuple[str, int], str]:
    """Answer of every whole line, by cell and document."""
    out = {}
    for file in root.rglob("answers.jsonl"):
        for line in file.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                row = json.loads(line)
                out[file.parent.name, row["doc_id"]] = row["answer"]
    return out


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers of a launcher in /proc")
def test_nothing_is_lost_to_kills_of_workers_and_launchers(tmp_path):
    chance, kills, amid, lost = random.Random(7), {"launcher": 0, "worker": 0, "both": 0}, 0, 0
    roots, known = [tmp_path / "0"], {}
    process = start(roots[0])
    while sum(kills.values()) < KILLS:
        wanted, until = len(known) + chance.randint(1, 20), time.monotonic() + chance.uniform(0, 15)
        while process.poll() is None and time.monotonic() < until and len(stored(roots[-1])) < wanted:
            time.sleep(0.01)
        if process.poll() is not None:  # all is done: kills go on at a new store
            assert end(process, roots[-1], known) == 0
            known = {}
            roots.append(tmp_path / str(len(roots)))
            process = start(roots[-1])
            continue
        what, children = chance.choice(list(kills)), workers(process.pid)
        if what != "launcher" and not children:
            continue
        amid += CellStatus.RUNNING in statuses(roots[-1])
        for pid in [*(children if what != "launcher" else []), *([process.pid] if what != "worker" else [])]:
            os.kill(pid, signal.SIGKILL)
        kills[what] += 1
        if what != "worker":
            process.wait()
        now = stored(roots[-1])
        lost += sum(now.get(place) != answer for place, answer in known.items())
        known = now
        if what != "worker":
            process = start(roots[-1])
    process.kill()
    process.wait()
    count = len(known)
    assert end(start(roots[-1]), roots[-1], known) == 0
    assert lost == 0
    print(f"kills {kills}, {amid} of them with a cell in work; {count} answers stored before the last run, {lost} lost")


def end(process: subprocess.Popen, root: Path, known: dict[tuple[str, int], str]) -> int:
    """Let a run end; everything that was stored is still there, whole and sealed."""
    status = process.wait(timeout=900)
    assert status == 0, (root / "log").read_text()[-3000:]
    now = stored(root)
    assert {place: now.get(place) for place in known} == known
    assert check(Store(root, "miniature")) == []
    assert set(statuses(root)) == {CellStatus.SCORED}
    return status


def statuses(root: Path) -> list[CellStatus]:
    store = Store(root, "miniature")
    return [store.status(key) for key in store.keys()]  # noqa: SIM118
