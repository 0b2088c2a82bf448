"""A drawn figure that is to be put on a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes
    ----------
    title : str
        Title below the figure.
    alt : str
        Description of the figure in words.
    svg : bytes
        Content of the SVG file.
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
        """The figure as a ``data:`` address, so that its styles and ids do not affect the page."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()
