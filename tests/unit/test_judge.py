"""A real HTTP server that speaks the protocol, in all its moods."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tops.benchmarks.benchmark import load_benchmark
from tops.errors import ConfigurationError
from tops.evaluation.judge import Judge, JudgeError, judge_record, mmvet_prompt
from tops.planning.request import request
from tops.running.judging import judge_of, with_judge
from tops.running.worker import Assignment
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
        self.reply, self.prompts, self.keys, self.status = reply, [], [], 200
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
