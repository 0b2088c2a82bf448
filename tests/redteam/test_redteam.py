"""Every offence against a small store, and what every command says of it: no wrong number without a word, no traceback.

The offences are those of ``offences.py``; each is committed on a copy of one store, then all commands are asked.
"""

import shutil

import pytest
from offences import OFFENCES
from synthetic_store import fill

from tops.cli.main import main
from tops.evaluation import code
from tops.miniature.data import ensure
from tops.planning.plan import plan
from tops.store.store import Store

EXPERIMENT = """
title: Red team
backbones: [llava-1.5-7b]
benchmarks: [gqa]
levels: {"77.8": {llava-1.5-7b: 128}}
rows:
  - {methods: [none], role: reference, levels: []}
  - {methods: [divprune, visionzip, tops]}
  - {methods: [random], role: control}
"""
WORDS = ("experiment=redteam", "profile=miniature")
COMMANDS = {
    "plan": ("plan", *WORDS),
    "status": ("status", *WORDS),
    "report": ("report", *WORDS),
    "check": ("results", "check"),
    "rescore": ("results", "check", "rescore=true"),
    "run": ("run", *WORDS),
    "score": ("score", "profile=miniature"),
}
"""In this order: a run and a scoring may put right what the others are to find."""

# Kind of answer: exit status of each command, whether the method's number stands in the main table, and which commands
# name the offence.
KINDS = {
    "damaged": ((0, 1, 1, 1, 1, 1, 1), False, ("plan", "status", "report", "run")),
    "stale": ((0, 1, 0, 0, 0, 2, 0), False, ("plan", "status", "run")),
    "marked": ((0, 1, 0, 0, 0, 2, 0), True, ("plan", "status", "run")),
    "missing": ((0, 1, 0, 0, 0, 1, 0), False, ("plan", "status", "run")),
    "stray": ((0, 0, 0, 1, 1, 0, 1), True, ("score",)),
    "contradicted": ((0, 0, 1, 0, 1, 0, 0), False, ("report",)),
    "rescored": ((0, 0, 0, 0, 1, 0, 0), True, ("rescore",)),
    "unsealed": ((0, 1, 0, 0, 0, 1, 0), False, ("run",)),
    "picture": ((0, 0, 0, 1, 1, 0, 0), True, ("check",)),
    "unpaired": ((0, 0, 1, 1, 1, 0, 0), False, ("report",)),
    "apart": ((0, 0, 1, 0, 0, 0, 0), False, ("report",)),
    "nothing": ((0, 1, 0, 1, 1, 1, 0), False, ("plan", "status")),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sound store of five cells with pictures, its tokens and its code recorded."""
    folder = tmp_path_factory.mktemp("redteam")
    (folder / "configs/experiment").mkdir(parents=True)
    (folder / "configs/experiment/redteam.yaml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPS_CONFIGS", str(folder / "configs"))
        ensure()
        fill(
            folder / "store",
            "redteam",
            documents=24,
            pictures=True,
            provenance=lambda planned: {"code": code.answering_code(planned.cell)},
        )
        yield folder


@pytest.fixture
def asked(whole, tmp_path, monkeypatch, capsys):
    """Commits an offence; then exit status and words of every command, and the method's place in the main table."""
    monkeypatch.setattr("tops.reporting.build.write_figures", lambda *_: ([], []))
    monkeypatch.setattr("tops.running.run.launcher", lambda kind: lambda *_: None)  # nothing can be asked anew
    monkeypatch.chdir(tmp_path)

    def ask(offence=None):
        root = tmp_path / "store"
        shutil.copytree(whole / "store", root)
        (tmp_path / "secret.png").write_bytes(b"secret")
        key = next(p.cell.key for p in plan("redteam", "miniature", results=root).cells if p.row.method == "tops")
        if offence is not None:
            offence.commit(Store(root, "miniature").path(key), root)
        told = {}
        for name, words in COMMANDS.items():
            status = main([*words, f"results={root}", *([f"reports={tmp_path}/out"] if name == "report" else [])])
            said = capsys.readouterr()
            told[name] = status, said.out + said.err
        table = (tmp_path / "out/miniature/redteam.md").read_text()
        rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
        shown = {label.strip(): text.strip() for label, text in reversed([r for r in rows if len(r) == 2])}
        return told, shown

    return ask


def test_a_sound_store_has_nothing_to_say(asked):
    told, shown = asked()
    assert {status for status, _ in told.values()} == {0}
    assert shown["TOPS"][0].isdigit()


@pytest.mark.slow
@pytest.mark.parametrize("offence", OFFENCES, ids=lambda o: f"{o.point} {o.name}")
def test_an_offence_is_named_and_gives_no_wrong_number(asked, offence):
    told, shown = asked(offence)
    statuses = tuple(status for status, _ in told.values())
    wanted, number, named = KINDS[offence.kind]
    assert statuses == wanted
    assert shown["TOPS"][0].isdigit() == number, shown["TOPS"]
    for command in named:
        assert offence.says in told[command][1], (command, told[command][1])
    if offence.alone:
        assert shown["DivPrune"][0].isdigit()
    assert not any("Traceback" in words for _, words in told.values())
