"""vLLM's offline engine as the evaluation and the benchmarks use it: many prompts at once, each with its pruning."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from tops.errors import ConfigurationError
from tops.serving.pruning import KEY, VARIABLE, Pruning

if TYPE_CHECKING:
    from PIL.Image import Image

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: a start takes half as long, and nothing can linger
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GB, on a CPU
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # workers share the cores as OMP_NUM_THREADS says
}
DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Packages that bring vLLM."""


@dataclass(frozen=True)
class Request:
    """One prompt.

    Attributes
    ----------
    text : str
        In the checkpoint's template, one placeholder an image.
    images : sequence of PIL images
    pruning : Pruning
    processing : mapping
        Options for the checkpoint's processor, such as ``max_pixels``.
    """

    text: str
    images: Sequence[Image] = ()
    pruning: Pruning = field(default_factory=Pruning)
    processing: Mapping[str, Any] = field(default_factory=dict)

    def as_prompt(self) -> dict[str, Any]:
        """As vLLM takes it."""
        out: dict[str, Any] = {"prompt": self.text}
        if self.images:
            out["multi_modal_data"] = {"image": list(self.images)}
            out["mm_processor_kwargs"] = {**self.processing, KEY: self.pruning.as_dict()}
        return out


@dataclass(frozen=True)
class Answer:
    """What an engine gave.

    Attributes
    ----------
    prompt : tuple of int
        Ids of the prompt as the language model saw it: placeholders of kept tokens alone.
    ids : tuple of int
        Of the answer, with the id that ended it.
    """

    prompt: tuple[int, ...]
    ids: tuple[int, ...]


def installed() -> str:
    """Version of vLLM here, such as ``0.32.0``.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise ConfigurationError(
        "vLLM is not installed in this environment, and it pins another torch than the library; make an environment of "
        "its own (`make serving-env`) and run .venv-serving/bin/tops, or leave engine=vllm out"
    )


class OfflineEngine:
    """A model in vLLM, in this process as far as vLLM allows, so that nothing is left when the process ends.

    Parameters
    ----------
    folder : str
        Checkpoint.
    dtype : str
        Of weights and cache.
    pruning : Pruning
        Of requests that bring none; also what memory is measured with.
    **options
        For ``vllm.LLM``.
    """

    def __init__(self, folder: str, *, dtype: str, pruning: Pruning | None = None, **options: Any) -> None:
        installed()
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        told = (pruning or Pruning()).text
        if os.environ.setdefault(VARIABLE, told) != told:
            raise ConfigurationError(
                f"{VARIABLE}={os.environ[VARIABLE]} in the environment; unset it, each cell brings its own"
            )
        from vllm import LLM

        self.llm: Any = LLM(model=folder, dtype=dtype, **options)
        self._end = weakref.finalize(self, self.llm.llm_engine.engine_core.shutdown)

    def answer(self, requests: Sequence[Request], *, tokens: int, least: int = 0, **decoding: Any) -> list[Answer]:
        """Greedy answers, in the order of the requests; vLLM batches them as it sees fit.

        Parameters
        ----------
        requests : sequence of Request
            Any number.
        tokens, least : int
            Most and fewest tokens of an answer.
        **decoding
            Other settings of ``vllm.SamplingParams``.

        Raises
        ------
        ValueError
            If vLLM refuses one of them; then none is answered.
        """
        from vllm import SamplingParams

        greedy = SamplingParams(temperature=0.0, max_tokens=tokens, min_tokens=least, **decoding)
        outputs = self.llm.generate([request.as_prompt() for request in requests], greedy, use_tqdm=False)
        return [Answer(tuple(out.prompt_token_ids), tuple(out.outputs[0].token_ids)) for out in outputs]

    def close(self) -> None:
        """Free its memory and end what it started."""
        self._end()
