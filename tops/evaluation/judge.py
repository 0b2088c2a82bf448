"""A judge model behind an OpenAI-compatible endpoint, for benchmarks whose answers no rule can score.

Any server that speaks ``POST {url}/chat/completions`` will do: a local vLLM, llama.cpp or Ollama, or a hosted one.
Without a judge the answers are stored as "answered, not judged" and no number exists.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tops.benchmarks.benchmark import Benchmark
from tops.benchmarks.scorers import summarise
from tops.benchmarks.scorers.open import judged_row
from tops.errors import ConfigurationError, DataError
from tops.store.answers import Answer
from tops.store.store import Store

KEY_VARIABLE = "TOPS_JUDGE_KEY"
PROBES = (("yellow", "It is yellow."), ("yellow", "It is a whale."))


class JudgeError(DataError):
    """A judge that cannot be reached, or does not answer as one."""


@dataclass(frozen=True)
class Judge:
    """An endpoint.

    Attributes
    ----------
    url : str
        Base address, such as ``http://127.0.0.1:8000/v1``.
    model : str
        Name the server knows the model by; empty takes the first that it lists.
    timeout : float
        Seconds for one answer.
    attempts : int
        Requests for one verdict, the later ones at a higher temperature, as the MM-Vet script does.
    workers : int
        Requests at a time.
    """

    url: str
    model: str = ""
    timeout: float = 60.0
    attempts: int = 3
    workers: int = 4

    @classmethod
    def from_environment(cls) -> Judge | None:
        """The judge that ``TOPS_JUDGE_URL`` (and ``TOPS_JUDGE_MODEL``) name; None without."""
        url = os.environ.get("TOPS_JUDGE_URL")
        return cls(url, os.environ.get("TOPS_JUDGE_MODEL", "")) if url else None

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigurationError(f"judge address {self.url!r} must begin with http:// or https://")

    @property
    def base(self) -> str:
        """Address without the path of an operation."""
        return self.url.rstrip("/").removesuffix("/chat/completions")

    def resolved(self) -> Judge:
        """The judge with the name of its model filled in.

        Raises
        ------
        JudgeError
            If the server lists no model.
        """
        if self.model:
            return self
        models = self._call("models").get("data") or []
        if not models:
            raise JudgeError(
                f"the judge at {self.base} lists no model; name one with judge_model=NAME (profile.judge_model=NAME in "
                "a run)"
            )
        return Judge(self.url, str(models[0]["id"]), self.timeout, self.attempts, self.workers)

    def chat(self, prompt: str, *, temperature: float = 0.0) -> str:
        """The model's reply to one user turn.

        Raises
        ------
        JudgeError
            If there is none.
        """
        message = {"role": "user", "content": prompt}
        body = {"model": self.model, "messages": [message], "temperature": temperature, "max_tokens": 128}
        reply = self._call("chat/completions", body)
        try:
            return str(reply["choices"][0]["message"]["content"] or "").strip()
        except (KeyError, IndexError, TypeError):
            raise JudgeError(f"the judge at {self.base} does not speak the chat protocol: {str(reply)[:200]}") from None

    def score(self, question: str, truth: str, prediction: str) -> float:
        """Verdict on one answer, 0 (wrong) to 1 (right), by MM-Vet's prompt.

        Raises
        ------
        JudgeError
            If no attempt gives a number from 0 to 1. It is never taken for a 0.
        """
        wanted = truth.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
        prompt = f"{mmvet_prompt()}\n{question} | {wanted} | {prediction} |"
        said = ""
        for attempt in range(self.attempts):
            said = self.chat(prompt, temperature=0.5 * attempt)
            first = said.split(" ")[0].strip().rstrip("|")
            try:
                value = float(first)
            except ValueError:
                continue
            if 0.0 <= value <= 1.0:
                return value
        raise JudgeError(f"the judge gave no score from 0 to 1 in {self.attempts} attempts, last {said[:80]!r}")

    def probe(self) -> Judge:
        """Check that the judge answers and can tell right from wrong, before anything depends on it.

        Returns
        -------
        Judge
            With its model's name.

        Raises
        ------
        JudgeError
            If it cannot be reached, or scores a right answer below a wrong one.
        """
        judge = self.resolved()
        right, wrong = (judge.score("What colour is the banana?", truth, said) for truth, said in PROBES)
        if not right > wrong:
            raise JudgeError(
                f"the judge {judge.model!r} at {self.base} scores a right answer {right} and a wrong one {wrong}; "
                "choose a model that follows the prompt"
            )
        return judge

    def _call(self, operation: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/{operation}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                reply = json.load(response)
        except urllib.error.HTTPError as error:
            hint = f"; set {KEY_VARIABLE} to its key" if error.code in (401, 403) else ""
            raise JudgeError(f"the judge at {self.base} answers {error.code} {error.reason}{hint}") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise JudgeError(f"no judge at {self.base}: {why}; start one there, or run without a judge") from None
        if not isinstance(reply, dict):
            raise JudgeError(f"the judge at {self.base} does not speak the chat protocol: {str(reply)[:200]}")
        return reply


@cache
def mmvet_prompt() -> str:
    """The few-shot prompt of MM-Vet as lmms-eval has it, read without running that module (it would open a client)."""
    package = find_spec("lmms_eval")
    assert package is not None
    assert package.submodule_search_locations is not None
    source = Path(package.submodule_search_locations[0]) / "tasks" / "mmvet" / "utils.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MM_VET_PROMPT":
            return str(ast.literal_eval(node.value))
    raise DataError(f"{source} has no MM_VET_PROMPT; another version of lmms-eval than 0.7.3 is installed")


def judge_record(store: Store, key: str, benchmark: Benchmark, judge: Judge) -> dict[str, Any]:
    """Judge the stored answers of a complete cell and add the result to it.

    Verdicts are kept as they come: a judge that stops half-way is asked only for the others next time.

    Returns
    -------
    dict
        The entry that was stored.

    Raises
    ------
    JudgeError
        If a verdict cannot be had; nothing is scored then.
    """
    judge = judge.probe()
    record = store.read(key)
    answers = list(record.answers())
    verdicts = _Verdicts(record.path / "rescored" / f".verdicts-{benchmark.scorer}.jsonl", judge.model)

    def one(answer: Answer) -> float:
        known = verdicts.get(answer)
        if known is not None:
            return known
        score = judge.score(answer.question, str(answer.target["answer"]), answer.answer)
        verdicts.add(answer, score)
        return score

    with ThreadPoolExecutor(judge.workers) as pool:
        scores = list(pool.map(one, answers))
    rows = {a.doc_id: judged_row(s, a.target) for a, s in zip(answers, scores, strict=True)}
    entry = summarise(benchmark, benchmark.scorer, answers, rows)
    entry["judge"] = {"model": judge.model, "url": judge.base}
    store.rescore(key, benchmark.scorer, entry, rows, default=True)
    return entry


class _Verdicts:
    """Verdicts of one judge on the answers of one cell, appended to a file."""

    def __init__(self, path: Path, model: str) -> None:
        path.parent.mkdir(exist_ok=True)
        self._path, self._model = path, model
        self._known: dict[str, float] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue  # cut off by a kill
                if row["model"] == model:
                    self._known[row["answer"]] = float(row["score"])

    def get(self, answer: Answer) -> float | None:
        return self._known.get(_identity(answer))

    def add(self, answer: Answer, score: float) -> None:
        line = json.dumps({"model": self._model, "answer": _identity(answer), "doc_id": answer.doc_id, "score": score})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _identity(answer: Answer) -> str:
    text = json.dumps([answer.doc_id, answer.question, answer.target, answer.answer], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
