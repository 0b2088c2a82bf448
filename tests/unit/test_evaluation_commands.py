"""``tops score`` and ``tops results check`` on a store, through the command line's own entry."""

import pytest

from tops.benchmarks.benchmark import load_benchmark
from tops.cli.main import main
from tops.miniature.data import ensure
from tops.running.worker import work
from tops.store.answers import Answer
from tops.store.cell import BackboneSpec, Cell, MethodSpec
from tops.store.store import Store


@pytest.fixture
def store(tmp_path):
    """A POPE cell that was sealed with LLaVA's rule alone."""
    from tops.benchmarks.scorers import score_answers, summarise

    store = Store(tmp_path, "miniature")
    bench = load_benchmark("pope")
    cell = Cell("miniature", BackboneSpec("b", "llava", "c", "r"), MethodSpec("none"), None, bench.spec("d"))
    answers = [
        Answer(i, str(i), "p", "h", "q", ("Yes.", "no", "dunno")[i % 3], {"answer": "yes", "category": "random"})
        for i in range(6)
    ]
    rows = score_answers(bench, "llava", answers)
    with store.open_cell(cell) as writer:
        for answer in answers:
            writer.append(answer)
        scores = {"llava": summarise(bench, "llava", answers, rows)}
        writer.seal(scores=scores, rows={"llava": rows}, provenance={}, default_scorer="llava")
    return store


def test_scoring_again_adds_rules_beside_the_sealed_files(store, capsys):
    (key,) = store.keys()
    before = (store.path(key) / "scores.json").read_bytes()
    assert main(["score", f"results={store.root}", "profile=miniature"]) == 0
    out = capsys.readouterr().out
    assert "vlmevalkit: f1 50.0000, 33.3% invalid" in out
    record = store.read(key)
    assert set(record.scores) == {"llava", "lmms-eval", "vlmevalkit"}
    assert record.default_scorer == "llava"
    assert record.rows("vlmevalkit")[2]["prediction"] is None
    assert (store.path(key) / "scores.json").read_bytes() == before
    assert main(["results", "check", f"results={store.root}"]) == 0
    assert "1 complete and sound" in capsys.readouterr().out


def test_unknown_scorer_and_empty_choice(store, capsys):
    base = ["score", f"results={store.root}", "profile=miniature"]
    assert main([*base, "scorer=lava"]) == 1
    assert "Did you mean 'llava'" in capsys.readouterr().err
    assert main([*base, "benchmark=mme"]) == 2
    assert main([*base, "benchmark=popo"]) == 2
    assert "Did you mean 'pope'" in capsys.readouterr().err


def test_check_fails_on_a_fault(store, capsys):
    (key,) = store.keys()
    (store.path(key) / "provenance.json").write_text("{}")
    assert main(["results", "check", f"results={store.root}"]) == 1
    assert "provenance.json: changed after the cell was complete" in capsys.readouterr().out


def test_no_store(tmp_path, capsys):
    assert main(["results", "check", f"results={tmp_path}"]) == 2
    assert "no result store" in capsys.readouterr().err


def test_a_run_refuses_before_it_loads(capsys):
    for words, told in (
        (["suite=yess_no"], "Did you mean 'yes_no'"),
        (["method=topps"], "Did you mean 'tops'"),
        (["method=random", "budget=many"], "neither a token count"),
        (["nowhere/spec.json"], "is no specification of a cell"),
        (["--watch"], "unknown option '--watch'"),
    ):
        assert main(["run", *words]) == 2
        assert told in capsys.readouterr().err


def run(monkeypatch, root, error):
    """A run of one cell whose weights do not load."""

    def broken(spec, profile):
        raise error

    def launch(assignment, folder, choice, emit):
        work(assignment, emit=emit, load=broken)

    ensure()
    monkeypatch.setattr("tops.running.run.launcher", lambda kind: launch)
    return main(["run", "benchmark=pope", "method=none", "profile=miniature", "limit=1", f"results={root}"])


def test_a_run_with_a_failed_cell_ends_with_status_1_and_names_it(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, tmp_path, RuntimeError("no weights")) == 1
    told = capsys.readouterr().err
    assert "0 of 1 cells complete" in told
    assert "miniature llava-1.5-7b / none / pope" in told
    assert "did not load: RuntimeError: no weights" in told
    assert "run the same command again" in told


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, tmp_path, KeyboardInterrupt()) == 130
    told = capsys.readouterr().err
    assert "stopped with 0 of 1 cells complete; every answer so far is stored, the same command goes on" in told


def test_a_cell_that_cannot_run_is_refused_before_anything_else(tmp_path, capsys):
    words = ["benchmark=mlvu", "method=none", "backbone=llava-next-7b", "profile=miniature", f"results={tmp_path}"]
    assert main(["run", *words]) == 2
    told = capsys.readouterr().err
    assert "nothing can run: LLaVA-NeXT-7B is not shown videos" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status"), [(PermissionError(13, "Permission denied", "/x"), 2), (OSError(28, "full"), 2)]
)
def test_a_path_that_cannot_be_used_is_no_traceback(error, status, monkeypatch, capsys):
    def refuse():
        raise error

    monkeypatch.setattr("tops.cli.score._keys", refuse)
    assert main(["score"]) == status
    assert str(error) in capsys.readouterr().err


def test_an_error_of_no_path_keeps_its_traceback(monkeypatch):
    def fail():
        raise OSError("a fault of ours")

    monkeypatch.setattr("tops.cli.score._keys", fail)
    with pytest.raises(OSError, match="a fault of ours"):
        main(["score"])
