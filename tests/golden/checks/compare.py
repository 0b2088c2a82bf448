"""Arrays of one file, and the comparison of what was computed with what was recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tops.errors import DataError


class Arrays:
    """The arrays of an ``.npz`` file as tensors; remembers which ones were asked for.

    Parameters
    ----------
    path : Path
        File without pickled objects.

    Raises
    ------
    DataError
        If the file is damaged, or an array that the format promises is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: set[str] = set()
        try:
            with np.load(path, allow_pickle=False) as file:
                self._data = {name: file[name] for name in file.files}
        except Exception as error:
            raise DataError(f"{path} is not a readable .npz file of plain arrays: {error}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._data:
            raise DataError(f"{self.path} has no array {name!r}; see the README beside it for the format")
        self.used.add(name)
        return torch.from_numpy(np.array(self._data[name]))

    def number(self, name: str) -> int:
        """A count."""
        return int(self[name])

    def real(self, name: str) -> float:
        """A scalar that is not a count."""
        return float(self[name])

    def names(self, prefix: str = "") -> list[str]:
        """Names that start so, sorted."""
        return sorted(name for name in self._data if name.startswith(prefix))

    @property
    def unused(self) -> list[str]:
        """Arrays that nothing has asked for: not compared, so not proved."""
        return sorted(set(self._data) - self.used)


@dataclass
class Comparison:
    """Outcome of one file.

    Attributes
    ----------
    absolute : float
        Floats may differ by ``1e-4 * |recorded| + absolute * max |recorded|``.
    indices : int
        Index arrays compared, all exactly.
    worst : float
        Largest difference of a float in units of what it may differ by; above 1 is a mismatch.
    error : float
        Largest absolute difference of a float.
    faults : list of str
        What does not match.
    """

    absolute: float = 1e-6
    indices: int = 0
    worst: float = 0.0
    error: float = 0.0
    faults: list[str] = field(default_factory=list)

    def same(self, name: str, got: Tensor | int | bool, want: Tensor) -> None:
        """Whole numbers, equal in value and order."""
        self.indices += 1
        values = torch.as_tensor(got).cpu().to(torch.int64)
        expected = want.to(torch.int64)
        if values.shape != expected.shape:
            self.faults.append(f"{name} has shape {tuple(values.shape)} instead of {tuple(expected.shape)}")
        elif not torch.equal(values, expected):
            wrong = int((values != expected).sum())
            self.faults.append(f"{name} differs in {wrong} of {expected.numel()} places")

    def same_set(self, name: str, got: Tensor, want: Tensor) -> None:
        """Whole numbers, equal as sets along the last axis."""
        self.same(name, got.sort(-1).values, want.sort(-1).values)

    def close(self, name: str, got: Tensor | float, want: Tensor) -> None:
        """Floats, equal within the tolerance of the file."""
        values = torch.as_tensor(got).detach().cpu().to(torch.float64)
        expected = want.to(torch.float64)
        if values.shape != expected.shape:
            self.faults.append(f"{name} has shape {tuple(values.shape)} instead of {tuple(expected.shape)}")
            return
        if not expected.numel():
            return
        difference = (values - expected).abs()
        allowed = 1e-4 * expected.abs() + self.absolute * expected.abs().max()
        ratio = float(torch.where(difference == 0, 0.0, difference / allowed).max())
        if not ratio <= 1.0:  # also for NaN
            self.faults.append(f"{name} is off by {float(difference.max()):.3g}, {ratio:.3g} times its tolerance")
        self.worst, self.error = max(self.worst, ratio), max(self.error, float(difference.max()))
