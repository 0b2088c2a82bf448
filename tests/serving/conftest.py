"""These tests run inside ``make serving-env`` alone: an engine of vLLM on every family, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import pytest

THERE = find_spec("vllm") is not None


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Mark all of this folder; those on one engine run one after the other, since each start takes a minute."""
    mine = [item for item in items if "tests/serving/" in item.path.as_posix()]
    for item in mine:
        item.add_marker(pytest.mark.serving)
        if not THERE:
            item.add_marker(pytest.mark.skip(reason="vLLM is not installed: make serving-env, make test-serving"))
    places = [place for place, item in enumerate(items) if item in mine]
    for place, item in zip(places, sorted(mine, key=_family), strict=True):
        items[place] = item


def _family(item: Any) -> str:
    return str(item.callspec.params.get("engine", "")) if hasattr(item, "callspec") else ""


class Running:
    """The one engine of the session."""

    def __init__(self) -> None:
        self._family, self._engine, self._open = "", None, ExitStack()

    def of(self, family: str) -> Any:
        """The engine of a family; that of another is ended first."""
        from serving.engines import running

        if family != self._family:
            self.close()
            self._engine, self._family = self._open.enter_context(running(family)), family
        return self._engine

    def close(self) -> None:
        """End the one that is there."""
        self._open.close()
        self._family = ""


@pytest.fixture(scope="session")
def engines() -> Iterator[Running]:
    """At most one engine at a time."""
    found = Running()
    yield found
    found.close()


@pytest.fixture
def engine(request: pytest.FixtureRequest, engines: Running) -> Any:
    """An engine that prunes what requests ask for; parametrised by family."""
    return engines.of(request.param)
