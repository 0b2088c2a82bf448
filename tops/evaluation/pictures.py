"""Pictures beside the answers of a cell, as PNG."""

from __future__ import annotations

from collections.abc import Hashable
from io import BytesIO

from PIL.Image import Image


class Encoded:
    """A cache of PNGs by document, up to a number of bytes; when it is full, nothing is added.

    Every method and budget stores the same pictures, and encoding one takes longer than a small model's answer.
    """

    LIMIT = 128 * 2**20

    def __init__(self) -> None:
        self._held: dict[Hashable, bytes] = {}
        self._bytes = 0

    def png(self, key: Hashable, image: Image) -> bytes:
        """The picture as PNG.

        Parameters
        ----------
        key : hashable
            Name of the picture; a PNG encoded before under this name is returned.
        image : Image
            The picture, of any mode; it is stored as RGB.
        """
        found = self._held.get(key)
        if found is None:
            buffer = BytesIO()
            image.convert("RGB").save(buffer, format="PNG")
            found = buffer.getvalue()
            if self._bytes + len(found) <= self.LIMIT:
                self._held[key] = found
                self._bytes += len(found)
        return found


ENCODED = Encoded()
"""Those of this process."""
