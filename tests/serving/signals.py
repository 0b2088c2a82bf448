"""Signals of a vision tower, as vLLM's runs it and as the library's does, on the same pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from serving.engines import Engine, pictures
from torch import Tensor

from tops.budget import Cut, PromptShape, Schedule
from tops.methods.base import Method
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection


def read(vision: Any) -> dict[str, Tensor]:
    """All that methods before the language model may read."""
    out = {
        "saliency": vision.saliency(),
        "sum of heads": vision.saliency(reduce="sum"),
        "received": vision.attention_received(),
        "embeddings": vision.embeddings(),
    }
    if Signal.CLS in vision.signals:
        out["cls"] = vision.cls_attention()
    if Signal.ENCODER in vision.signals:
        features = vision.encoder_features()
        out |= {
            "features": features,
            "keys": vision.encoder_keys(),
            "last keys": vision.encoder_keys(layer="last"),
            "last query": vision.encoder_cls_query(layer="last"),
            "last cls": vision.cls_attention(layer="last"),
            "projected": vision.project(features[:, 1]),
        }
    return {name: value.detach().float().cpu() for name, value in out.items()}


@dataclass(frozen=True)
class Probe(Method):
    """Reads all signals and keeps everything."""

    name: ClassVar[str] = "probe"
    title: ClassVar[str] = "Probe"
    positions = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", [])

    def schedule(self, shape: PromptShape) -> Schedule:
        """A cut that takes nothing away."""
        return Schedule(shape.visual, shape.depth, (Cut(0, shape.visual),))

    def select(self, point: PruningPoint) -> Selection:
        """Everything."""
        self.found.append(read(point.vision))  # type: ignore[attr-defined]
        return Selection(torch.arange(len(point.tokens)))


def _inputs(engine: Engine) -> Mapping[str, Any]:
    """Two pictures, one prompt each."""
    processor = engine.backbone.processor
    image = engine.backbone.processor.image_token if engine.family != "qwen2.5-vl" else "<|image_pad|>"
    batch: Mapping[str, Any] = processor(
        text=[f"{image} a"] * 2, images=[[one] for one in pictures(2, seed=9)], return_tensors="pt", padding=True
    )
    return batch


def library_signals(engine: Engine) -> dict[str, Tensor]:
    """Of the second of two pictures, by ``prune()``."""
    from tops import prune

    probe = Probe()
    with torch.no_grad(), prune(engine.backbone.model, probe):
        engine.backbone.model(**_inputs(engine))
    found: dict[str, Tensor] = probe.found[1]  # type: ignore[attr-defined]
    return found


def engine_signals(engine: Engine) -> dict[str, Tensor]:
    """The same by vLLM's model, in the worker's process."""
    batch = _inputs(engine)
    names = ("pixel_values", "image_sizes", "image_grid_thw")
    inputs = {name: batch[name] for name in names if name in batch}
    if engine.family == "internvl3":
        counts = [(batch["input_ids"][i] == engine.backbone.model.config.image_token_id).sum() // 36 for i in range(2)]
        inputs |= {"image_num_patches": torch.stack(counts), "image_token_id": torch.tensor(16)}
    if engine.family == "llava-next":
        inputs["pixel_values"] = list(inputs["pixel_values"])
    (found,) = engine.llm.collective_rpc(_in_worker, args=(inputs,))
    return dict(found)


def _in_worker(worker: Any, inputs: dict[str, Any]) -> dict[str, Tensor]:
    from tops.backbones.base import VisionContext
    from tops.serving.models import PrunedModel, watching

    model = worker.model_runner.get_model()
    view, visual = model.tops_view, getattr(model, "visual", None)
    own = getattr(visual, "input_norm", None)
    if visual is not None:  # vLLM's processor leaves it to the tower to normalise, which these pixels have behind them
        visual.input_norm = torch.nn.Identity()
    with torch.inference_mode(), watching(view.watches()) as seen:
        embeddings = list(super(PrunedModel, model).embed_multimodal(**inputs))
        view.complete(seen)
        layouts = [view.one_image({name: inputs[name][number] for name in view.facts}) for number in range(2)]
        real = ~layouts[1].newline
        context = VisionContext(
            call=inputs, seen=seen, layouts=layouts, sample=1, embeddings=embeddings[1][real], text_encoder=None,
            device=torch.device("cpu"),
        )  # fmt: skip
        found = read(view.vision(context))
    if visual is not None:
        visual.input_norm = own
    return found
