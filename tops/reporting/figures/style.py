"""The style of all figures: safe for colour-blind readers, legible in grey print, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.resamples import Resamples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow, which print loses.
COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A3E9D", "#8C6D31", "#666666")
SUBJECT = "#0072B2"
MARKERS = "osD^vPX*"
_CHINESE = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "PingFang SC", "SimHei")
_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "svg.hashsalt": "tops",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Inside the block, matplotlib has no display and the project's style; the caller's settings are restored."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    with matplotlib.rc_context({**_SETTINGS, "font.family": ["DejaVu Sans", *_further_fonts()]}):
        yield


def _further_fonts() -> list[str]:
    """The first installed font with Chinese characters, which answers may contain; empty where there is none."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return [name for name in _CHINESE if name in there][:1]


def look(row: Row, index: int, *, subject: bool = False) -> dict[str, object]:
    """Line style of a method: the subject stands out, controls are grey and dashed, other protocols are dotted."""
    if subject:
        if row.protocol == "layer_average":
            return {"color": SUBJECT, "linewidth": 2.2, "marker": "o", "zorder": 4}
        return {
            "color": SUBJECT,
            "linewidth": 1.2,
            "linestyle": ":",
            "marker": "o",
            "markersize": 5,
            "fillstyle": "none",
        }
    if row.role == "control":
        return {"color": "#8a93a0", "linewidth": 1.2, "linestyle": "--", "marker": MARKERS[index % 8], "markersize": 4}
    again = index // len(COLOURS)  # past the palette, a colour is reused with another line and marker
    line = ("-", "-.")[again % 2] if row.protocol == "layer_average" else ":"
    marker = MARKERS[(index + again) % len(MARKERS)]
    return {"color": COLOURS[index % 8], "linewidth": 1.4, "linestyle": line, "marker": marker, "markersize": 5}


def places(rows: Iterable[Row]) -> dict[tuple[str, str, str], int]:
    """Number of each method, variant and protocol, so that each has the same line style in all panels."""
    return {key: i for i, key in enumerate(dict.fromkeys(place(row) for row in rows if row.level))}


def place(row: Row) -> tuple[str, str, str]:
    """Method, variant and protocol of a row, which identify its line in a figure."""
    return row.method, row.variant, row.protocol


_DATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the bytes of a file must not depend on the day


def save(figure: Figure, stem: Path, kinds: Sequence[str] = ("svg", "pdf", "png")) -> tuple[list[Path], bytes]:
    """One file of each kind, without a date; returns their paths and the SVG (empty where none is asked for)."""
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        for _ in range(2):  # the first layout of axes with a fixed shape is off
            figure.draw_without_rendering()
        figure.set_layout_engine("none")
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in kinds]
    for kind, path in zip(kinds, paths, strict=True):
        figure.savefig(path, metadata=_DATED.get(kind))
    plt.close(figure)
    return paths, paths[kinds.index("svg")].read_bytes() if "svg" in kinds else b""


def tokens_of(resamples: Resamples, backbone: str, row: Row) -> float:
    """Layer average of visual tokens as logged, mean over benchmarks; NaN where nothing has run."""
    entries = [e for (r, c), e in resamples.results.entries.items() if r == row and c.backbone == backbone and e.values]
    found = [resamples.of(record).layer_average for e in entries for record in e.records]
    return float(np.mean(found)) if found else float("nan")
