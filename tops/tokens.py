"""The visual tokens of one prompt, and what a method says should become of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VisualTokens:
    """Visual tokens of one sample as they stand at one pruning point, in prompt order.

    Attributes
    ----------
    features : Tensor, (N, d)
        At layer 0 the projected tokens (rows of the LLM's input embeddings); later the hidden states entering that
        layer.
    index : Tensor, (N,) int64
        Place of each token among the prompt's original visual tokens (newline tokens included), ascending.
    unit : Tensor, (N,) int64
        The unit a token belongs to: image, tile of an image, or frame of a video; numbered from 0 over the prompt.
    image : Tensor, (N,) int64
        The image (or video frame) a token belongs to, from 0; several units may share one image (tiles).
    row, col : Tensor, (N,) int64
        Place in the unit's grid of tokens, row-major.
    newline : Tensor, (N,) bool
        Separator embeddings that some families put between rows. They carry no image content and are never candidates:
        ``features`` and all other fields hold only real patches unless a method asks for ``with_newlines``.
    """

    features: Tensor
    index: Tensor
    unit: Tensor
    image: Tensor
    row: Tensor
    col: Tensor
    newline: Tensor

    def __len__(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True)
class Selection:
    """What remains of N visual tokens.

    Attributes
    ----------
    indices : Tensor, (K,) int64
        Positions in 0..N-1 of the tokens that stay, in the order in which the language model will see them. For a
        row that is new (merged, aggregated, CLS) the position whose place in the prompt it takes; anchors may repeat.
    rows : Tensor or None, (K, d)
        The vectors that stand there. None: the gathered features themselves. Otherwise every row, merged or not.
    """

    indices: Tensor
    rows: Tensor | None = None
