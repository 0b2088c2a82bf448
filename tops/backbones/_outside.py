"""Families that are not part of the package. Plans read their sources without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tops.references import Source

if TYPE_CHECKING:
    from tops.backbones.base import Adapter

REGISTERED: dict[str, tuple[type[Adapter], Source]] = {}


def family_sources() -> dict[str, Source]:
    """Where each of them is defined, by name."""
    return {name: source for name, (_, source) in REGISTERED.items()}
