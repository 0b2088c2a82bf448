"""The tutorial's family: its code is the file that ships, and passes the oracles from the page; its YAML plans."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import yaml
from oracles import test_equivalence as oracles

import tops
from tops import backbones
from tops.planning.plan import PlanStatus
from tops.planning.request import request
from tops.settings.choices import choice_file

PAGE = (Path(tops.__file__).parent / "docs/add-a-backbone.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.S))
YAML = re.search(r"```yaml\n(.*?)```", PAGE, re.S)
BUILDS = (tiny_families.llava_onevision, tiny_families.llava_onevision_video)


@pytest.fixture
def tutorials_family(monkeypatch: pytest.MonkeyPatch) -> type:
    module = types.ModuleType("tutorial_onevision")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(CODE, "add-a-backbone.md", "exec"), vars(module))
    family = module.LlavaOnevision
    known = {**backbones.families(), family.family: family}
    monkeypatch.setattr(backbones, "families", lambda: known)
    return family


def test_the_page_has_the_whole_file() -> None:
    shipped = (Path(backbones.__file__).parent / "llava_onevision.py").read_text(encoding="utf-8")
    written, there = ([line for line in text.splitlines() if line.strip()] for text in (CODE, shipped))
    assert written == there, "the page and the file differ: copy the file's code into the page"


@pytest.mark.parametrize("build", BUILDS)
def test_the_pages_code_passes_the_oracles(tutorials_family: type, build: Any) -> None:
    assert type(backbones.adapter_for(build().model)) is tutorials_family
    oracles.test_keep_all_is_bit_equal(build, "contiguous")
    oracles.test_stage_one_is_a_run_on_shortened_embeddings(build, "contiguous")
    oracles.test_cuts_are_a_mask_on_dropped_keys(build, "contiguous", (0, 1, 3))
    oracles.test_a_padded_row_is_batch_one(build, "contiguous")


def test_the_pages_yaml_plans() -> None:
    assert YAML is not None
    shipped = choice_file("backbone", "llava-onevision-7b").read_text(encoding="utf-8")
    assert yaml.safe_load(YAML[1]) == yaml.safe_load(shipped)
    command = re.search(r"^    tops plan (.*)$", PAGE, re.M)
    assert command is not None
    (planned,) = request(command[1].split()).plan.cells
    assert planned.status is PlanStatus.MISSING
    assert planned.cell.backbone.options == {"image_layout": "native"}
    assert planned.cell.backbone.dtype == "float16"
