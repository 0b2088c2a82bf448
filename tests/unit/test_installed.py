"""What `pip install` gives: the library without the harness, and a wheel that does the main job from any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import tops

CHECKOUT = Path(tops.__file__).parents[1]
PRUNING = """
import importlib.util
import sys

assert importlib.util.find_spec("lmms_eval") is None
from PIL import Image
from tops import TOPS, draw, load_backbone, prune
from tops.miniature import checkpoints

backbone = load_backbone(checkpoints.path("llava-1.5"))
picture = Image.new("RGB", (96, 96), "red")
inputs = backbone.processor(images=picture, text="USER: <image>\\nWhat colour? ASSISTANT:", return_tensors="pt")
with prune(backbone.model, TOPS(budget=32), record_kept=True) as run:
    backbone.model.generate(**inputs, max_new_tokens=4)
print(sum(run.visual_tokens_per_layer) / 8, draw(picture, run).size)
from tops.cli.main import main
assert main(["--help"]) == 0
sys.exit(main(["plan", "experiment=table1", "profile=miniature"]))
"""


def closure(requirements: list[str], seen: set[str]) -> set[str]:
    """Distributions that a list of requirements brings, extras left out."""
    for text in requirements:
        name = re.split(r"[\s;<>=!~\[(]", text, maxsplit=1)[0].lower().replace("_", "-")
        if "extra ==" in text or name in seen:
            continue
        try:
            found = distribution(name)
        except ModuleNotFoundError:
            continue
        seen.add(name)
        closure(found.requires or [], seen)
    return seen


def test_the_bare_library_prunes_and_says_what_the_harness_needs(tmp_path: Path) -> None:
    brought = closure(distribution("tops").requires or [], {"tops"})
    assert not {"lmms-eval", "hydra-core", "pandas", "matplotlib", "submitit"} & brought
    bare = tmp_path / "site"
    bare.mkdir()
    for name in sorted(brought - {"tops"}):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "bin")}:
            if not (bare / top).exists():
                (bare / top).symlink_to(Path(str(found.locate_file(top))))
    (bare / "tops").symlink_to(CHECKOUT / "tops")
    (bare / "tops-0.dist-info").mkdir()
    (bare / "tops-0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: tops\nVersion: 0\n")
    environment = {**os.environ, "PYTHONPATH": str(bare)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", PRUNING], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.startswith("32.0 (336, 336)"), done.stderr
    assert done.returncode == 2
    assert "pip install 'tops[harness]'" in done.stderr


@pytest.mark.slow
def test_the_wheel_does_the_main_job_from_an_empty_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = tmp_path / "source"
    subprocess.run(["git", "-C", str(CHECKOUT), "worktree", "list"], capture_output=True, check=True)
    shown = subprocess.run(["git", "-C", str(CHECKOUT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, shown.stdout.split("\0")):
        if name.startswith(("tops/", "configs/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((CHECKOUT / name).read_bytes())
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run(wheel, check=True)
    (built,) = tmp_path.glob("*.whl")
    apart, empty = tmp_path / "apart", tmp_path / "empty"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(apart), str(built)], check=True)
    empty.mkdir()
    dependencies = next(p for p in sys.path if p.endswith("site-packages"))
    # A plain entry of the path: the editable checkout of site-packages is no part of it.
    environment = {**os.environ, "PYTHONPATH": f"{apart}{os.pathsep}{dependencies}", "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-S", "-m", "tops", "run", "experiment=smoke", "profile=miniature", "limit=2"]
    done = subprocess.run(run, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = [sys.executable, "-S", "-m", "tops", "report", "experiment=smoke", "profile=miniature", "limit=2"]
    subprocess.run(report, cwd=empty, env=environment, check=True, capture_output=True)
    assert (empty / "reports/miniature/smoke.html").is_file()
    table = [sys.executable, "-S", "-m", "tops", "run", "experiment=table1", "profile=miniature", "limit=1"]
    done = subprocess.run(table, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(\d+) of \1 cells complete", done.stderr)
    where = "import tops, tops.settings.folders as f; print(tops.__file__, f.built_in())"
    told = subprocess.run(
        [sys.executable, "-S", "-c", where], cwd=empty, env=environment, capture_output=True, text=True
    )
    assert told.stdout.split() == [str(apart / "tops/__init__.py"), str(apart / "tops/configs")]
