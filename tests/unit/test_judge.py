"""A real HTTP server that speaks the protocol, in all its moods."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from synthetic_store import fill

from tops.benchmarks.benchmark import load_benchmark
from tops.errors import ConfigurationError
from tops.evaluation.judge import Judge, JudgeError, judge_record, mmvet_prompt
from tops.planning.plan import PlanStatus, plan
from tops.planning.request import request
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.results import collect
from tops.running.judging import judge_of, with_judge
from tops.running.run import run
from tops.running.worker import Assignment
from tops.settings.choices import load_choice
from tops.settings.schema import ColumnConfig, Experiment, RowConfig
from tops.store.answers import Answer
from tops.store.cell import BackboneSpec, Cell, MethodSpec
from tops.store.store import CellStatus, Store


def honest(prompt: str) -> str:
    _, truth, said, _ = (part.strip() for part in prompt.splitlines()[-1].split("|"))
    return "1.0" if truth.lower() in said.lower() else "0.0"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, reply=honest):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.prompts, self.keys, self.status, self.elsewhere = reply, [], [], 200, ""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def send(self, body):
        data = json.dumps(body).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send({"data": [{"id": "judge-7b"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        assert self.path == "/v1/chat/completions"
        assert body["model"] == "judge-7b"
        self.server.prompts.append(body["messages"][0]["content"])
        self.server.keys.append(self.headers.get("Authorization"))
        self.send({"choices": [{"message": {"content": self.server.reply(self.server.prompts[-1])}}]})


@pytest.fixture
def serve():
    servers = []

    def start(reply=honest):
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def answered(tmp_path):
    store = Store(tmp_path, "miniature")
    bench = load_benchmark("mmvet")
    cell = Cell("miniature", BackboneSpec("b", "llava", "c", "r"), MethodSpec("none"), None, bench.spec("d"))
    with store.open_cell(cell) as writer:
        for i, text in enumerate(["a red ring", "a dog", "two"]):
            target = {
                "question": f"What is {i}?",
                "answer": ["ring", "cat", "two"][i],
                "capability": ["rec", "rec,ocr", "math"][i],
            }
            writer.append(Answer(i, str(i), "p", "h", f"What is {i}?", text, target, output_tokens=3))
        assert writer.seal(scores={}, provenance={}) is CellStatus.ANSWERED
    return store, cell, bench


def test_prompt_is_the_stock_few_shot():
    assert "<AND>" in mmvet_prompt()
    assert mmvet_prompt().count("| 1.0") >= 2


def test_probe_finds_the_model(serve):
    assert Judge(serve().url).probe().model == "judge-7b"


def test_judged_cell(serve, answered):
    store, cell, bench = answered
    server = serve()
    entry = judge_record(store, cell.key, bench, Judge(server.url))
    record = store.read(cell.key)
    assert record.status is CellStatus.SCORED
    assert record.scores["judge"] == entry
    assert entry["metrics"]["score"] == pytest.approx(200 / 3)
    assert entry["metrics"]["rec"] == 50.0
    assert entry["metrics"]["ocr"] == 0.0
    assert entry["judge"]["model"] == "judge-7b"
    assert entry["judge"]["url"] == server.url
    asked = len(server.prompts)
    judge_record(store, cell.key, bench, Judge(server.url))
    assert len(server.prompts) == asked + 2  # the probe alone: verdicts are kept


def test_no_judge_no_number(answered):
    store, cell, bench = answered
    with pytest.raises(JudgeError, match="no judge at"):
        judge_record(store, cell.key, bench, Judge("http://127.0.0.1:9/v1", "m", timeout=2))
    assert store.read(cell.key).scores == {}


@pytest.mark.parametrize("mood", [lambda p: "", lambda p: "I cannot", lambda p: "7", lambda p: "nan"])
def test_a_judge_that_gives_no_score_is_refused_not_zero(serve, answered, mood):
    store, cell, bench = answered
    with pytest.raises(JudgeError, match="no score from 0 to 1"):
        judge_record(store, cell.key, bench, Judge(serve(mood).url))
    assert store.read(cell.key).status is CellStatus.ANSWERED


def test_a_judge_that_fails_half_way_scores_nothing(serve, answered):
    store, cell, bench = answered
    server = serve(lambda p: "?" if "What is 2" in p else honest(p))
    with pytest.raises(JudgeError):
        judge_record(store, cell.key, bench, Judge(server.url, workers=1))
    assert store.read(cell.key).scores == {}
    server.reply = honest
    before = len(server.prompts)
    judge_record(store, cell.key, bench, Judge(server.url, workers=1))
    assert len(server.prompts) - before == 2 + 1  # probe, and the one that was missing


def test_a_judge_that_says_yes_to_all_is_refused(serve):
    with pytest.raises(JudgeError, match="scores a right answer"):
        Judge(serve(lambda p: "1.0").url).probe()


def test_http_errors(serve, monkeypatch):
    server = serve()
    server.status = 401
    with pytest.raises(JudgeError, match=r"401.*TOPS_JUDGE_KEY"):
        Judge(server.url).probe()
    server.status = 200
    monkeypatch.setenv("TOPS_JUDGE_KEY", "secret")
    Judge(server.url + "/chat/completions").probe()
    assert server.keys[-1] == "Bearer secret"
    with pytest.raises(ConfigurationError, match="http"):
        Judge("localhost:8000")


@pytest.mark.parametrize("way", ["another port", "another name"])
def test_no_key_follows_a_redirect_to_another_host(serve, monkeypatch, way):
    monkeypatch.setenv("TOPS_JUDGE_KEY", "secret")
    server, other = serve(), serve()
    path = "/v1/chat/completions?api_key=inside"
    server.elsewhere = f"http://127.0.0.1:{other.server_port}{path}"
    if way == "another name":
        server.elsewhere = f"http://user:hidden@localhost:{server.server_port}{path}"
    with pytest.raises(JudgeError, match="sends to another host") as refused:
        Judge(server.url, "judge-7b").probe()
    assert other.keys == server.keys == []
    assert not [word for word in ("secret", "inside", "hidden") if word in str(refused.value)]


def judged_table(tmp_path):
    """Two methods' stored answers to MM-Vet, waiting for a judge."""
    experiment = Experiment(
        name="judged",
        title="Judged",
        backbones=("llava-1.5-7b",),
        benchmarks=(ColumnConfig("mmvet", "mmvet"),),
        rows=(RowConfig(("none",), "reference", levels=()), RowConfig(("divprune",))),
        levels={"77.8": {"llava-1.5-7b": 128}},
    )
    return fill(tmp_path, experiment, documents=6), experiment


