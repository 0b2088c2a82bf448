"""``prune()``: the context manager in which a stock model runs with fewer visual tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tops.backbones import adapter_for
from tops.engine.calls import Block, block_of, enter, leave
from tops.engine.checks import check_model, check_signals
from tops.engine.hooks import Hooks
from tops.engine.passes import Setup
from tops.engine.record import Question, Run
from tops.errors import UnsupportedModelError
from tops.methods.base import InputControl, Method, adopted

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tops.backbones._text_tower import TextEncoder
    from tops.engine.vision_memory import VisionMemory


@contextmanager
def prune(
    model: PreTrainedModel,
    method: Method,
    *,
    processor: Any = None,
    text_encoder: TextEncoder | None = None,
    question: Question = None,
    record_kept: bool = False,
    backbone: str | None = None,
    memory: VisionMemory | None = None,
) -> Iterator[Run]:
    """Run a stock Hugging Face model with visual tokens pruned.

    Inside the block ``model(**inputs)`` and ``model.generate(**inputs)`` prune every prompt at prefill; generation then
    attends to what was kept. Batches, padding, several images, beam search, any of eager, sdpa and FlashAttention,
    generation with or without a cache, later turns of text on a pruned cache. Leaving the block, also by an exception,
    restores the model bit for bit.

    A block belongs to the thread or task that enters it, and runs one call at a time; each thread may have its own on
    one model. A call in a thread without a block is refused while another has one.

    Parameters
    ----------
    model : PreTrainedModel
        A model of a class that ``tops.backbones`` serves, in eval mode; may be wrapped by PEFT.
    method : Method
        Such as ``TOPS(budget=64)``.
    processor : optional
        The model's processor; lets methods that read the question find it in the prompt.
    text_encoder : TextEncoder, optional
        CLIP's text tower, for methods that need it.
    question : str or sequence of str, optional
        The user's words without template, one per sample; may be set anew on ``run.question``.
    record_kept : bool
        Record the kept visual indices of every cut in ``run.kept``.
    backbone : str, optional
        Catalogue name that selects published settings; guessed from the model's size when absent.
    memory : VisionMemory, optional
        Of this model: images that it holds are not encoded again where no gradient is wanted, as long as the vision
        tower is in the same state. Controls that change images leave it alone.

    Yields
    ------
    Run
        ``run.visual_tokens_per_layer``, ``run.kept`` and ``run.notes`` tell of the last prompt, ``run.prompts`` of all.

    Raises
    ------
    UnsupportedModelError
        For a model, or a mode of it, that pruning cannot serve; ``model`` already inside another ``prune()`` block.
    MissingSignalError
        If the method needs what this backbone does not have.
    ConfigurationError
        If ``memory`` is another model's.
    BudgetError
        If the method has no budget and needs one; at the prompt, before any compute, if the budget cannot be met on it.
    """
    method = adopted(method)
    method.check_budget()
    adapter = adapter_for(model)
    hooks = Hooks.of(adapter)
    try:
        active = block_of(hooks)
        if active is not None:
            raise UnsupportedModelError(
                f"{active.setup.method.title} already prunes this model; leave its block first, two methods at once "
                "are not defined"
            )
        check_model(adapter)
        check_signals(method, adapter, text_encoder)
        name = adapter.catalogue_name() if backbone is None else backbone
        run = Run(question=question)
        memory = None if isinstance(method, InputControl) else memory
        if memory is not None:
            memory.claim(adapter.model)
        watches = adapter.watches(method.tower_layers(adapter.tower))
        hooks.watch(watches)
        setup = Setup(adapter, method, run, processor, text_encoder, name, record_kept, memory, tuple(watches))
        block = Block(hooks, setup)
        enter(block)
        try:
            yield run
        finally:
            leave(block)
    finally:
        hooks.release()
