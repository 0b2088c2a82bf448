"""The cache of a pruned prompt: it carries the prompt's state, and serves nobody who does not know of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from tops.engine.calls import serves
from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

    from tops.engine.segment import PromptState


class _Pruned:
    """What a pruned prompt's cache does beside what its own class does."""

    _tops_state: PromptState

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """As ever while the engine runs the model; refused elsewhere, where cut layers would be misread.

        Raises
        ------
        UnsupportedModelError
            Outside a ``prune()`` block.
        """
        if not serves(self._tops_state):
            raise UnsupportedModelError(
                "this cache holds a prompt whose visual tokens were pruned, and its layers differ in length: a model "
                "reads it only inside a prune() block, of any method; enter one, or start again without the cache"
            )
        return super().update(*args, **kwargs)  # type: ignore[misc]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of the conversation, dropped ones among them: by this number generation tells which ids are new."""
        state, there = self._tops_state, self.get_query_offset(layer_idx)
        return state.prompt_length + state.generated if there else 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Tokens that a layer really holds, by which masks are built."""
        length: int = super().get_seq_length(layer_idx)  # type: ignore[misc]
        return length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Rows in another order."""
        super().reorder_cache(beam_idx)  # type: ignore[misc]
        self._tops_state = self._tops_state.select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Some of the rows."""
        super().batch_select_indices(indices)  # type: ignore[misc]
        self._tops_state = self._tops_state.select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row several times."""
        import torch

        super().batch_repeat_interleave(repeats)  # type: ignore[misc]
        rows = torch.arange(self._tops_state.batch).repeat_interleave(repeats)
        self._tops_state = self._tops_state.select(rows)

    def crop(self, tokens_to_remove: int = 0, **old: int) -> None:
        """Take tokens off the end; those that were generated may go, and the prompt may not.

        Raises
        ------
        UnsupportedModelError
            For an absolute length, which layers of different lengths do not share.
        """
        count = old.get("max_length", tokens_to_remove)
        if count > 0:
            raise UnsupportedModelError(
                f"crop({count}) asks for a length, and the layers of a pruned prompt differ in theirs; give the number "
                "of tokens to take off as a negative number"
            )
        super().crop(count)  # type: ignore[misc]
        if -count <= self._tops_state.generated:
            self._tops_state.generated += count

    def reset(self) -> None:
        """Empty: a cache like any other."""
        super().reset()  # type: ignore[misc]
        base = type(self).__mro__[2]
        del self._tops_state
        self.__class__ = base

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (type(self).__mro__[2],), vars(self)


_CLASSES: dict[type, type] = {}


def _pruned(base: type) -> type:
    if base not in _CLASSES:
        names = {"__doc__": _Pruned.__doc__, "__module__": __name__}
        _CLASSES[base] = type(f"Pruned{base.__name__}", (_Pruned, base), names)
    return _CLASSES[base]


def _empty(base: type) -> Any:
    made: Any = _pruned(base)
    return made.__new__(made)


def attach(state: PromptState, cache: Cache) -> None:
    """Store a prompt's state on its cache, where it lives as long as the cache and goes where that goes."""
    if not isinstance(cache, _Pruned):
        cache.__class__ = _pruned(type(cache))
    vars(cache)["_tops_state"] = state


def state_of(cache: object) -> PromptState | None:
    """The state stored on a cache."""
    return cache._tops_state if isinstance(cache, _Pruned) else None
