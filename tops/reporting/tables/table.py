"""A table before it has a format: headers, lines, and for every hole the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

_SENTENCE = 80  # characters of text from which a column is wrapped


@dataclass(frozen=True)
class Header:
    """A column. Neighbours with the same ``group`` share a spanning title."""

    title: str
    group: str = ""


@dataclass(frozen=True)
class Datum:
    """One place of a table.

    Attributes
    ----------
    text : str
        Text as printed; empty for a hole.
    value : float or None
        Number for sorting and CSV; None for text and holes.
    reason : str
        Why the place is a hole; such places show a dash and a footnote.
    bold : bool
        Whether the number is the best of its column beyond chance.
    mark : str
        A footnote to the number, such as a mixture of software or benchmarks that are missing.
    cells : tuple of str
        Keys of the stored cells behind it.
    under : str
        Small print below the number: the tokens that its layers really saw, where the budget asked for others.
    low, high : float or None
        Ends of the interval that ``text`` shows, for CSV.
    """

    text: str = ""
    value: float | None = None
    reason: str = ""
    bold: bool = False
    mark: str = ""
    cells: tuple[str, ...] = ()
    under: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def full(self) -> str:
        """The number with its small print, for formats that cannot set it below."""
        return f"{self.text} ({self.under})" if self.text and self.under else self.text


@dataclass(frozen=True)
class Line:
    """One row; ``section`` groups neighbours under a line of their own, ``address`` is the page behind the label."""

    label: str
    data: tuple[Datum, ...]
    section: str = ""
    role: str = "method"
    address: str = ""


@dataclass(frozen=True)
class Table:
    """A table with everything that an output format needs.

    Attributes
    ----------
    name : str
        File stem.
    title : str
        Title in one line; it says so when the numbers are the miniature's.
    short : str
        Short title for a page whose heading has the rest.
    notes : tuple of str
        Rules and restrictions, below the table.
    """

    name: str
    title: str
    headers: tuple[Header, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    label_title: str = "Method"
    short: str = "Scores"
    footnotes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = dict.fromkeys(text for line in self.lines for d in line.data for text in (d.reason, d.mark) if text)
        object.__setattr__(self, "footnotes", tuple(found))

    def note_of(self, datum: Datum) -> str:
        """Letter of the footnote of a place; empty when it has none."""
        text = datum.reason or datum.mark
        return letter(self.footnotes.index(text)) if text else ""

    @property
    def textual(self) -> list[bool]:
        """Which columns hold words rather than numbers."""
        columns = zip(*(line.data for line in self.lines), strict=True)
        return [any(d.text and d.value is None for d in column) for column in columns] or [False] * len(self.headers)

    @property
    def wordy(self) -> bool:
        """Whether places hold sentences, so that a page must wrap them to fit a screen."""
        return any(len(d.text) > _SENTENCE for line in self.lines for d in line.data)

    @property
    def lettered(self) -> list[tuple[str, str]]:
        """Footnotes with their letters."""
        return [(letter(i), text) for i, text in enumerate(self.footnotes)]

    @property
    def spans(self) -> list[tuple[str, int]]:
        """Spanning titles and how many columns each covers; empty when there are none."""
        if not any(h.group for h in self.headers):
            return []
        return [(group, len(list(members))) for group, members in groupby(self.headers, key=lambda h: h.group)]

    def sections(self) -> Iterable[tuple[str, tuple[Line, ...]]]:
        """Lines by section, in order."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.section, []).append(line)
        return ((name, tuple(lines)) for name, lines in found.items())


def letter(i: int) -> str:
    """Letters of a footnote by its number: 0 -> a, 25 -> z, 26 -> aa."""
    text = ""
    i += 1
    while i:
        i, digit = divmod(i - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def number(value: float, digits: int = 1, **more: object) -> Datum:
    """A number with fixed digits."""
    return Datum(f"{value:.{digits}f}", value, **more)  # type: ignore[arg-type]


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, as ``+1.2``; zero is never ``-0.0``."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def hole(reason: str) -> Datum:
    """A place without a number."""
    return Datum(reason=reason)
