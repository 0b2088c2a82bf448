"""What the package says that it has: names, and what a type checker knows of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tops
from tops.methods import method_class, method_names

TYPED = {
    alias.asname
    for node in ast.walk(ast.parse(Path(tops.__file__).read_text()))
    if isinstance(node, ast.ImportFrom) and node.module.startswith("tops.")
    for alias in node.names
    if alias.asname
}
METHODS = {method_class(name).__name__: name for name in method_names()}


def test_every_method_is_a_typed_name_of_the_package() -> None:
    assert set(METHODS) <= TYPED
    assert set(dir(tops)) >= TYPED


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_is_public_under_the_name_of_its_class(name: str) -> None:
    assert getattr(tops, name) is method_class(METHODS[name])


def test_every_typed_name_is_there() -> None:
    assert [name for name in TYPED if getattr(tops, name, None) is None] == []
