"""Whose a running forward is: blocks, generations and calls of the present context (thread, task), never of a model.

A ``prune()`` block belongs to the context that entered it, as context variables do: to its thread, to tasks made in it
and to functions run in a copy of it (``asyncio.to_thread``, ``contextvars.copy_context``).
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tops.backbones.base import Seen
from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    from tops.engine.decode import Decode
    from tops.engine.hooks import Hooks
    from tops.engine.passes import Setup
    from tops.engine.prefill import Prefill
    from tops.engine.prompt import Prompt
    from tops.engine.segment import Gather, PromptState

_MEDIA = ("pixel_values", "pixel_values_videos")
_CLAIM = threading.Lock()


@dataclass(frozen=True)
class Replay:
    """The cuts of a generation's prompt, which a generation without a cache recomputes with every token."""

    ids: Tensor
    media: tuple[Any, ...]
    cuts: dict[int, list[Gather | None]]

    @classmethod
    def of(cls, done: Prefill) -> Replay:
        """What a prefill has cut."""
        return cls(done.prompt.ids, tuple(done.prompt.call.get(name) for name in _MEDIA), done.cuts)

    def fits(self, prompt: Prompt) -> bool:
        """Whether a prompt is this one with tokens added to its end."""
        batch, length = self.ids.shape
        return (
            prompt.ids.shape[0] == batch
            and prompt.ids.shape[1] > length
            and all(prompt.call.get(name) is was for name, was in zip(_MEDIA, self.media, strict=True))
            and bool((prompt.ids[:, :length] == self.ids).all())
        )


@dataclass(eq=False)
class Block:
    """One ``prune()`` block.

    Attributes
    ----------
    hooks : Hooks
        Those of its model, shared with the blocks of other threads.
    setup : Setup
        What it was given.
    closed : bool
        Whether it has ended.
    running : Generation, Call or None
        What runs in it; one thing at a time.
    """

    hooks: Hooks
    setup: Setup
    closed: bool = False
    running: Generation | Call | None = None


@dataclass(eq=False)
class Generation:
    """One call of ``model.generate``.

    Attributes
    ----------
    block : Block
    expand : int
        Rows that generation makes of each sample: beams, or returned sequences.
    prompts : int
        Prompts that ran in it. The first is the one that was asked; others belong to its logits processors (guidance).
    replay : Replay or None
        The first prompt's cuts, without a cache.
    """

    block: Block
    expand: int = 1
    prompts: int = 0
    replay: Replay | None = None


@dataclass(eq=False)
class Call:
    """One forward of the inner multimodal model.

    Attributes
    ----------
    block : Block
    generation : Generation or None
        The one it is part of.
    seen : dict
        What the watched modules saw, per watch that the block's method wants.
    prompt : Prompt or None
        Of a prefill.
    step : PromptState or None
        Of later tokens.
    running : Prefill, Decode or None
        The text model's own pass, while it runs.
    wanted : Tensor or None, (R,) int64
        Places of the prompt whose logits alone are wanted.
    done : Prefill or None
        The text model's pass over a prompt, once it has run.
    looking : bool
        Whether the vision tower is at work: some models see videos through the method that sees images.
    """

    block: Block
    generation: Generation | None
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    prompt: Prompt | None = None
    step: PromptState | None = None
    running: Prefill | Decode | None = None
    wanted: Tensor | None = None
    done: Prefill | None = None
    looking: bool = False


WANTED: ContextVar[Tensor | None] = ContextVar("tops_wanted", default=None)
"""What ``logits_to_keep`` asks for, from the model's own forward to the inner one that it calls."""
_BLOCKS: ContextVar[tuple[Block, ...]] = ContextVar("tops_blocks", default=())
_RUNNING: ContextVar[tuple[Generation | Call, ...]] = ContextVar("tops_running", default=())


def enter(block: Block) -> None:
    """Open a block in this context."""
    _BLOCKS.set((*_BLOCKS.get(), block))


def leave(block: Block) -> None:
    """Close a block, also for the contexts that hold a copy of it."""
    block.closed = True
    _BLOCKS.set(tuple(other for other in _BLOCKS.get() if other is not block))
    mine = [one for one in _RUNNING.get() if one.block is block]
    _RUNNING.set(tuple(one for one in _RUNNING.get() if one.block is not block))
    for one in mine:
        one.block.hooks.release()


def block_of(hooks: Hooks) -> Block | None:
    """This context's block on a model; None outside of one.

    Raises
    ------
    UnsupportedModelError
        If the block has ended while something of this context was still running in it.
    """
    for one in reversed(_RUNNING.get()):
        if one.block.hooks is hooks and one.block.closed:
            raise ended(one.block)
    return next((block for block in reversed(_BLOCKS.get()) if block.hooks is hooks and not block.closed), None)


def call_of(hooks: Hooks) -> Call | None:
    """The forward of a model that runs in this context.

    Raises
    ------
    UnsupportedModelError
        If its block has ended meanwhile.
    """
    for one in reversed(_RUNNING.get()):
        if one.block.hooks is hooks and isinstance(one, Call):
            if one.block.closed:
                raise ended(one.block)
            return one
    return None


def generation_of(block: Block) -> Generation | None:
    """The generation of a block that runs in this context."""
    mine = (one for one in reversed(_RUNNING.get()) if one.block is block and isinstance(one, Generation))
    return next(mine, None)


def begin(one: Generation | Call) -> None:
    """Start a generation or a forward in its block.

    Raises
    ------
    UnsupportedModelError
        If another context runs something in the block, or the model is called while a forward of it runs.
    """
    block, mine = one.block, [other for other in _RUNNING.get() if other.block is one.block]
    title = block.setup.method.title
    if any(isinstance(other, Call) for other in mine):
        raise UnsupportedModelError(
            f"the model that {title} prunes was called while a forward of it was running (from a method's select() or "
            "a hook); run it before or after"
        )
    with _CLAIM:
        if block.running is not None and block.running not in mine:
            raise UnsupportedModelError(
                f"another thread or task runs a prompt in this prune() block of {title}; what it records belongs to "
                "one call at a time: enter a block of its own in each thread"
            )
        block.running = block.running or one
    _RUNNING.set((*_RUNNING.get(), one))
    block.hooks.hold()


def finish(one: Generation | Call) -> None:
    """End what :func:`begin` started; safe to call twice."""
    block, running = one.block, _RUNNING.get()
    if block.running is one:
        block.running = None
    if one in running:
        _RUNNING.set(running[: running.index(one)])
        for other in running[running.index(one) :]:
            other.block.hooks.release()


def abandon(hooks: Hooks) -> None:
    """End the forward of a model that runs in this context, if one does."""
    for one in reversed(_RUNNING.get()):
        if one.block.hooks is hooks and isinstance(one, Call):
            finish(one)
            return


def serves(state: PromptState) -> bool:
    """Whether this context runs a forward that knows of a prompt's cuts."""
    return any(
        isinstance(one, Call) and one.running is not None and one.running.state is state for one in _RUNNING.get()
    )


def ended(block: Block) -> UnsupportedModelError:
    """What a call is told whose block has ended."""
    return UnsupportedModelError(
        f"the prune() block of {block.setup.method.title} ended while this call was running in it; wait for every "
        "generation (join its thread, await its task) before leaving the block"
    )
