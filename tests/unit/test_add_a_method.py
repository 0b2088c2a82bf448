"""The tutorial's method works as written and passes what every method passes; a package adds it by an entry point."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_methods
import tiny
import torch
from scenes import scene

import tops
from tops import methods
from tops.engine import prune

CODE = re.search(r"```python\n(.*?)```", (Path(tops.__file__).parent / "docs/add-a-method.md").read_text(), re.S)[1]
NAME = "largest_norm"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The page's code as a file of another package, found by its entry point."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_package").mkdir()
    (folder / f"my_package/{NAME}.py").write_text(CODE)
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tops.methods]\n{NAME} = my_package.{NAME}:LargestNorm\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        methods._registry.cache_clear()
        yield
    methods._registry.cache_clear()


def cases() -> Iterator[Any]:
    """The tests of the list that every method passes, with the values of their other parameters."""
    for test in vars(test_methods).values():
        marks = [m.args for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
        asked = {name for names, _ in marks for name in ([names] if isinstance(names, str) else names)}
        lists = [values for names, values in marks if names == "name"]
        if not lists or not {"random", "divprune"} <= set(lists[0]):
            continue  # not one that methods before the model share
        others = [(names, values) for names, values in marks if names != "name"]
        for values in itertools.product(*(values for _, values in others)):
            given: dict[str, Any] = {"name": NAME}
            for (names, _), value in zip(others, values, strict=True):
                given |= {names: value} if isinstance(names, str) else dict(zip(names, value, strict=True))
            fixtures = set(inspect.signature(test).parameters) - asked
            yield pytest.param(test, given, fixtures, id=f"{test.__name__}-{'-'.join(map(str, given.values()))}")


@pytest.mark.parametrize(("test", "given", "fixtures"), list(cases()))
def test_it_passes_what_every_method_passes(
    test: Callable[..., None], given: dict[str, Any], fixtures: set[str], llava: Any
) -> None:
    assert fixtures <= {"llava"}
    test(**given, **({"llava": llava} if fixtures else {}))


llava = test_methods.llava


def test_it_keeps_the_largest_norms_through_the_engine() -> None:
    method = methods.build(NAME, budget=5, order=1.0)
    point = scene(5)
    kept = method.select(point).indices
    assert set(kept.tolist()) == set(point.tokens.features.abs().sum(1).topk(5).indices.tolist())
    case = tiny.llava()
    with prune(case.model, method) as run, torch.no_grad():
        case.model(**case.inputs)
    assert run.visual_tokens_per_layer == [5] * tiny.DEPTH


def test_it_is_public_under_the_name_of_its_class() -> None:
    assert tops.LargestNorm is methods.method_class(NAME)


def test_it_is_under_30_lines() -> None:
    assert len(CODE.splitlines()) < 30
