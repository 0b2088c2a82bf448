"""Staging from a local server that speaks the hub's protocol."""

import io
import json
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tops.benchmarks.archives import is_archive, unpack, wholes
from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.data import DataRoot, missing
from tops.benchmarks.fetch import Fetcher
from tops.cli.main import main
from tops.errors import DataError

COMMIT = "c" * 40


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/") + ".mp4", content)
    return out.getvalue()


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.gated, self.stop_after = {}, [], False, None
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            stop = self.server.stop_after if "/resolve/" in self.path else None
            self.wfile.write(body[:stop])
            self.close_connection = stop is not None and stop < len(body)
            if self.close_connection:
                self.server.stop_after = 0

    def do_GET(self):
        self.server.requests.append(
            (self.command, self.path, self.headers.get("Authorization"), self.headers.get("Range"))
        )
        if self.path.startswith("/api/"):
            if self.server.gated:
                return self.reply(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="gated")
            if "/tree/" in self.path:
                tree = [{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in self.server.files.items()]
                return self.reply(200, json.dumps(tree).encode(), Content_Type="application/json")
            siblings = [{"rfilename": n, "size": len(c)} for n, c in self.server.files.items()]
            body = {"id": "a/b", "sha": COMMIT, "siblings": siblings}
            return self.reply(200, json.dumps(body).encode(), Content_Type="application/json")
        name = self.path.split(f"/resolve/{COMMIT}/", 1)[1].split("?")[0]
        content = self.server.files[name]
        common = {"X_Repo_Commit": COMMIT, "ETag": f'"{name.replace("/", "_")}"', "Accept_Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted and self.command == "GET":
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            part = content[start:]
            return self.reply(206, part, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}", **common)
        if self.command == "HEAD":
            self.send_response(200)
            for key, value in {**common, "Content_Length": len(content)}.items():
                self.send_header(key.replace("_", "-"), str(value))
            return self.end_headers()
        return self.reply(200, content, **common)

    do_HEAD = do_GET


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "private")
    server = Hub()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetcher(hub, tmp_path):
    return Fetcher(tmp_path, endpoint=hub.url)


def names(root: Path):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts)


def test_only_the_files_a_task_needs_and_no_token(hub, fetcher, tmp_path):
    hub.files = {"README.md": b"r", "data/test.parquet": b"p" * 100, "train.zip": b"z" * 9000, "x.py": b"evil"}
    item = fetcher.dataset(load_benchmark("pope"))
    assert (item.commit, item.bytes) == (COMMIT, 101)
    list(fetcher.stage(item))
    assert names(tmp_path / "mirror") == ["lmms-lab-encoder/POPE/README.md", "lmms-lab-encoder/POPE/data/test.parquet"]
    assert missing(load_benchmark("pope"), DataRoot.at(tmp_path)) is None
    assert {token for _, _, token, _ in hub.requests} == {None}  # public sets need no login, even where one exists


def test_fetching_again_fetches_nothing_and_keeps_the_revision(hub, fetcher, tmp_path):
    hub.files = {"data/test.parquet": b"p" * 100}
    list(fetcher.stage(fetcher.dataset(load_benchmark("pope"))))
    hub.requests.clear()
    again = Fetcher(tmp_path, endpoint=hub.url)
    item = again.dataset(load_benchmark("pope"))
    assert again.missing(item) == {}
    assert list(again.stage(item)) == []
    assert [path.split("?")[0] for _, path, _, _ in hub.requests] == [
        f"/api/datasets/lmms-lab-encoder/POPE/revision/{COMMIT}"
    ]