def test_a_judge_that_dies_in_a_run_leaves_it_incomplete_and_the_same_command_goes_on(serve, tmp_path, monkeypatch):
    planned, experiment = judged_table(tmp_path)
    assert set(planned.counts) == {PlanStatus.ANSWERED}
    server = serve(lambda p: honest(p) if len(server.prompts) <= 7 else "")
    monkeypatch.setenv("TOPS_JUDGE_URL", server.url)
    local = load_choice("launcher", "local")
    summary = run(planned, local, tmp_path)
    assert (summary.asked, len(summary.missing)) == (2, 2)
    assert all("answered, not judged: the judge gave no score" in why for _, why in summary.missing)
    assert not any(record.scores for record in Store(tmp_path, "miniature").records())
    kept = sum(1 for p in tmp_path.rglob(".verdicts-*") for _ in p.open())
    assert kept >= 3
    server.prompts, server.reply = [], honest
    assert run(plan(experiment, "miniature", results=tmp_path), local, tmp_path).missing == []
    assert len(server.prompts) == 12 - kept + 2 * 2  # the probes; verdicts that were given are not asked again


def test_two_judges_never_stand_in_one_column(serve, tmp_path):
    planned, experiment = judged_table(tmp_path)
    strict, lenient = serve(), serve(lambda p: "0.9" if "whale" not in p else "0.0")
    store, bench = Store(tmp_path, "miniature"), load_benchmark("mmvet")
    for one, server in zip(planned.unique().values(), (strict, lenient), strict=True):
        judge_record(store, one.cell.key, bench, Judge(server.url, attempts=3 if server is strict else 2))
    results = unmixed(collect(plan(experiment, "miniature", results=tmp_path), tmp_path))
    shown = [e for e in results.entries.values() if e.values]
    odd = [e for e in results.entries.values() if not e.values]
    assert (len(shown), len(odd)) == (1, 1)
    assert "other judge than the rest of the column: settings" in odd[0].reason
    assert "Judged by judge-7b" in results.judges


def test_a_run_probes_the_judge_before_it_starts_and_names_it_to_its_workers(serve, monkeypatch, tmp_path):
    monkeypatch.delenv("TOPS_JUDGE_URL", raising=False)
    words = ["benchmark=mmvet", "method=none", "profile=miniature", f"results={tmp_path}"]
    judged, out = request(words).plan, io.StringIO()
    assert with_judge(judged, out) is judged
    assert "MM-Vet: no judge" in out.getvalue()
    server = serve()
    monkeypatch.setenv("TOPS_JUDGE_URL", server.url)
    named = with_judge(judged)
    assert len(server.prompts) == 2
    monkeypatch.delenv("TOPS_JUDGE_URL")  # a worker elsewhere has another environment
    Assignment(str(tmp_path), named.profile, tuple(judged.todo())).save(tmp_path / "assignment.json")
    assert judge_of(Assignment.load(tmp_path / "assignment.json").profile) == Judge(server.url, "judge-7b")
    assert [c.key for c in named.todo()] == [c.key for c in judged.todo()]
    other = request(["benchmark=pope", *words[1:]]).plan
    assert with_judge(other, out) is other
    lenient = serve(lambda prompt: "1.0")
    with pytest.raises(JudgeError, match="scores a right answer"):
        with_judge(request([*words, f"profile.judge={lenient.url}"]).plan)
