"""``python -m scripts.transformers_tests FOLDER``: transformers' model tests in keep-all blocks and with budgets."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from scripts.transformers_tests.page import page, read
from scripts.transformers_tests.plugin import METHODS, MODE, REPORT

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "tops" / "docs" / "transformers-tests.md"
FAMILIES = ("llava", "llava_next", "llava_onevision", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm")
LEFT_OUT = ("compil", "export", "training", "save", "load", "init", "gradient", "peft", "resize", "tied", "dtype")
"""Parts of the names of tests that run no served model in eval mode, or a compiled one."""


def lacking(folder: Path | None) -> str:
    """Why the tests cannot run here; empty when they can."""
    if folder is None or not (folder / "tests" / "models").is_dir():
        return f"{folder or 'no folder given'}: no checkout of transformers with tests/models; its wheel has no tests"
    if importlib.util.find_spec("parameterized") is None:
        return "the package parameterized, which transformers' tests need, is not installed"
    return ""


def run(folder: Path, family: str, mode: str, report: Path, only: list[str] | None = None) -> None:
    """One family in one mode ("": unpruned), in a process of its own; the report is written there."""
    names = " or ".join(only) if only else f"ModelTest and not ({' or '.join(LEFT_OUT)})"
    file = f"tests/models/{family}/test_modeling_{family}.py"
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider"]
    command += ["-p", "scripts.transformers_tests.plugin", file, "-k", names]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, MODE: mode, REPORT: str(report), "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
    subprocess.run(command, cwd=folder, env=variables, check=False)


def with_stock(folder: Path, family: str, report: Path) -> None:
    """Run what failed without pruning too, and note how it ended."""
    seen = json.loads(report.read_text(encoding="utf-8"))
    failed = [name for name, one in seen.items() if one["outcome"] == "failed"]
    if not failed:
        return
    aside = report.with_suffix(".stock")
    run(folder, family, "", aside, failed)
    stock = json.loads(aside.read_text(encoding="utf-8"))
    aside.unlink()
    for name in failed:
        seen[name]["stock"] = stock.get(name, {}).get("outcome", "")
    report.write_text(json.dumps(seen, indent=1), encoding="utf-8")


def main() -> int:
    """Run, and print or write the page; 0 also where the tests are not at hand, which is said."""
    parser = argparse.ArgumentParser(prog="python -m scripts.transformers_tests", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="checkout of transformers at the installed version")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES, metavar="FAMILY")
    parser.add_argument("--modes", nargs="+", choices=METHODS, default=tuple(METHODS), metavar="MODE")
    parser.add_argument("--reports", type=Path, default=ROOT / "build" / "transformers-tests", help="kept here")
    parser.add_argument("--source", default="the same version", help="where the tests are from, for the page")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name} of the docs from all reports")
    asked = parser.parse_args()
    if why := lacking(asked.folder):
        print(f"skipped: {why}")
        return 0
    asked.reports.mkdir(parents=True, exist_ok=True)
    for family in asked.families:
        for mode in asked.modes:
            report = asked.reports.resolve() / f"{family}.{mode}.json"
            run(asked.folder, family, mode, report)
            with_stock(asked.folder, family, report)
    reports = read(asked.reports)
    text = page(reports, version("transformers"), asked.source)
    if asked.write:
        DOCUMENT.write_text(text, encoding="utf-8")
    print(text)
    wrong = [seen["differing"] for report in reports.values() for seen in report.values() if seen["differing"]]
    return 1 if wrong or "## Failures" in text else 0


if __name__ == "__main__":
    raise SystemExit(main())