def test_a_broken_download_goes_on_with_the_files_that_are_not_whole(hub, fetcher, tmp_path, monkeypatch):
    """The line is cut inside the second file and stays dead; the same command fetches that file alone."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("tops.benchmarks.fetch.FILES_AT_ONCE", 1)
    hub.files = {"data/test-0.parquet": b"a" * 30, "data/test-1.parquet": bytes(range(100))}
    item = fetcher.dataset(load_benchmark("pope"))
    hub.stop_after = 40
    with pytest.raises(DataError, match="the same command goes on later"):
        list(fetcher.stage(item))
    assert set(fetcher.missing(item)) == {"data/test-1.parquet"}
    hub.stop_after = None
    hub.requests.clear()
    list(fetcher.stage(item))
    file = tmp_path / "mirror/lmms-lab-encoder/POPE/data/test-1.parquet"
    assert file.read_bytes() == bytes(range(100))
    assert not any("test-0" in path for _, path, _, _ in hub.requests)


def test_the_command_shows_sizes_first_and_says_what_it_did(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tops.benchmarks.fetch.Fetcher", partial(Fetcher, endpoint=hub.url))
    hub.files = {"README.md": b"r", "data/test.parquet": b"p" * 4999}
    command = ["fetch", "benchmark=pope", f"data={tmp_path}"]
    assert main([*command, "--dry-run"]) == 0
    plan = ["lmms-lab-encoder/POPE @ cccccccccccc: 5.0 kB of 5.0 kB", "to fetch: 5.0 kB"]
    assert capsys.readouterr().out.splitlines() == plan
    assert not list(tmp_path.iterdir())
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[:2] == plan
    assert main(command) == 0
    assert "0 B of 5.0 kB\nto fetch: 0 B" in capsys.readouterr().out


def test_videos_are_unpacked_once(hub, fetcher, tmp_path):
    hub.files = {
        "videomme/test.parquet": b"p",
        "videos_chunked_01.zip": zipped(data__a=b"1" * 10),
        "videos_chunked_02.zip": zipped(data__b=b"2" * 10),
    }
    bench = load_benchmark("videomme")
    item = fetcher.dataset(bench)
    list(fetcher.stage(item))
    assert names(tmp_path / "hf_home") == ["videomme/data/a.mp4", "videomme/data/b.mp4"]
    assert not list((tmp_path / "mirror").rglob("*.zip"))
    assert missing(bench, DataRoot.at(tmp_path)) is None
    again = Fetcher(tmp_path, endpoint=hub.url)
    assert again.missing(again.dataset(bench)) == {}


def test_videos_that_lie_open_go_where_the_task_looks(hub, fetcher, tmp_path):
    hub.files = {
        "README.md": b"r",
        "json/action_count.json": b"[]",
        "test.json": b"[]",
        "perception/videos/a.mp4": b"1" * 10,
        "tvqa/b.mp4": b"2" * 10,
    }
    bench = load_benchmark("mvbench")
    list(fetcher.stage(fetcher.dataset(bench)))
    assert names(tmp_path / "hf_home") == ["mvbench_video/perception/videos/a.mp4", "mvbench_video/tvqa/b.mp4"]
    below = "OpenGVLab/MVBench"
    assert names(tmp_path / "mirror") == [f"{below}/README.md", f"{below}/json/action_count.json"]
    assert missing(bench, DataRoot.at(tmp_path)) is None
    assert "/revision/video?" in hub.requests[0][1]  # the branch, whose newest commit is noted
    again = Fetcher(tmp_path, endpoint=hub.url)
    assert again.missing(again.dataset(bench)) == {}


def test_gated_set_says_how_to_get_access(hub, fetcher):
    hub.gated = True
    with pytest.raises(DataError, match=r"accept its licence at https://huggingface.co/datasets/longvideobench"):
        fetcher.dataset(load_benchmark("longvideobench"))


def test_checkpoints_without_pickles(hub, fetcher):
    hub.files = {
        "config.json": b"{}",
        "model.safetensors": b"w",
        "pytorch_model.bin": b"pickle",
        "original/x.json": b"1",
    }
    assert set(fetcher.model("llava-hf/llava-1.5-7b-hf").files) == {"config.json", "model.safetensors"}
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with pytest.raises(DataError, match="no safetensors"):
        fetcher.model("a/b")


def test_no_network_is_no_traceback(hub, tmp_path):
    with pytest.raises(DataError, match=r"POPE cannot be fetched.*the same command goes on later"):
        Fetcher(tmp_path, endpoint="http://127.0.0.1:9").dataset(load_benchmark("pope"))


def test_not_enough_disk(hub, fetcher):
    hub.files = {"data/test.parquet": b"p"}
    item = fetcher.dataset(load_benchmark("pope"))
    with pytest.raises(DataError, match="are free"):
        next(fetcher.stage(replace(item, files={"data/test.parquet": 10**18})))


def test_the_room_of_all_items_together_is_checked_first(hub, fetcher, tmp_path):
    hub.files = {"data/test.parquet": b"p"}
    item = fetcher.dataset(load_benchmark("pope"))
    (line,) = fetcher.check_room([item])
    assert line.startswith(f"disk of {tmp_path}: 1 B to come, ")
    half = replace(item, files={"data/test.parquet": 10**15})
    with pytest.raises(DataError, match=r"2000.0 TB are to be fetched .* set TOPS_DATA"):
        fetcher.check_room([half, half])


def test_offline_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="unset it"):
        Fetcher(tmp_path)


def test_archives_in_parts(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for i in range(5):
            member = tarfile.TarInfo(f"videos/{i}.mp4")
            member.size = 3000
            archive.addfile(member, io.BytesIO(bytes([i]) * 3000))
    whole = out.getvalue()
    for i, start in enumerate(range(0, len(whole), 4000)):
        (tmp_path / f"videos.tar.part.a{'abcdefgh'[i]}").write_bytes(whole[start : start + 4000])
    (parts,) = wholes(tmp_path.iterdir())
    assert len(parts) == -(-len(whole) // 4000)
    assert unpack(parts, tmp_path / "out") == 5
    assert (tmp_path / "out" / "videos" / "4.mp4").read_bytes() == bytes([4]) * 3000
    assert not is_archive("test.parquet")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archive_that_leaves_its_folder(tmp_path, kind):
    file = tmp_path / f"bad.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("../outside.mp4", b"x")
    else:
        with tarfile.open(file, "w") as archive:
            archive.addfile(tarfile.TarInfo("../outside.mp4"))
    with pytest.raises(DataError):
        unpack([file], tmp_path / "out")
    assert not (tmp_path / "outside.mp4").exists()


def test_damaged_archive(tmp_path):
    file = tmp_path / "a.zip"
    file.write_bytes(zipped(a=b"1" * 5000)[:-40])
    with pytest.raises(DataError, match="fetch again"):
        unpack([file], tmp_path / "out")
