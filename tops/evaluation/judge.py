"""A judge model behind an OpenAI-compatible endpoint, for benchmarks whose answers no rule can score.

Any server that speaks ``POST {url}/chat/completions`` will do: a local vLLM, llama.cpp or Ollama, or a hosted one.
Without a judge the answers are stored as "answered, not judged" and no number exists.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from http.client import HTTPException, HTTPMessage
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tops.benchmarks.benchmark import Benchmark
from tops.benchmarks.scorers import summarise
from tops.benchmarks.scorers.open import judged_row
from tops.errors import ConfigurationError, DataError
from tops.store.answers import Answer
from tops.store.secrets import without_secrets
from tops.store.store import Store

KEY_VARIABLE = "TOPS_JUDGE_KEY"
MOST_TOKENS = 128  # most tokens of a verdict
STEP = 0.5  # by which the temperature rises from one attempt to the next
PROBES = (("yellow", "It is yellow."), ("yellow", "It is a whale."))


class JudgeError(DataError):
    """A judge cannot be reached, or its replies are no verdicts."""


@dataclass(frozen=True)
class Judge:
    """The endpoint of a judge model and its settings.

    Attributes
    ----------
    url : str
        Base address, such as ``http://127.0.0.1:8000/v1``. A user and password, or a key in its query, are sent and
        never shown or stored.
    model : str
        Name the server knows the model by; empty takes the only one that it lists.
    timeout : float
        Seconds for one answer.
    attempts : int
        Requests for one verdict, the later ones at a higher temperature, as the MM-Vet script does.
    workers : int
        Requests at a time.
    version : str
        The server's own name of the answering model, with its system fingerprint.
    """

    url: str = field(repr=False)
    model: str = ""
    timeout: float = 60.0
    attempts: int = 3
    workers: int = 4
    version: str = ""

    @classmethod
    def from_environment(cls) -> Judge | None:
        """The judge that ``TOPS_JUDGE_URL`` (and ``TOPS_JUDGE_MODEL``) name; None without."""
        url = os.environ.get("TOPS_JUDGE_URL")
        return cls(url, os.environ.get("TOPS_JUDGE_MODEL", "")) if url else None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # brackets that do not close, or a port that is no number
            good = False
        if not good or any(c.isspace() or ord(c) > 126 for c in self.url):
            shown = without_secrets(self.url)
            raise ConfigurationError(f"judge address {shown!r} must look like http://127.0.0.1:8000/v1 or https://...")

    @property
    def base(self) -> str:
        """Address without an operation's path and without keys; this form may be shown and stored."""
        return without_secrets(self.url).rstrip("/").removesuffix("/chat/completions")

    @property
    def secret(self) -> bool:
        """Whether the address carries something that must not be written down."""
        return without_secrets(self.url) != self.url

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that a verdict depends on: model, version, prompt and settings; not the address."""
        return {
            "model": self.model,
            "version": self.version,
            "prompt": hashlib.sha256(mmvet_prompt().encode()).hexdigest()[:16],
            "settings": {"attempts": self.attempts, "max_tokens": MOST_TOKENS, "temperature_step": STEP},
        }

    def resolved(self) -> Judge:
        """The judge with the name of its model filled in.

        Raises
        ------
        JudgeError
            If the server lists no model, or several: the choice of the judge must not depend on the order of a list.
        """
        if self.model:
            return self
        models = self._call("models").get("data") or []
        names = [str(m.get("id", "")) for m in models if isinstance(m, dict)]
        if len(names) != 1:
            listed = f"lists {', '.join(names)}" if names else "lists no model"
            raise JudgeError(f"the judge at {self.base} {listed}; name one with judge_model (profile.judge_model)")
        return replace(self, model=names[0])

    def chat(self, prompt: str, *, temperature: float = 0.0) -> str:
        """The model's reply to one user turn.

        Raises
        ------
        JudgeError
            If there is no reply.
        """
        return self._text(self._chat(prompt, temperature))

    def _text(self, reply: Mapping[str, Any]) -> str:
        try:
            return str(reply["choices"][0]["message"]["content"] or "").strip()
        except (KeyError, IndexError, TypeError):
            raise JudgeError(f"the judge at {self.base} does not speak the chat protocol: {str(reply)[:200]}") from None

    def _chat(self, prompt: str, temperature: float) -> dict[str, Any]:
        message = {"role": "user", "content": prompt}
        body = {"model": self.model, "messages": [message], "temperature": temperature, "max_tokens": MOST_TOKENS}
        return self._call("chat/completions", body)

    def score(self, question: str, truth: str, prediction: str) -> float:
        """Verdict on one answer, 0 (wrong) to 1 (right), by MM-Vet's prompt.

        Raises
        ------
        JudgeError
            If no attempt gives a number from 0 to 1. A missing number never counts as 0.
        """
        return self._verdict(question, truth, prediction)[0]

    def _verdict(self, question: str, truth: str, prediction: str) -> tuple[float, Mapping[str, Any]]:
        """The verdict, and the reply that gave it."""
        wanted = truth.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
        prompt = f"{mmvet_prompt()}\n{question} | {wanted} | {prediction} |"
        said = ""
        for attempt in range(self.attempts):
            reply = self._chat(prompt, STEP * attempt)
            said = self._text(reply)
            first = said.split(" ")[0].strip().rstrip("|")
            try:
                value = float(first)
            except ValueError:
                continue
            if 0.0 <= value <= 1.0:
                return value, reply
        raise JudgeError(f"the judge gave no score from 0 to 1 in {self.attempts} attempts, last {said[:80]!r}")

    def probe(self) -> Judge:
        """Check that the judge answers and can tell right from wrong, before anything depends on it.

        Returns
        -------
        Judge
            The judge with its model's name filled in.

        Raises
        ------
        JudgeError
            If the judge cannot be reached, or does not tell a right answer from a wrong one.
        """
        judge = self.resolved()
        (right, reply), (wrong, _) = (judge._verdict("What colour is the banana?", t, said) for t, said in PROBES)
        told = (str(reply[k]) for k in ("model", "system_fingerprint") if reply.get(k))
        judge = replace(judge, version=" ".join(told))
        if not right > wrong:
            raise JudgeError(
                f"the judge {judge.model!r} at {self.base} scores a right answer {right} and a wrong one {wrong}; "
                "choose a model that follows the prompt"
            )
        return judge

    def _call(self, operation: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        parts = urlsplit(self.url)
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        data = None if body is None else json.dumps(body).encode()
        base = urlsplit(self.base)
        address = urlunsplit((base.scheme, base.netloc, f"{base.path}/{operation}", parts.query, ""))
        request = urllib.request.Request(address, data, headers)
        try:
            with urllib.request.build_opener(_SameHost()).open(request, timeout=self.timeout) as response:
                reply = json.load(response)
        except urllib.error.HTTPError as error:
            hint = f"; set {KEY_VARIABLE} to its key" if error.code in (401, 403) else ""
            reason = without_secrets(str(error.reason))
            raise JudgeError(f"the judge at {self.base} answers {error.code} {reason}{hint}") from None
        except (OSError, ValueError, HTTPException) as error:
            why = without_secrets(str(getattr(error, "reason", error)))
            raise JudgeError(f"no judge at {self.base}: {why}; start one there, or run without a judge") from None
        if not isinstance(reply, dict):
            raise JudgeError(f"the judge at {self.base} does not speak the chat protocol: {str(reply)[:200]}")
        return reply


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect on the same host only: a key, and the answers, go nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            reason = (
                f"and sends to another host, {new.scheme}://{new.netloc.rpartition('@')[2]}; name that one if it is"
            )
            raise urllib.error.HTTPError(req.full_url, code, f"{reason} the judge", headers, None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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

    Verdicts are stored as they come: after an interruption the judge is asked only for the missing ones.

    Returns
    -------
    dict
        The entry that was stored.

    Raises
    ------
    JudgeError
        If a verdict cannot be obtained; then no score is stored.
    """
    judge = judge.probe()
    record = store.read(key)
    answers = list(record.answers())
    verdicts = _Verdicts(record.path / "rescored" / f".verdicts-{benchmark.scorer}.jsonl", judge)

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
    entry["judge"] = {**judge.identity, "url": judge.base}
    store.rescore(key, benchmark.scorer, entry, rows, default=True)
    return entry


class _Verdicts:
    """Verdicts of one judge on the answers of one cell, appended to a file."""

    def __init__(self, path: Path, judge: Judge) -> None:
        path.parent.mkdir(exist_ok=True)
        self._path = path
        self._judge = hashlib.sha256(json.dumps(judge.identity, sort_keys=True).encode()).hexdigest()[:16]
        self._known: dict[str, float] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    if row.get("judge") == self._judge:  # a line of an earlier version does not tell its prompt
                        self._known[row["answer"]] = float(row["score"])
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # cut off by a kill

    def get(self, answer: Answer) -> float | None:
        return self._known.get(_identity(answer))

    def add(self, answer: Answer, score: float) -> None:
        line = json.dumps({"judge": self._judge, "answer": _identity(answer), "doc_id": answer.doc_id, "score": score})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _identity(answer: Answer) -> str:
    text = json.dumps([answer.doc_id, answer.question, answer.target, answer.answer], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
