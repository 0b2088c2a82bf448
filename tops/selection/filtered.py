"""Max-min and DPP selections on the CPU that compute exactly only what a pick depends on.

Both return what :mod:`tops.selection.incremental` returns on the whole exact similarity. Max-min decides by float32
products wherever their proven error cannot turn the decision, and compares exact similarities of the few tokens that
are left (filtered predicates, as in exact geometry). A DPP is first run among the tokens of the highest quality, and
its picks prove whether any other token could have been one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tops.selection import incremental
from tops.selection.similarity import LARGE, ONE, Values, exact_pairs, fixed_point_on_cpu

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

_WIDTH = 1024  # columns of one float32 product: the error bound grows with them
_UNIT = 2.0**-24  # largest relative error of one float32 operation
_SAFE = np.float32(2.0**40)  # norms within 1 / _SAFE .. _SAFE neither overflow nor lose bits when squared in float32
_LEAST = 0.33  # a last pick adds about this share of the k-th largest volume, less as the picks fill the space
_MANY = 0.8  # a pool of this share of the tokens, or more, saves too little
_PAIRS = 64  # an exact pair by itself costs as much as this many within a product


def max_min(values: Values, k: int) -> Longs:
    """Max-min diversity; see :func:`tops.selection.select_max_min`.

    Parameters
    ----------
    values : ndarray, (B, N, d) float32 or float64
        Features.
    k : int
        Tokens to keep, 1..N.

    Returns
    -------
    ndarray, (B, k) int64
        Indices in order of selection.
    """
    if values.shape[1] > LARGE:
        return incremental.max_min(fixed_point_on_cpu(values), k)[0]
    bounds = _Bounds(values)
    order = np.empty((len(values), k), dtype=np.int64)
    order[:, 0] = bounds.smallest(None)
    bounds.restart()
    for step in range(1, k):
        bounds.add(order[:, step - 1])
        order[:, step] = bounds.smallest(order[:, :step])
    again = bounds.given_up.nonzero()[0]
    if len(again):
        order[again] = incremental.max_min(fixed_point_on_cpu(values[again]), k)[0]
    return order


def dpp(values: Values, quality: Floats, k: int) -> Longs:
    """Greedy MAP of a determinantal point process; see :func:`tops.selection.select_dpp`.

    What a token adds to the volume is at most its squared quality, and no pick adds more than the one before. So if
    the last pick from a pool of the best tokens adds more than the squared quality of any token outside the pool, all
    picks are those from all tokens.

    Parameters
    ----------
    values : ndarray, (B, N, d) float32 or float64
        Features.
    quality : ndarray, (B, N) float64
        Of every token.
    k : int
        Tokens to keep, 1..N.

    Returns
    -------
    ndarray, (B, k) int64
        Indices in order of selection.
    """
    n, width = values.shape[1:]
    volume = quality**2
    by_volume = np.argsort(-volume, axis=1, kind="stable")
    order = np.empty((len(quality), k), dtype=np.int64)
    entry = np.arange(len(quality))
    likely = _LEAST * max(0.0, 1 - k / min(n, width)) * volume[entry, by_volume[:, k - 1]]
    size = int((volume >= likely[:, None]).sum(1).max()) + 1
    if size > _MANY * n:
        size = n
    while len(entry):
        pool = np.sort(by_volume[entry, :size], axis=1)
        similarity = fixed_point_on_cpu(
            values if size == n and len(entry) == len(values) else values[entry[:, None], pool]
        )
        picks, added = incremental.dpp(similarity, np.take_along_axis(quality[entry], pool, 1), k, tokens=n)
        order[entry] = np.take_along_axis(pool, picks, 1)
        if size == n:
            break
        last = added[:, -1:]
        again = volume[entry, by_volume[entry, size]] >= last[:, 0]
        # The last pick among too few estimates how many would be enough.
        enough = int((volume[entry] >= last).sum(1)[again].max(initial=0)) + 1
        size = enough if size < enough < _MANY * n else n
        entry = entry[again]
    return order


def _float32_cosines(values: Values) -> tuple[NDArray[np.float32], float, NDArray[np.bool_]]:
    """Cosines by float32 products of at most ``_WIDTH`` columns, and how far they may be off.

    Returns
    -------
    ndarray, (B, N, N) float32
        The diagonal is -2: no token is its own neighbour. A row of zeros has cosine 0 with every other.
    float
        Bound of the error in units of 1 / ONE, of the rounding to whole units too.
    ndarray, (B,) bool
        Entries for which it holds: no norm leaves what float32 can square.

    Notes
    -----
    A sum of m products, in any order, is off by at most ``g = m u / (1 - m u)`` times the norms (Higham, *Accuracy and
    Stability of Numerical Algorithms*, section 3.1). Norms come from the diagonal, off by g / 2 each at first order,
    and are inverted and multiplied in, eight more roundings: ``2 g + 8 u`` and a hundredth of it for higher orders.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # entries in which this happens are not safe
        return _cosines(values)


