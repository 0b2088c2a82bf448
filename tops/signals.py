"""What a method may ask of a backbone at a pruning point. Computed on demand: what nobody asks for costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from tops.budget import PromptShape
    from tops.tokens import VisualTokens


class Signal(StrEnum):
    """Names of the signals that not every backbone has; a method lists those it needs, a backbone those it has."""

    SALIENCY = "saliency"  # CLS attention, or attention received where there is no CLS
    RECEIVED = "received"  # mean attention that each visual token receives, in any layer of the vision tower
    CLS = "cls"  # a CLS token in the vision tower
    ENCODER = "encoder"  # vision-tower features, keys and queries per patch, and a projector that maps single rows
    TEXT_TOWER = "text_tower"  # CLIP's text tower and joint space
    FRAMES = "frames"  # videos: the images of a prompt may be frames in order of time


TowerLayer = int | Literal["feature", "last"]
"""A layer of the vision tower: its number from 0, the layer that saliency reads, or the one after that."""


@dataclass(frozen=True)
class Tower:
    """The layers of a vision tower, numbered from 0.

    Attributes
    ----------
    depth : int
        How many there are.
    feature : int
        The layer that saliency reads: the one whose output the projector reads (CLIP: the penultimate); on towers whose
        layers attend in windows the last that does not.
    whole : tuple of int
        Layers in which every patch attends to its whole unit.
    """

    depth: int
    feature: int
    whole: tuple[int, ...]


class VisionSignals(Protocol):
    """Vision-tower signals of one sample. U units (tiles or frames) of n projected patches each.

    Shapes with a CLS column put it first. ``layer`` is a :data:`TowerLayer`: ``"feature"`` is the layer whose output
    the projector reads (CLIP: the penultimate), ``"last"`` the one after it (CLIP: the last). Numbers must be among
    those that the method named beforehand in ``tower_layers``: the engine keeps the states of no other layer.
    """

    @property
    def tower(self) -> Tower:
        """The tower's layers, for methods that choose one by its relative depth."""
        ...

    @property
    def signals(self) -> frozenset[Signal]:
        """What this backbone has, for methods with a documented second way where one is missing."""
        ...

    def embeddings(self) -> Tensor:
        """(N0, d): the prompt's projected visual tokens before any cut (SparseVLM chooses raters on them)."""
        ...

    def saliency(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: CLS attention of each visual token, reduced over heads, in the order of ``VisualTokens``.

        Families without a CLS give the mean attention a token receives (docs: backbones)."""
        ...

    def attention_received(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: softmaxed attention that each visual token receives, reduced over heads, in prompt order.

        The mean over all queries of the unit, a CLS among them; a token made of several patches has their mean. Only
        with ``Signal.RECEIVED``."""
        ...

    def encoder_features(self) -> Tensor:
        """(U, 1 + n, c): features the projector reads, CLS first. Only with ``Signal.ENCODER``."""
        ...

    def encoder_keys(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, 1 + n, c / H): key projections of that layer, bias included, unscaled."""
        ...

    def encoder_cls_query(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, c / H): query projection of the CLS token in that layer, bias included, unscaled."""
        ...

    def cls_attention(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, 1 + n) float32: softmaxed CLS row of a layer, CLS column included. Only with ``Signal.CLS``."""
        ...

    def joint_embeddings(self) -> Tensor:
        """(U, n, j): patches in CLIP's joint space (post layer norm, projection). Only with ``Signal.TEXT_TOWER``."""
        ...

    def project(self, rows: Tensor) -> Tensor:
        """(M, c) -> (M, d): the backbone's projector on single encoder rows."""
        ...

    def packed(self, per_patch: Tensor) -> Tensor:
        """(U, n, ...) -> (N, ...): any per-patch quantity into the order of ``VisualTokens`` at layer 0."""
        ...


class TextSignals(Protocol):
    """The prompt's text."""

    @property
    def question(self) -> str:
        """The user's words without template; see ``prune(..., processor=)`` and ``run.question``."""
        ...

    def embeddings(self) -> Tensor:
        """(T, d): LLM input embeddings of the real (unpadded) tokens after the last visual token, template included."""
        ...

    def clip_embeddings(self, text: str, *, segments: bool) -> Tensor:
        """(M, j): CLIP text embeddings with projection; truncated to 77 tokens (M = 1), or in M segments of 77."""
        ...


class PruningPoint(Protocol):
    """One cut on one sample, as a method sees it. Not padded, batch of one."""

    layer: int  # decoder layer about to run; 0 is before the language model
    keep: int  # tokens that must remain after this cut, from the method's own schedule
    vision: VisionSignals
    text: TextSignals
    shape: PromptShape  # what the schedule was made for
    sample: str  # the caller's name for the sample (benchmark and document), "" when not told: seeds random choices
    memory: dict[str, Tensor]  # a method's own notes from earlier cuts of the same prompt; empty at the first

    @property
    def tokens(self) -> VisualTokens:
        """The visual tokens as they stand, N of them."""
        ...

    @property
    def initial(self) -> int:
        """Visual tokens of the prompt before any cut."""
        ...

    @property
    def positions(self) -> Tensor:
        """(L,) or (3, L) int64: position ids of the sequence as it stands."""
        ...

    @property
    def visual_slots(self) -> Tensor:
        """(N,) int64: places of ``tokens`` in the sequence of length L as it stands."""
        ...

    @property
    def text_slots(self) -> Tensor:
        """(T,) int64: places of the text tokens after the last visual token, in the sequence as it stands."""
        ...

    def hidden(self) -> Tensor:
        """(L, d): the whole sequence entering ``layer``."""
        ...

    def attention(self, rows: Tensor, *, layer: Literal["own", "previous"] = "own", rope: bool = True) -> Tensor:
        """(H, R, L) float32: attention probabilities of the query rows over the whole sequence, causal.

        ``own``: layer ``layer`` on its present input. ``previous``: layer ``layer - 1`` as it has just run. Without
        ``rope`` queries and keys are compared as if all stood at one place."""
        ...

    def keys(self, *, layer: Literal["own", "previous"] = "own") -> Tensor:
        """(KV, L, head_dim): keys after RoPE."""
        ...

    def final_norm(self, hidden: Tensor) -> Tensor:
        """(L, d) -> (L, d): the language model's last norm, the one before its head."""
        ...
