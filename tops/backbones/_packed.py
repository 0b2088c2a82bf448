"""What the vision signals of every family share: embeddings, the prompt's order, refusals for what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn

from tops.backbones._received import received_per_unit
from tops.backbones.base import Adapter, VisionContext, attention_of
from tops.errors import MissingSignalError
from tops.signals import Signal, TowerLayer

if TYPE_CHECKING:
    from torch import Tensor


class PackedSignals:
    """Signals of one sample of a family that has attention received at most; families with more override the refusals.

    Parameters
    ----------
    context : VisionContext
        The sample.
    adapter : Adapter
        Its family, which says what signals there are; ``TEXT_TOWER`` joins them when a text encoder is there.
    """

    def __init__(self, context: VisionContext, adapter: Adapter) -> None:
        self.context, self.adapter = context, adapter
        self.tower = adapter.tower
        self.signals = adapter.own_signals | ({Signal.TEXT_TOWER} if context.text_encoder is not None else frozenset())

    def embeddings(self) -> Tensor:
        """(N0, d): projected visual tokens before any cut."""
        return self.context.embeddings

    def packed(self, per_patch: Tensor) -> Tensor:
        """(U, n, ...) -> (N, ...): per-patch values in the order of the visual tokens; zero for newlines."""
        layout = self.context.layout
        real = ~layout.newline
        unit, patch = (index[real].to(per_patch.device) for index in (layout.unit, layout.patch))
        values = per_patch[unit, patch].to(self.context.device)
        if not self.context.with_newlines or bool(real.all()):
            return values
        out = values.new_zeros((len(layout), *values.shape[1:]))
        out[real.to(out.device)] = values
        return out

    def saliency(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: CLS attention over heads; without a CLS, the mean attention received."""
        if Signal.CLS not in self.signals:
            return self.attention_received(reduce=reduce, layer=layer)
        rows = self.cls_attention(layer=layer)[:, :, 1:]
        return self.packed(rows.mean(1) if reduce == "mean" else rows.sum(1))

    def attention_received(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: mean attention that each token receives in a layer, over heads."""
        module, states = self.attention_input(layer)
        received = received_per_unit(module, states, reduce)
        return self.pooled(received[:, 1:] if Signal.CLS in self.signals else received).to(self.context.device)

    def pooled(self, per_patch: Tensor) -> Tensor:
        """(U, patches) -> (N,): means over the patches that make a token, in the order of the visual tokens."""
        return self.packed(per_patch)

    def attention_input(self, layer: TowerLayer) -> tuple[Any, Tensor]:
        """Attention module of a tower layer, and (U, T, c) what entered it."""
        number = self.number(layer)
        return self.adapter.tower_attention[number], self.context.units(attention_of(number))

    def number(self, layer: TowerLayer) -> int:
        """Number of a tower layer.

        Raises
        ------
        MissingSignalError
            For a layer that the tower does not have, or whose states were not kept.
        """
        given = {"feature": self.tower.feature, "last": self.tower.feature + 1}
        number = layer if isinstance(layer, int) else given[layer]
        if not 0 <= number < self.tower.depth:
            reason = "; its features come from the very last one" if layer == "last" else ""
            raise MissingSignalError(f"the vision tower has {self.tower.depth} layers and no layer {layer!r}{reason}")
        if attention_of(number) not in self.context.seen:
            raise MissingSignalError(
                f"the states of layer {number} of the vision tower were not kept; the method must name it in "
                "tower_layers, before the tower runs"
            )
        return number

    def cls_attention(self, *, layer: TowerLayer = "feature") -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.CLS)

    def encoder_features(self) -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.ENCODER)

    def encoder_keys(self, *, layer: TowerLayer = "feature") -> Tensor:
        """Refused unless the family has it."""
        self._refuse(Signal.ENCODER)

    def encoder_cls_query(self, *, layer: TowerLayer = "feature") -> Tensor:
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
