"""What the vision signals of every family share: embeddings, the prompt's order, refusals for what is not there."""

from __future__ import annotations

from typing import Literal, NoReturn

from torch import Tensor

from tops.backbones.base import VisionContext
from tops.errors import MissingSignalError
from tops.signals import Signal


class PackedSignals:
    """Signals of one sample of a family that has saliency at most; families with more override the refusals.

    Parameters
    ----------
    context : VisionContext
        The sample.
    signals : frozenset of Signal
        What the family has; ``TEXT_TOWER`` joins them when a text encoder is there.
    """

    def __init__(self, context: VisionContext, signals: frozenset[Signal]) -> None:
        self.context = context
        self.signals = signals

    def embeddings(self) -> Tensor:
        """(N0, d): projected visual tokens before any cut."""
        return self.context.embeddings

    def packed(self, per_patch: Tensor) -> Tensor:
        """(U, n, ...) -> (N, ...): per-patch values in the order of the visual tokens; zero for newlines."""
        layout = self.context.layout
        real = ~layout.newline
        place = (layout.unit * per_patch.shape[1] + layout.patch)[real].to(per_patch.device)
        values = per_patch.flatten(0, 1)[place].to(self.context.device)
        if not self.context.with_newlines or bool(real.all()):
            return values
        out = values.new_zeros((len(layout), *values.shape[1:]))
        out[real.to(out.device)] = values
        return out

    def saliency(self, *, reduce: Literal["mean", "sum"] = "mean") -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.SALIENCY)

    def cls_attention(self) -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.CLS)

    def encoder_features(self) -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.ENCODER)

    def encoder_keys(self, *, layer: Literal["feature", "last"] = "feature") -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.ENCODER)

    def encoder_cls_query(self, *, layer: Literal["feature", "last"] = "feature") -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.ENCODER)

    def joint_embeddings(self) -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.TEXT_TOWER)

    def project(self, rows: Tensor) -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.ENCODER)

    def _refuse(self, signal: Signal) -> NoReturn:
        raise MissingSignalError(
            f"this backbone has no signal {signal.value!r} in the form that was asked for; it has "
            f"{', '.join(sorted(self.signals)) or 'none'}. Choose a method that needs less, or another backbone"
        )
