"""A drawn figure on its way to a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A figure on the page. ``svg`` is the file's content; ``alt`` says in words what it shows."""

    title: str
    alt: str
    svg: bytes

    @property
    def address(self) -> str:
        """The figure as a data address, isolated from the page."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()
