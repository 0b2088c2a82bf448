"""What stayed at a cut, with the place of every token on its picture."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from tops.backbones.base import Layout
from tops.drawing import Places, Placing, Sheet


class Kept(list[int]):
    """Original visual indices that stayed, in sequence order, and where each of them lies.

    Attributes
    ----------
    image, tile : list of int
        Picture (or frame) of the prompt and view of that picture (0: the overview, or the only one), from 0.
    row, column : list of int
        Place in the view's grid of tokens; a newline has the row it ends and the column after the last.
    newline : list of bool
        Separators without image content.
    """

    def __init__(self, indices: Iterable[int], layout: Layout) -> None:
        super().__init__(indices)
        at = torch.tensor(self, dtype=torch.int64)
        first = _first_units(layout)
        self.image: list[int] = layout.image[at].tolist()
        self.tile: list[int] = (layout.unit - first)[at].tolist()
        self.row: list[int] = layout.row[at].tolist()
        self.column: list[int] = layout.col[at].tolist()
        self.newline: list[bool] = layout.newline[at].tolist()


def _first_units(layout: Layout) -> torch.Tensor:
    """(V,): number of the first unit of each token's image."""
    first = torch.full((layout.images,), layout.units, dtype=torch.int64)
    return first.scatter_reduce(0, layout.image, layout.unit, "amin")[layout.image]


def places(layout: Layout, placing: Placing) -> Places:
    """The grids that a prompt's visual tokens form on its pictures.

    A view is a grid of its own. Views of a picture that are stitched, with a newline after every row, are one grid.
    """
    sheets: list[Sheet] = []
    for image in range(layout.images):
        mine = layout.image == image
        units = sorted(set(layout.unit[mine].tolist()))
        stitched: list[int] = []
        for number, unit in enumerate(units):
            at = torch.nonzero(mine & (layout.unit == unit) & ~layout.newline)[:, 0]
            overview = len(units) > 1 and number == 0
            has_newlines = bool((layout.newline & mine).any())
            if overview or len(units) == 1 or not has_newlines:
                rows, columns = int(layout.row[at].max()) + 1, int(layout.col[at].max()) + 1
                stride = columns if rows == 1 else int(at[columns] - at[0])
                sheets.append(Sheet(image, number, rows, columns, int(at[0]), stride))
            else:
                stitched.append(unit)
        if stitched:
            ends = torch.nonzero(mine & layout.newline)[:, 0]
            inside = mine & ~layout.newline & (layout.unit >= stitched[0])
            start = int(torch.nonzero(inside)[0, 0])
            columns = int(ends[ends > start][0]) - start
            sheets.append(Sheet(image, 1, int((ends > start).sum()), columns, start, columns + 1))
    return Places(placing, tuple(sheets))
