"""A drawn figure on its way to a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes
    ----------
    title : str
        Below the figure.
    alt : str
        What it shows, in words.
    svg : bytes
        The file's content.
    first : bool
        Whether it stands on the first screen, below the main table.
    wide : bool
        Whether it needs the whole width of the page.
    """

    title: str
    alt: str
    svg: bytes
    first: bool = False
    wide: bool = False

    @property
    def address(self) -> str:
        """The figure as a data address, isolated from the page."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()
