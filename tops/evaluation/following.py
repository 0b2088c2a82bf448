"""The next cell on a model: its first documents are prepared while the last ones of the present cell are answered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tops.benchmarks.benchmark import Benchmark
from tops.benchmarks.data import DataRoot
from tops.store.cell import Cell

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone
    from tops.methods.base import Method

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Following:
    """The cell that will probably be evaluated next; if another worker takes it first, the preparation is lost.

    Attributes
    ----------
    cell : Cell
        The next cell, of the same backbone.
    method : Method or None
        As for :func:`tops.evaluation.evaluate_cell`.
    benchmark : Benchmark
        The one that ``cell.benchmark`` names.
    """

    cell: Cell
    method: Method | None
    benchmark: Benchmark

    def prepare(self, backbone: Backbone, root: DataRoot, count: int) -> None:
        """Prepare the first documents of the cell and put them into the cache of questions.

        It never raises: an error of the cell is reported when the cell is evaluated.

        Parameters
        ----------
        backbone : Backbone
            The loaded model.
        root : DataRoot
            Staged data.
        count : int
            How many documents to prepare.
        """
        from tops.benchmarks.tasks import load_task
        from tops.evaluation.asking import Asking

        if self.benchmark.measure == "turns" or self.cell.backbone.engine:
            return  # prompts that depend on answers, or that another engine prepares
        try:
            task = load_task(self.benchmark, self.cell.benchmark, root)
            numbers: Sequence[int] = task.numbers(self.cell.benchmark.limit)[:count]
            Asking(self.cell, self.benchmark, backbone, self.method, task, None).hand_over(numbers)
        except Exception as error:
            log.debug("%s cannot be prepared yet", self.cell.label, exc_info=error)
