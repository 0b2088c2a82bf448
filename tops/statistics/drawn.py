"""A value with its uncertainty: the parts, which give its standard error, and the resamples, which give its rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tops.statistics.comparison import Comparison, compare
from tops.statistics.intervals import Interval, enough, share_interval, t_interval
from tops.statistics.parts import Parts, contrast, scaled, total
from tops.statistics.resampling import Floats


@dataclass(frozen=True)
class Drawn:
    """A value, its parts and its resamples.

    Attributes
    ----------
    point : float
        The value on the sample.
    resampled : array, shape (resamples,)
        The value on each resample. All values of a table share their resamples; ranks are computed from them.
    parts : dict of str to Part
        Each benchmark's share of the value; intervals and tests are computed from them.
    top : float
        The value when every answer is right; 0 for a ratio, a difference or a loss.
    """

    point: float
    resampled: Floats
    parts: Parts = field(repr=False)
    top: float = 0.0

    @property
    def units(self) -> int:
        """Clusters of all benchmarks together."""
        return sum(p.clusters for p in self.parts.values())

    @property
    def interval(self) -> Interval:
        """95 % interval."""
        if self.top and 0 <= self.point <= self.top:
            return share_interval(self.point, self.parts, self.top)
        return t_interval(self.point, self.parts)

    @property
    def told(self) -> bool:
        """Whether there are enough clusters for an interval of this value, or of its rank."""
        return enough(self.parts)

    def against(self, other: Drawn) -> Comparison:
        """Paired comparison of this value minus another one, on the same documents."""
        return compare(self.point - other.point, contrast(self.parts, other.parts))

    def minus(self, other: Drawn) -> Drawn:
        """This value minus another one, paired by document."""
        return Drawn(self.point - other.point, self.resampled - other.resampled, contrast(self.parts, other.parts))

    def per(self, base: Drawn) -> Drawn:
        """This value in percent of ``base``; the error is that of the linearised ratio."""
        ratio, scale = 100 * self.point / base.point, 100 / base.point
        parts = contrast(scaled(self.parts, scale), scaled(base.parts, scale * self.point / base.point))
        return Drawn(ratio, 100 * self.resampled / base.resampled, parts)

    def short_of(self, whole: float) -> Drawn:
        """A fixed number minus this value."""
        return Drawn(whole - self.point, whole - self.resampled, scaled(self.parts, -1.0))


def mean_of(point: float, resampled: Floats, drawn: Sequence[Drawn], weights: Sequence[float]) -> Drawn:
    """A weighted sum of values of several benchmarks, whose value and resamples are given as their rule adds them."""
    parts = total([scaled(d.parts, w) for d, w in zip(drawn, weights, strict=True)])
    bounded = all(d.top for d in drawn)
    top = sum(w * d.top for d, w in zip(drawn, weights, strict=True)) if bounded else 0.0
    return Drawn(point, resampled, parts, top)
