"""The model behind ``lmms-eval --model tops``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tops.backbones.image_layouts import check_view
from tops.backbones.inputs import OPTIONS, Inputs
from tops.benchmarks.quiet import import_lmms_eval
from tops.errors import ConfigurationError
from tops.evaluation.asking import view
from tops.evaluation.media import Media
from tops.evaluation.models import asker_for
from tops.evaluation.videos import read_frames

import_lmms_eval()

from lmms_eval.api.model import lmms  # noqa: E402


class TopsModel(lmms):  # type: ignore[misc]
    """Loads a backbone, prunes it with a method for as long as the process lives, and answers stock requests.

    Parameters
    ----------
    checkpoint : str
        Hub id or local folder.
    method : str
        Registry name; ``none`` for the unpruned model.
    budget : int or float
        Tokens per image, or a keep ratio; the method's default when absent.
    device : str
        Device name, as lmms-eval passes it.
    attention : str
        ``sdpa``, ``flash_attention_2`` or ``eager``.
    dtype : str
        Type of the weights; ``auto`` is the checkpoint's own.
    batch_size, max_batch_size : int
        Only 1 is served.
    **options
        Options of the method, or of the inputs (``system_prompt``, ``image_padding``, ``max_pixels``, ``frames`` ...).
    """

    is_simple = False

    def __init__(
        self,
        checkpoint: str = "llava-hf/llava-1.5-7b-hf",
        method: str = "none",
        budget: int | float | None = None,
        device: str | None = None,
        attention: str = "sdpa",
        dtype: str = "auto",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if str(batch_size) != "1":
            raise ConfigurationError(f"batch_size={batch_size}: only 1 is served")
        from tops.backbones.loading import load_backbone
        from tops.methods import build

        self.backbone = load_backbone(checkpoint, device_map=device or "cpu", attention=attention, dtype=dtype)
        inputs, layout = Inputs.of({k: options.pop(k) for k in OPTIONS if k in options}).laid_out(
            self.backbone.adapter.family
        )
        if layout.squares:
            raise ConfigurationError(
                f"image_layout={layout.name!r} resizes images before the stock model sees them; run it with "
                "`tops run`, or name a layout without a size"
            )
        check_view(layout, view(self.backbone))
        if method == "none":
            if options or budget is not None:
                raise ConfigurationError(
                    f"the unpruned model takes no {', '.join([*options, 'budget'])}; name a method"
                )
            self._pruning = None
        else:
            chosen = build(method, **options, **({} if budget is None else {"budget": budget}))
            self._pruning = self.backbone.prune(chosen)
            self._pruning.__enter__()
        self._asker = asker_for(self.backbone, inputs)
        self._inputs = inputs
        self.batch_size_per_gpu = 1

    @property
    def batch_size(self) -> int:
        """Requests at a time."""
        return 1

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.backbone.model.device

    def clean(self) -> None:
        """Keep the model for the next task; lmms-eval calls this to delete it."""

    def generate_until(self, requests: list[Any]) -> list[Any]:
        """Answers; an error ends the run instead of becoming an empty answer."""
        from lmms_eval.api.instance import GenerationResult, TokenCounts

        self._asker.task_dict = self.task_dict
        out = []
        for request in requests:
            words, to_messages, settings, number, task, split = request.args
            refuse_sampling(settings)
            settings = {"max_new_tokens": settings.get("max_new_tokens", 1024), "do_sample": False, "temperature": 0}
            content, media = self._decoded(to_messages(self.task_dict[task][split][number]))
            request.arguments = (words, lambda _, content=content: content, settings, number, task, split)
            reply = self._asker.ask(request, media)
            out.append(GenerationResult(reply.text, TokenCounts(output_tokens=reply.output_tokens)))
        return out

    def _decoded(self, messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Media]:
        media = Media()
        for message in messages:
            for part in message["content"]:
                if part["type"] == "video" and isinstance(part["url"], str):
                    frames = read_frames(
                        part["url"],
                        self._inputs.frames,
                        self.backbone.adapter.frame_rule,
                        self._inputs.frames_per_second,
                    )
                    media = Media(frames.images, True, frames.indices, frames.total, frames.fps)
                    part["url"] = list(frames.images)
        return messages, media

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """Not served: no benchmark here asks for it."""
        raise NotImplementedError("tops answers generation tasks only")

    def generate_until_multi_round(self, requests: list[Any]) -> list[Any]:
        """Not served: rounds of a stock task may bring new pictures, which a pruned cache cannot take."""
        raise NotImplementedError(
            "tops answers single-round tasks here; `tops run experiment=turns` asks several questions of one picture"
        )


def refuse_sampling(settings: Mapping[str, Any]) -> None:
    """Refuse generation settings that are not greedy decoding, which is all that is served.

    Raises
    ------
    ConfigurationError
        For sampling or beams, as ``--gen_kwargs`` of lmms-eval gives them.
    """
    beams, temperature = settings.get("num_beams"), settings.get("temperature")
    wrong = [f"num_beams={beams}"] if beams not in (None, 1) else []
    wrong += [f"temperature={temperature}"] if temperature not in (None, 0, 0.0) else []
    wrong += ["do_sample=true"] if settings.get("do_sample") else []
    if wrong:
        raise ConfigurationError(f"--gen_kwargs {', '.join(wrong)}: decoding is greedy here; leave it out")
