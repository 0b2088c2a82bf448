"""Offences against a small store, each with what it does; the commands' answers are in ``test_redteam.py``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tops.store.hashes import HashMemory
from tops.store.store import Store


@dataclass(frozen=True)
class Offence:
    """Something done to a cell.

    Attributes
    ----------
    point : int
        The promise that it breaks: 1 code, 2 one match, 3 the seal, 4 one cell alone, 6 pairs, 13 confinement.
    commit : callable
        Gets the cell's folder and the root of the store.
    kind : str
        How commands answer, one of ``KINDS`` of the test.
    says : str
        Words by which it is named.
    alone : bool
        Whether every other row keeps its number.
    """

    point: int
    name: str
    commit: Callable[[Path, Path], None]
    kind: str = "damaged"
    says: str = "changed after the cell was complete"
    alone: bool = True


def edit(name: str, old: str, new: str) -> Callable[[Path, Path], None]:
    """One replacement in a file of the cell."""

    def commit(cell: Path, root: Path) -> None:
        text = (cell / name).read_text()
        assert old in text, (name, old)
        (cell / name).write_text(text.replace(old, new, 1))

    return commit


def truncate(name: str, keep: float) -> Callable[[Path, Path], None]:
    """The file loses its end."""

    def commit(cell: Path, root: Path) -> None:
        content = (cell / name).read_bytes()
        (cell / name).write_bytes(content[: int(len(content) * keep)])

    return commit


def reseal(cell: Path) -> None:
    """The seal of whatever is there now, as a forger would make it."""
    seal = json.loads((cell / "complete.json").read_text())
    for name in seal["sha256"]:
        seal["sha256"][name] = HashMemory().sha256(cell / name)
    (cell / "complete.json").write_text(json.dumps(seal))


def forged(commit: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """The same, and the seal made anew."""

    def both(cell: Path, root: Path) -> None:
        commit(cell, root)
        reseal(cell)

    return both


def swapped(cell: Path, root: Path) -> None:
    """Its folder and that of another cell change places."""
    other = next(p for p in sorted(root.rglob("complete.json")) if p.parent != cell).parent
    aside = root / "aside"
    cell.rename(aside)
    other.rename(cell)
    aside.rename(other)


def moved(cell: Path, root: Path) -> None:
    """A copy of its folder under another key."""
    copy = cell.parents[1] / "ff" / ("f" * 64)
    copy.parent.mkdir(exist_ok=True)
    shutil.copytree(cell, copy)


def replaced_by_a_file(cell: Path, root: Path) -> None:
    shutil.rmtree(cell)
    cell.write_text("")


def under(change: Callable) -> Callable[[Path, Path], None]:
    """The same answers, stored under a specification that asks something else; the cell itself is gone."""

    def commit(cell: Path, root: Path) -> None:
        store = Store(root, "miniature")
        record = store.read(cell.name)
        answers, scorer = list(record.answers()), record.default_scorer
        rows, scores, facts = record.rows(scorer), dict(record.scores), dict(record.provenance)
        other, aside = change(record.spec), root / "images"
        shutil.move(cell / "images", aside)
        shutil.rmtree(cell)
        with store.open_cell(other, record.code) as writer:
            shutil.move(aside, writer.path / "images")
            for answer in answers:
                writer.append(replace(answer, scores={}))
            writer.seal(scores=scores, provenance=facts, default_scorer=scorer, rows={scorer: rows})

    return commit


def other_data(spec):
    return replace(spec, benchmark=replace(spec.benchmark, data_hash="f" * 64))


def other_weights(spec):
    return replace(spec, backbone=replace(spec.backbone, revision="f" * 64))


def other_versions(spec):
    return replace(spec, versions={**spec.versions, "torch": "0.0"})


def line(change: Callable[[dict], None], number: int = 0) -> Callable[[Path, Path], None]:
    """A change of one stored answer."""

    def commit(cell: Path, root: Path) -> None:
        lines = (cell / "answers.jsonl").read_text().splitlines()
        row = json.loads(lines[number])
        change(row)
        lines[number] = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        (cell / "answers.jsonl").write_text("\n".join(lines) + "\n")

    return commit


def all_lines(change: Callable[[dict], None]) -> Callable[[Path, Path], None]:
    """A change of every stored answer."""

    def commit(cell: Path, root: Path) -> None:
        for number in range((cell / "answers.jsonl").read_bytes().count(b"\n")):
            line(change, number)(cell, root)

    return commit


def edited_picture(cell: Path, root: Path) -> None:
    file = next(iter(sorted((cell / "images").iterdir())))
    file.write_bytes(file.read_bytes() + b"\0")


def without_a_line(cell: Path, root: Path) -> None:
    lines = (cell / "answers.jsonl").read_text().splitlines(keepends=True)
    (cell / "answers.jsonl").write_text("".join(lines[1:]))


def twice_a_line(cell: Path, root: Path) -> None:
    text = (cell / "answers.jsonl").read_text()
    (cell / "answers.jsonl").write_text(text + text.splitlines(keepends=True)[0])


def scored_higher(cell: Path, root: Path) -> None:
    scores = json.loads((cell / "scores.json").read_text())
    scores["scorers"][scores["default"]]["metrics"]["accuracy"] = 99.5
    (cell / "scores.json").write_text(json.dumps(scores))


def another_rule(cell: Path, root: Path) -> None:
    scores = json.loads((cell / "scores.json").read_text())
    scores["scorers"][scores["default"]]["code"] = "0" * 16
    (cell / "scores.json").write_text(json.dumps(scores))


def other_code(part: str) -> Callable[[Path, Path], None]:
    """As if a part of the code had been another one when the cell was answered."""

    def commit(cell: Path, root: Path) -> None:
        for name in ("code.json", "provenance.json"):
            file = cell / name
            if file.exists():
                content = json.loads(file.read_text())
                place = content.get("code", content)
                if part in place:
                    place[part] = "0" * 16
                    file.write_text(json.dumps(content))

    return commit


def emptied(name: str) -> Callable[[Path, Path], None]:
    return lambda cell, root: (cell / name).write_text("")


def deleted(name: str) -> Callable[[Path, Path], None]:
    return lambda cell, root: (cell / name).unlink()


def garbage(name: str) -> Callable[[Path, Path], None]:
    return lambda cell, root: (cell / name).write_bytes(b"\xff\xfe\x00garbage")


def other_verdict(row: dict) -> None:
    for scores in row["scores"].values():
        scores["score"] = 1.0 - scores["score"]


PARTS = ("engine", "backbone", "evaluation", "method", "selection")
FILES = ("answers.jsonl", "scores.json", "spec.json", "provenance.json")
_NOTHING = '{"schema": 1, "sha256": {}}'
_SEED = edit("spec.json", '"seed": 0', '"seed": 7')
_TEXTS = all_lines(lambda r: r.update(answer="left"))
_WORDS = line(lambda r: r.update(prompt_hash="f" * 64))
_QUESTION = line(lambda r: r.update(question="Another?"))
OTHERS = "other documents than the rest"
_OUTSIDE = line(lambda r: r.update(image="../../../../secret.png"))

OTHER = "other code than is here now: {}"
CONTRADICTED = "but its answers give"

OFFENCES = (
    *(Offence(1, f"answered by another {p}", forged(other_code(p)), "stale", OTHER.format(p)) for p in PARTS[:3]),
    *(Offence(1, f"answered by another {p}", forged(other_code(p)), "marked", OTHER.format(p)) for p in PARTS[3:]),
    Offence(1, "scored by another rule", forged(another_rule), "stale", OTHER.format("scoring rule")),
    Offence(2, "other data", under(other_data), "missing", "stored only with other data"),
    Offence(2, "other weights", under(other_weights), "missing", "stored only with other weights"),
    Offence(2, "other versions", under(other_versions), "marked", OTHER.format("packages")),
    Offence(3, "swapped folders", swapped, says="or swapped with another", alone=False),
    Offence(3, "a copy under another key", moved, "stray", "or swapped with another"),
    Offence(3, "an edited score", scored_higher),
    Offence(3, "an edited score under a new seal", forged(scored_higher), "contradicted", CONTRADICTED),
    Offence(3, "an edited row under a new seal", forged(line(other_verdict)), "contradicted", CONTRADICTED),
    Offence(3, "an edited text", line(lambda r: r.update(answer="x"))),
    Offence(3, "edited texts under a new seal", forged(_TEXTS), "rescored", "texts"),
    Offence(3, "an edited cluster", line(lambda r: r.update(cluster="x"))),
    Offence(3, "edited tokens", line(lambda r: r.update(visual_tokens_per_layer=[1] * 8))),
    Offence(3, "an edited specification", _SEED),
    Offence(3, "an edited specification under a new seal", forged(_SEED), says="or swapped with another"),
    Offence(3, "edited provenance", edit("provenance.json", '"dirty": false', '"dirty": true')),
    Offence(3, "a truncated seal", truncate("complete.json", 0.5), says="damaged: "),
    Offence(3, "an empty seal", emptied("complete.json"), says="damaged: "),
    Offence(3, "a seal of nothing", lambda cell, root: (cell / "complete.json").write_text(_NOTHING), says="damaged: "),
    Offence(3, "a list as a seal", lambda cell, root: (cell / "complete.json").write_text("[]"), says="damaged: "),
    Offence(3, "a deleted seal", deleted("complete.json"), "unsealed", "its seal complete.json is gone"),
    Offence(3, "an edited picture", edited_picture, "picture", "images/0.png"),
    *(Offence(4, f"{name} is gone", deleted(name), says=f"{name} is missing") for name in FILES),
    *(Offence(4, f"{name} is garbage", garbage(name)) for name in FILES),
    Offence(4, "complete.json is garbage", garbage("complete.json"), says="damaged: "),
    Offence(4, "a line is missing", without_a_line),
    Offence(4, "a line is missing under a new seal", forged(without_a_line), "unpaired", OTHERS),
    Offence(4, "a line stands twice under a new seal", forged(twice_a_line), "unpaired", OTHERS),
    Offence(4, "the last line is cut", truncate("answers.jsonl", 0.9)),
    Offence(4, "a file stands for its folder", replaced_by_a_file, "nothing", "missing"),
    Offence(6, "another prompt under a new seal", forged(_WORDS), "apart", "in other words (prompt_hash)"),
    Offence(6, "another question under a new seal", forged(_QUESTION), "apart", OTHERS),
    Offence(13, "a picture outside the cell under a new seal", forged(_OUTSIDE), "picture", "secret.png"),
)
