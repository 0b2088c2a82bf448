"""``vllm serve`` answers over HTTP with a pruned model."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed: make serving-env, make test-serving", allow_module_level=True)

from serving.engines import Prompt, library, pictures

from tops import load_backbone
from tops.miniature.checkpoints import path as checkpoint

PRUNING = {"method": "visionzip", "budget": 24}
WORDS = "What colour is the square?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that was told in its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [
        str(Path(sys.executable).with_name("vllm")), "serve", str(checkpoint("llava-1.5")), "--host", "127.0.0.1",
        "--port", str(port), "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "4",
        "--served-model-name", "pruned", "--trust-request-mm-kwargs",
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=os.environ | {"TOPS_PRUNING": json.dumps(PRUNING)},
        )
    address, begin = f"http://127.0.0.1:{port}", time.monotonic()
    try:
        while time.monotonic() - begin < 600:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except OSError:
                time.sleep(1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def ask(server: str, picture: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    """Status and body of one chat completion."""
    png = io.BytesIO()
    picture.save(png, "PNG")
    url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": WORDS}]
    body = {
        "model": "pruned", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 6,
        "min_tokens": 6, "add_special_tokens": True, **more,
    }  # fmt: skip
    request = urllib.request.Request(
        f"{server}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_pruned_model_answers(server: str) -> None:
    (picture,) = pictures(1, seed=4)
    backbone = load_backbone(checkpoint("llava-1.5"), dtype="float32")
    for more, pruning in (
        ({}, PRUNING),
        ({"mm_processor_kwargs": {"tops_pruning": {"budget": 12}}}, PRUNING | {"budget": 12}),
        ({"mm_processor_kwargs": {"tops_pruning": {"method": "none"}}}, None),
    ):
        status, answer = ask(server, picture, **more)
        ((length, ids),) = library(backbone, [Prompt(WORDS, (picture,))], pruning, tokens=6)
        assert status == 200, answer
        assert answer["usage"]["prompt_tokens"] == length
        assert answer["choices"][0]["message"]["content"] == backbone.processor.decode(ids, skip_special_tokens=True)


def test_a_wrong_request_is_told_why(server: str) -> None:
    (picture,) = pictures(1, seed=4)
    for pruning, says in (
        ({"budget": 145}, "exceeds the 144"),
        ({"method": "trim", "budget": 9}, "reads the question"),
    ):
        status, answer = ask(server, picture, mm_processor_kwargs={"tops_pruning": pruning})
        assert status == 400
        assert says in answer["error"]["message"]
