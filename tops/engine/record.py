"""What a run saw: the object that ``prune()`` yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tops.budget import layer_average

if TYPE_CHECKING:
    from tops.drawing import Places
    from tops.engine.kept import Kept

Question = str | Sequence[str] | None


@dataclass(frozen=True)
class PromptRecord:
    """What happened to one prompt (one sample of one prefill).

    Attributes
    ----------
    visual_tokens_per_layer : tuple of int
        Visual tokens each decoder layer saw at prefill, newlines not counted unless they compete.
    newlines_per_layer : tuple of int
        Newline tokens that it saw beside these.
    tokens_per_layer : tuple of int
        All tokens each decoder layer saw at prefill: text, newlines and visual tokens.
    kept : dict of int to Kept, or None
        Per cut layer the original visual indices that stayed, in sequence order, a list with their ``image``, ``tile``,
        ``row`` and ``column`` beside it; a new row counts as its anchor. None unless ``record_kept=True``.
    scheduled : tuple of int
        Visual tokens per layer that the method had announced. Data-dependent methods may keep other counts.
    notes : tuple of str
        Anything a reader of the numbers must know, such as a prompt without an image.
    places : Places or None
        How the tokens lie on the pictures, for :func:`tops.draw`; None unless ``record_kept=True``.
    """

    visual_tokens_per_layer: tuple[int, ...]
    newlines_per_layer: tuple[int, ...]
    tokens_per_layer: tuple[int, ...]
    kept: dict[int, Kept] | None
    scheduled: tuple[int, ...]
    notes: tuple[str, ...] = ()
    places: Places | None = None

    @property
    def layer_average(self) -> float:
        """Mean over layers of the visual tokens each one saw."""
        return layer_average(self.visual_tokens_per_layer)


@dataclass
class Run:
    """One ``with prune(...)`` block.

    Attributes
    ----------
    question : str or sequence of str, optional
        The user's words for methods that read them, one per sample in a batch; set it anew before each prompt. Empty:
        taken from the prompt by the processor given to ``prune``.
    sample : str or sequence of str
        Names of the samples (benchmark and document), to seed random choices.
    prompts : list of PromptRecord
        One record per sample of every prefill since the block was entered, in order. Decode steps add none, nor does
        the recomputation of a prompt in generation without a cache.
    """

    question: Question = None
    sample: str | Sequence[str] = ""
    prompts: list[PromptRecord] = field(default_factory=list)
    batch: int = 0

    def question_of(self, row: int, rows: int) -> str:
        """What was asked of one row of a batch, in which every sample may stand several times; "" when not told."""
        return _of(self.question or "", row, rows)

    def name_of(self, row: int, rows: int) -> str:
        """Name of the sample in one row of a batch."""
        return _of(self.sample, row, rows)

    @property
    def last(self) -> list[PromptRecord]:
        """Records of the last prefill, one per sample (per beam under beam search)."""
        return self.prompts[len(self.prompts) - self.batch :]

    @property
    def visual_tokens_per_layer(self) -> list[int] | list[list[int]]:
        """Visual tokens each decoder layer saw at the last prefill; for a batch a list per sample."""
        lists = [list(record.visual_tokens_per_layer) for record in self.last]
        return lists[0] if len(lists) == 1 else lists

    @property
    def newlines_per_layer(self) -> list[int] | list[list[int]]:
        """Newline tokens each decoder layer saw beside these; for a batch a list per sample."""
        lists = [list(record.newlines_per_layer) for record in self.last]
        return lists[0] if len(lists) == 1 else lists

    @property
    def kept(self) -> list[dict[int, Kept]] | None:
        """Per sample of the last prefill: cut layer to kept visual indices and places. None unless ``record_kept``."""
        kept = [record.kept for record in self.last if record.kept is not None]
        return kept if kept else None

    @property
    def notes(self) -> list[str]:
        """Notes on the last prefill."""
        return [note for record in self.last for note in record.notes]


def _of(told: str | Sequence[str], row: int, rows: int) -> str:
    return told if isinstance(told, str) else told[row * len(told) // rows]
