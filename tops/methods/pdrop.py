"""PyramidDrop: several cuts, deeper layers with fewer tokens, by what the last prompt token is about to attend to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.budget import Cut, PromptShape, Schedule
from tops.errors import ConfigurationError
from tops.methods.base import InsideModel
from tops.methods.cuts import scaled_layers
from tops.signals import PruningPoint

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PyramidDrop(InsideModel):
    """PyramidDrop (Xing et al., CVPR 2025, arXiv 2410.17247).

    At each cut visual tokens are ranked by the attention that the last token of the prompt would pay them in the layer
    about to run, averaged over heads. Official code: ``Cooperx521/PyramidDrop`` at ``6444f30``.

    Parameters
    ----------
    budget : Budget, int or float
        Solves the ratio of a geometric schedule, ``int(N * ratio ** i)`` tokens after the i-th cut, as the author
        advises for 192, 128 and 64 tokens (issue 29 of the repository). Under ``kept`` the first cut keeps
        it and each later one half of the one before.
    layers : tuple of int
        The cuts. The author's 2, 8, 16 for small budgets; the paper's own setting is 8, 16, 24 with ``keeps``.
    of : int or None
        Depth that ``layers`` refer to; other models are cut at the same fractions. None: literally.
    keeps : tuple of float or int, optional
        Instead of a budget: per cut a ratio of the original tokens (``int(N * ratio)``) or, above 1, a count. The
        paper's default is 0.5, 0.25, 0.125 at layers 8, 16, 24, which averages 270 of 576.
    positions : {"contiguous", "original"} or None
        The official code re-indexes the sequence after every cut; None does so where position ids have one axis. Under
        mRoPE, which it does not serve, re-indexing has no single meaning, and None keeps the ids.
    """

    name: ClassVar[str] = "pdrop"
    title: ClassVar[str] = "PyramidDrop"

    layers: tuple[int, ...] = (2, 8, 16)
    keeps: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keeps is not None and len(self.keeps) != len(self.layers):
            raise ConfigurationError(
                f"PyramidDrop: {len(self.keeps)} keeps for {len(self.layers)} layers; give one per layer"
            )

    @property
    def at(self) -> tuple[int, ...]:
        """The cuts."""
        return self.layers

    @property
    def takes_budget(self) -> bool:
        """Not with ``keeps``."""
        return self.keeps is None

    def cuts(self, shape: PromptShape) -> Schedule:
        """The counts of ``keeps``, or a pyramid; see :func:`tops.methods.cuts.pyramid`."""
        if self.keeps is None:
            return super().cuts(shape)
        layers = scaled_layers(self.layers, shape.depth, self.of, self.title)
        counts = [int(keep if keep > 1 or isinstance(keep, int) else shape.visual * keep) for keep in self.keeps]
        return Schedule(shape.visual, shape.depth, tuple(Cut(at, k) for at, k in zip(layers, counts, strict=True)))

    def scores(self, point: PruningPoint) -> Tensor:
        """(N,) float32: attention of the last prompt token in the layer about to run, mean over heads."""
        import torch

        last = torch.tensor([point.positions.shape[-1] - 1], device=point.tokens.index.device)
        return point.attention(last, layer="own")[:, 0, point.visual_slots].mean(0)
