"""Loading a backbone: real checkpoints, local folders, or real sizes with random weights."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tops.backbones import families, family_named
from tops.backbones.base import Adapter
from tops.errors import ConfigurationError, DataError, UnsupportedModelError, nearest_names

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tops.backbones._text_tower import TextEncoder
    from tops.engine import Run
    from tops.engine.record import Question
    from tops.engine.vision_memory import VisionMemory
    from tops.methods.base import Method

TEXT_TOWER_FOLDER = "text_tower"


@dataclass(frozen=True)
class Backbone:
    """A loaded model and what pruning needs beside it.

    Attributes
    ----------
    name : str
        Catalogue name where the size is a published one, else the checkpoint's last part.
    model : PreTrainedModel
        In eval mode.
    processor : ProcessorMixin or None
        None with random weights, which need no download.
    adapter : Adapter
        Of its family.
    text_encoder : TextEncoder or None
        CLIP's text tower, where there is one.
    memory : VisionMemory or None
        What the vision tower made of images it has met; None keeps nothing.
    """

    name: str
    model: PreTrainedModel
    processor: Any
    adapter: Adapter
    text_encoder: TextEncoder | None = None
    memory: VisionMemory | None = None

    def prune(
        self, method: Method, *, question: Question = None, record_kept: bool = False
    ) -> AbstractContextManager[Run]:
        """:func:`tops.prune` with this backbone's processor, text encoder, name and memory."""
        from tops.engine import prune

        return prune(
            self.model,
            method,
            processor=self.processor,
            text_encoder=self.text_encoder,
            question=question,
            record_kept=record_kept,
            backbone=self.name,
            memory=self.memory,
        )


def load_backbone(
    checkpoint: str | Path,
    *,
    family: str | None = None,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device_map: str | dict[str, Any] | None = None,
    attention: str = "sdpa",
    weights: Literal["pretrained", "random"] = "pretrained",
    text_tower: str | Path | None = None,
    name: str | None = None,
) -> Backbone:
    """Load a multimodal model of a family that tops serves.

    Parameters
    ----------
    checkpoint : str or Path
        Hub id or local folder. With random weights it only tells the size.
    family : str, optional
        Family name; read from the checkpoint's configuration when absent, and then needed for random weights of a
        checkpoint that is not at hand.
    revision : str, optional
        Revision on the hub.
    dtype : str or torch.dtype
        ``auto`` takes the checkpoint's own; with random weights bfloat16 on a GPU, float32 on the CPU.
    device_map : str or dict, optional
        As in ``from_pretrained``; with random weights a single device. Default: the CPU.
    attention : str
        ``sdpa``, ``flash_attention_2`` or ``eager``.
    weights : {"pretrained", "random"}
        ``random``: the published sizes with random weights and no download, for latency work.
    text_tower : str or Path, optional
        CLIP checkpoint for methods that read the question. A local checkpoint folder with a ``text_tower`` folder in it
        needs none.
    name : str, optional
        Catalogue name, to select published settings for a model of another size.

    Raises
    ------
    DataError
        If files are missing, or weights are missing in them.
    UnsupportedModelError
        If no family serves the checkpoint.
    ConfigurationError
        For unknown names.
    """
    if weights not in ("pretrained", "random"):
        raise ConfigurationError(f"weights={weights!r}. {nearest_names(weights, ('pretrained', 'random'))}")
    source = str(checkpoint)
    cls = _family(source, family, revision)
    if weights == "random":
        model, processor = _random(cls, source, dtype, device_map, attention), None
    else:
        model = _pretrained(cls, source, revision, dtype, device_map, attention)
        processor = cls.load_processor(source, revision)
    from tops.backbones._text_tower import load_text_encoder

    model.eval()  # type: ignore[no-untyped-call]
    adapter = cls(model)
    adapter.check()
    local = Path(source) / TEXT_TOWER_FOLDER
    tower = text_tower or (local if weights == "pretrained" and local.is_dir() else None)
    encoder = None if tower is None else load_text_encoder(tower, device=model.device)
    found = name or adapter.catalogue_name() or Path(source).name
    return Backbone(found, model, processor, adapter, encoder)


def _family(source: str, family: str | None, revision: str | None) -> type[Adapter]:
    if family is not None:
        return family_named(family)
    known = families()
    from transformers import PretrainedConfig

    for cls in known.values():
        if any(source.lower() == published.lower() for published in cls.checkpoints):
            return cls
    try:
        content, _ = PretrainedConfig.get_config_dict(source, revision=revision)
    except OSError as error:
        raise DataError(
            f"checkpoint {source!r} cannot be read: {error}; give a local folder, fetch it first, or pass family="
        ) from error
    for cls in known.values():
        if cls.reads(content):
            return cls
    served = sorted(kind for cls in known.values() for kind in cls.model_types)
    classes = ", ".join(content.get("architectures") or ()) or "a class it does not name"
    raise UnsupportedModelError(
        f"checkpoint {source!r} is of type {content.get('model_type', '')!r}, saved by {classes}; served are "
        f"{', '.join(served)}, saved by transformers' own classes. Use the checkpoint's -hf version, or pass family="
    )


def _pretrained(
    cls: type[Adapter],
    source: str,
    revision: str | None,
    dtype: str | torch.dtype,
    device_map: Any,
    attention: str,
) -> PreTrainedModel:
    from transformers import PretrainedConfig

    try:
        content, _ = PretrainedConfig.get_config_dict(source, revision=revision)
        # With family= given, a class of the user's own may have saved it.
        if content.get("model_type") not in cls.model_types and not cls.reads(content):
            raise UnsupportedModelError(
                f"checkpoint {source!r} is of type {content.get('model_type')!r}, and family {cls.family!r} reads "
                f"{', '.join(cls.model_types)}; leave family= out to have it found"
            )
        config = cls.load_config(source, revision)
        model, info = cls.load_model(
            source, config, revision=revision, dtype=dtype, device_map=device_map, attn_implementation=attention
        )
    except OSError as error:
        raise DataError(
            f"checkpoint {source!r} cannot be loaded: {error}; fetch it first, or check the folder"
        ) from error
    consequences = {
        "missing_keys": "these weights would be random",
        "mismatched_keys": "these weights would be random",
        "unexpected_keys": "these weights would be left out",
    }
    for what, consequence in consequences.items():
        keys = sorted(str(key) for key in info.get(what, ()))
        if keys:
            shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
            raise DataError(
                f"checkpoint {source!r}: {len(keys)} {what.replace('_', ' ')} ({shown}); {consequence}, so the files "
                f"do not fit {type(model).__name__}: check family= and the revision"
            )
    return model


def _random(
    cls: type[Adapter], source: str, dtype: str | torch.dtype, device_map: Any, attention: str
) -> PreTrainedModel:
    import torch

    if device_map is not None and not isinstance(device_map, str | int | torch.device):
        raise ConfigurationError("random weights go to a single device, for example device_map='cuda:0'")
    device = torch.device("cpu" if device_map is None else "cuda" if device_map == "auto" else device_map)
    if dtype == "auto":
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    config = cls.load_config(source, None) if Path(source).is_dir() else cls.real_config(source)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(0)
        build: Any = cls.model_class(config)
        model: PreTrainedModel = build._from_config(config, dtype=kind, attn_implementation=attention)
    return model
