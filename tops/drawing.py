"""Where kept tokens lie on the pictures, and the pictures that show it. Neither torch nor a model is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tops.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

Placing = Literal["whole", "crop", "pad", "tiles"]
SIDE = 336  # pixels of the longer side of a drawn picture
_GAP = 8
_DARK = (20, 26, 38)


@dataclass(frozen=True)
class Sheet:
    """A grid of visual tokens that lies on one picture.

    Attributes
    ----------
    image, tile : int
        Picture or frame of the prompt, and view of it (0: the first, or the only one), from 0.
    rows, columns : int
        Size of the grid.
    start, stride : int
        The token at (row, column) is number ``start + row * stride + column`` of the prompt's visual placeholders.
    """

    image: int
    tile: int
    rows: int
    columns: int
    start: int
    stride: int


@dataclass(frozen=True)
class Places:
    """How the visual tokens of a prompt lie on its pictures.

    Attributes
    ----------
    placing : str
        What a sheet covers: the ``whole`` picture, the square that is left of it after a centre ``crop``, the square
        that it is filled up to (``pad``), or one of the ``tiles`` it is cut into, a thumbnail last.
    sheets : tuple of Sheet
        In prompt order.
    """

    placing: Placing
    sheets: tuple[Sheet, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for :meth:`from_json`."""
        fields = ("image", "tile", "rows", "columns", "start", "stride")
        return {"placing": self.placing, "sheets": [[getattr(s, f) for f in fields] for s in self.sheets]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Places:
        """Inverse of :meth:`to_json`."""
        return cls(content["placing"], tuple(Sheet(*map(int, values)) for values in content["sheets"]))


def draw(image: Image | Sequence[Image], run: Any, *, sample: int = 0, stage: int = -1) -> Image:
    """The pictures of a prompt with the dropped places dark, from what ``prune(..., record_kept=True)`` recorded.

    Parameters
    ----------
    image : PIL image, or several
        What the processor got: one image, the images of a prompt, or the frames of a video.
    run : Run
        That ``prune`` yielded.
    sample : int
        Which prompt of the last batch.
    stage : int
        Which cut, in order; the last by default.

    Returns
    -------
    PIL image, RGB
        One panel a view: a picture cut into tiles has its overview beside it.

    Raises
    ------
    ConfigurationError
        If nothing was recorded, or there is no such sample or stage.
    """
    from PIL.Image import Image as Picture

    records = run.last
    if not -len(records) <= sample < len(records):
        raise ConfigurationError(f"sample={sample}, but the last prompt had {len(records)}; run the model first")
    record = records[sample]
    if record.kept is None or record.places is None:
        raise ConfigurationError("nothing was recorded; use prune(model, method, record_kept=True)")
    stages = list(record.kept.values())
    if stages and not -len(stages) <= stage < len(stages):
        raise ConfigurationError(f"stage={stage}, but there were {len(stages)} cuts")
    kept = stages[stage] if stages else None
    images = [image] if isinstance(image, Picture) else list(image)
    return draw_kept(images, kept, record.places)


def draw_kept(images: Sequence[Image], kept: Sequence[int] | None, places: Places) -> Image:
    """Panels of every view of every picture, dropped places dark.

    Parameters
    ----------
    images : sequence of PIL images
        Of the prompt; fewer steps than frames (two frames make one) take the frames at the same fraction.
    kept : sequence of int or None
        Numbers of the tokens that stay; None: all of them.
    places : Places
        Where they lie.
    """
    from PIL import Image as Pillow

    steps = max((sheet.image for sheet in places.sheets), default=-1) + 1
    there = None if kept is None else frozenset(kept)
    panels: list[Image] = []
    for step in range(steps):
        picture = images[min(len(images) - 1, step * len(images) // steps)]
        panels += _panels(picture, [s for s in places.sheets if s.image == step], there, places.placing)
    if not panels:
        panels = [_framed(image, "whole") for image in images]
    columns = min(len(panels), 4)
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    width = max(sum(p.width + _GAP for p in line) for line in lines) - _GAP
    height = sum(max(p.height for p in line) + _GAP for line in lines) - _GAP
    out = Pillow.new("RGB", (width, height), "white")
    top = 0
    for line in lines:
        left = 0
        for panel in line:
            out.paste(panel, (left, top))
            left += panel.width + _GAP
        top += max(p.height for p in line) + _GAP
    return out


def _panels(picture: Image, sheets: Sequence[Sheet], kept: frozenset[int] | None, placing: Placing) -> list[Image]:
    """A panel for each way in which the picture is seen: its overview, its tiles together."""
    if placing != "tiles":
        framed = _framed(picture, placing)
        return [_shaded(framed, mask(sheet, kept)) for sheet in sheets]
    import numpy as np

    framed = _framed(picture, "whole")
    tiles = sheets[:-1] if len(sheets) > 1 else sheets
    down, across = tile_grid(len(tiles), picture.width / picture.height)
    masks = [mask(sheet, kept) for sheet in tiles]
    rows = [np.concatenate(masks[i * across : (i + 1) * across], axis=1) for i in range(down)]
    panels = [_shaded(framed, np.concatenate(rows, axis=0))]
    return panels if len(sheets) == 1 else [*panels, _shaded(framed, mask(sheets[-1], kept))]


def views(places: Places, aspect: float) -> list[list[tuple[float, ...]]]:
    """How the first picture of a prompt is seen, for a page that draws by itself.

    Parameters
    ----------
    places : Places
        Of the prompt.
    aspect : float
        Width over height of the picture.

    Returns
    -------
    list of views, each a list of grids
        ``(start, stride, rows, columns, left, top, right, bottom)``, the last four in fractions of what is seen.
    """
    sheets = [sheet for sheet in places.sheets if sheet.image == 0]
    whole = (0.0, 0.0, 1.0, 1.0)
    if places.placing != "tiles" or len(sheets) == 1:
        return [[(s.start, s.stride, s.rows, s.columns, *whole)] for s in sheets]
    tiles, thumbnail = sheets[:-1], sheets[-1]
    down, across = tile_grid(len(tiles), aspect)
    cut = [
        (*_numbers(s), (i % across) / across, (i // across) / down, (i % across + 1) / across, (i // across + 1) / down)
        for i, s in enumerate(tiles)
    ]
    return [cut, [(*_numbers(thumbnail), *whole)]]


def _numbers(sheet: Sheet) -> tuple[float, ...]:
    return sheet.start, sheet.stride, sheet.rows, sheet.columns


def tile_grid(tiles: int, aspect: float) -> tuple[int, int]:
    """Rows and columns in which a picture of an aspect (width over height) is cut into so many tiles."""
    pairs = [(rows, tiles // rows) for rows in range(1, tiles + 1) if tiles % rows == 0]
    return min(pairs, key=lambda pair: abs(pair[1] / pair[0] - aspect))


def mask(sheet: Sheet, kept: frozenset[int] | None) -> NDArray[Any]:
    """Kept or not, (rows, columns) bool."""
    import numpy as np

    numbers = sheet.start + np.arange(sheet.rows)[:, None] * sheet.stride + np.arange(sheet.columns)
    if kept is None:
        return np.ones(numbers.shape, dtype=bool)
    return np.isin(numbers, np.fromiter(kept, dtype=np.int64, count=len(kept)))


def _framed(picture: Image, placing: Placing) -> Image:
    """The part of the picture that the model sees, its longer side ``SIDE``."""
    from PIL import Image as Pillow

    picture = picture.convert("RGB")
    short, long = min(picture.size), max(picture.size)
    if placing == "crop":
        left, top = (picture.width - short) // 2, (picture.height - short) // 2
        picture = picture.crop((left, top, left + short, top + short))
    if placing == "pad":
        square = Pillow.new("RGB", (long, long), (122, 116, 104))
        square.paste(picture, ((long - picture.width) // 2, (long - picture.height) // 2))
        picture = square
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Pillow.Resampling.BICUBIC)


def _shaded(picture: Image, kept: NDArray[Any]) -> Image:
    """Dropped places dark, those that stay as they are; a thin line between the two."""
    import numpy as np
    from PIL import Image as Pillow

    pixels = np.asarray(picture).astype(np.float32)
    rows = np.arange(picture.height) * kept.shape[0] // picture.height
    columns = np.arange(picture.width) * kept.shape[1] // picture.width
    shown = kept[np.ix_(rows, columns)]
    out = np.where(shown[..., None], pixels, 0.22 * pixels + 0.78 * np.array(_DARK, dtype=np.float32))
    edge = np.zeros_like(shown)
    edge[1:] |= shown[1:] != shown[:-1]
    edge[:, 1:] |= shown[:, 1:] != shown[:, :-1]
    out[edge] = (255, 214, 90)
    return Pillow.fromarray(out.round().astype(np.uint8))
