"""The prompt's text, as methods read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from tops.errors import ConfigurationError, MissingSignalError

if TYPE_CHECKING:
    from tops.backbones._text_tower import TextEncoder


@dataclass(frozen=True)
class PromptText:
    """Implements :class:`tops.signals.TextSignals`.

    Attributes
    ----------
    asked : str
        The question as told by the caller; empty when not told.
    read : callable or None
        Finds the question in the prompt's ids; None without a processor.
    after_image : callable
        Gives the input embeddings of the text after the last visual token.
    encoder : TextEncoder or None
    """

    asked: str
    read: Callable[[], str] | None
    after_image: Callable[[], Tensor]
    encoder: TextEncoder | None

    @property
    def question(self) -> str:
        """The user's words.

        Raises
        ------
        ConfigurationError
            If nobody told them and there is no processor to find them.
        """
        if self.asked:
            return self.asked
        if self.read is None:
            raise ConfigurationError(
                "this method reads the question, and none is known; pass prune(..., question=...), set run.question, "
                "or pass processor= so that it is read from the prompt"
            )
        return self.read()

    def embeddings(self) -> Tensor:
        """(T, d): input embeddings of the text after the last visual token, template included."""
        return self.after_image()

    def clip_embeddings(self, text: str, *, segments: bool) -> Tensor:
        """(M, j): CLIP text embeddings, truncated to one segment (M = 1) or in segments of the tower's length.

        Raises
        ------
        MissingSignalError
            Without a text encoder.
        """
        if self.encoder is None:
            raise MissingSignalError(
                "this method needs CLIP's text tower; pass text_encoder= to prune(), or text_tower= to load_backbone()"
            )
        return self.encoder.embed(text, segments=segments)