def _cosines(values: Values) -> tuple[NDArray[np.float32], float, NDArray[np.bool_]]:
    batch, n, width = values.shape
    products = np.empty((batch, n, n), dtype=np.float32)
    part = np.empty_like(products) if width > _WIDTH else products
    for start in range(0, width, _WIDTH):
        columns = values[:, :, start : start + _WIDTH].astype(np.float32, copy=False)
        np.matmul(columns, columns.swapaxes(1, 2), out=part if start else products)
        if start:
            products += part
    square = products.diagonal(axis1=1, axis2=2)
    safe = ((square == 0) | ((square > _SAFE**-2) & (square < _SAFE**2))).all(1)
    zero = square == 0
    if zero.any():  # squares of tiny numbers vanish too
        safe &= ~(zero & values.any(2)).any(1)
    inverse = np.divide(np.float32(1), np.sqrt(square), out=np.zeros(square.shape, np.float32), where=~zero)
    products *= inverse[:, :, None]
    products *= inverse[:, None]
    place = np.arange(n)
    products[:, place, place] = -2
    terms = (min(width, _WIDTH) + width / _WIDTH) * _UNIT
    return products, 1 + ONE * 1.01 * (2 * terms / (1 - terms) + 8 * _UNIT), safe


class _Bounds:
    """Each token's largest similarity to another, or to what was picked, within ``error``.

    Attributes
    ----------
    near : ndarray, (B, N) float32
        By float32 products; infinity for what was picked.
    exact : ndarray, (B, N) float64
        In units of 1 / ONE, over all picks but those after the first ``known``; -infinity before any.
    known : ndarray, (B, N) int64
        Picks that ``exact`` takes into account.
    given_up : ndarray, (B,) bool
        Entries with so much doubt that the whole exact similarity is cheaper.

    Parameters
    ----------
    values : ndarray, (B, N, d)
        Features.
    """

    def __init__(self, values: Values) -> None:
        batch, n, _ = values.shape
        self.values = values
        self.cosine, self.error, safe = _float32_cosines(values)
        self.near = self.cosine.max(2)
        self.exact = np.full((batch, n), -np.inf)
        self.known = np.zeros((batch, n), dtype=np.int64)
        self.allowance = np.where(safe, n * n // _PAIRS + n, 0)
        self.given_up = ~safe
        self._doubt = 2 * self.error / ONE
        self._entry = np.arange(batch)

    def restart(self) -> None:
        """From here on, similarity to what was picked."""
        self.near.fill(-np.inf)
        self.exact.fill(-np.inf)

    def add(self, chosen: Longs) -> None:
        """A token was picked in every entry."""
        np.maximum(self.near, self.cosine[self._entry, chosen], out=self.near)
        self.near[self._entry, chosen] = np.inf

    def smallest(self, picked: Longs | None) -> Longs:
        """The token of every entry with the smallest value, the lowest index among equals.

        Parameters
        ----------
        picked : ndarray (B, t) or None
            What the values are similarities to; None for all others.
        """
        choice: Longs = self.near.argmin(1)
        # Rounded upwards: a limit that is too high only costs time.
        limit = np.nextafter((self.near[self._entry, choice] + self._doubt).astype(np.float32), np.float32(np.inf))
        doubtful = self.near <= limit[:, None]
        undecided = (np.add.reduce(doubtful, axis=1, dtype=np.int64) > 1) & ~self.given_up
        if undecided.any():
            doubtful &= undecided[:, None]
            entry, token = doubtful.nonzero()
            self._resolve(entry, token, picked)
            choice[undecided] = np.where(doubtful, self.exact, np.inf).argmin(1)[undecided]
        return choice

    def _resolve(self, entry: Longs, token: Longs, picked: Longs | None) -> None:
        """Exact values of these tokens, from every similarity that may be the largest and is not yet among them."""
        cosine = self.cosine[entry, token]
        if picked is not None:
            cosine = np.take_along_axis(cosine, picked[entry], 1)
            cosine[np.arange(picked.shape[1]) < self.known[entry, token][:, None]] = -np.inf
            self.known[entry, token] = picked.shape[1]
        least = np.maximum(cosine.max(1) * np.float64(ONE) - self.error, self.exact[entry, token])
        row, place = (cosine * np.float64(ONE) + self.error >= least[:, None]).nonzero()
        self.allowance -= np.bincount(entry[row], minlength=len(self.allowance))
        self.given_up |= self.allowance < 0
        wanted = ~self.given_up[entry[row]]
        row, place = row[wanted], place[wanted]
        if not len(row):
            return
        other = place if picked is None else picked[entry[row], place]
        exact = exact_pairs(self.values, entry[row], token[row], other)
        candidate, first = np.unique(row, return_index=True)
        where = entry[candidate], token[candidate]
        self.exact[where] = np.maximum(self.exact[where], np.maximum.reduceat(exact, first))
