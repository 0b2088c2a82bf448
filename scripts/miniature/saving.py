"""Write a miniature checkpoint: bfloat16 weights, processor, CLIP text side, and the card that names their hashes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tops.miniature.cards import write_card
from tops.miniature.checkpoints import ROOT, weight_hashes
from tops.miniature.tokenizer import fast_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, ProcessorMixin

    from scripts.miniature.vision import Clip

MOST_BYTES = 10_000_000
JOINT_FILE = "joint_space.safetensors"


def save_text_tower(folder: Path, clip: Clip, bpe: Tokenizer) -> None:
    """CLIP's text side as ``CLIPTextModelWithProjection`` with its tokenizer.

    `JOINT_FILE` beside it holds what takes the vision tower's last states to the joint space:
    ``post_layernorm.weight``, ``post_layernorm.bias`` and ``visual_projection.weight``.
    """
    from safetensors.torch import save_file

    text: Any = clip.text
    text.to(torch.bfloat16).save_pretrained(folder)
    text.float()
    fast_tokenizer(bpe, bos="<|startoftext|>", eos="<|endoftext|>", pad="<|endoftext|>").save_pretrained(folder)
    joint = {
        "post_layernorm.weight": clip.vision.post_layernorm.weight,
        "post_layernorm.bias": clip.vision.post_layernorm.bias,
        "visual_projection.weight": clip.visual_projection.weight,
    }
    save_file(
        {name: value.detach().to(torch.bfloat16).contiguous() for name, value in joint.items()},
        folder / JOINT_FILE,
        metadata={"format": "pt"},
    )


def save_checkpoint(
    family: str,
    model: PreTrainedModel,
    processor: ProcessorMixin,
    bpe: Tokenizer,
    card: dict[str, Any],
    clip: Clip | None = None,
    root: Path = ROOT,
) -> Path:
    """Replace the checkpoint of a family.

    Parameters
    ----------
    family : str
        One of `tops.miniature.checkpoints.FAMILIES`.
    model : PreTrainedModel
        Left in float32.
    processor : ProcessorMixin
        The family's processor.
    bpe : tokenizers.Tokenizer
        For the text tower.
    card : dict
        Everything but the weights' hashes, which are added.
    clip : Clip, optional
        For families whose tower is CLIP.
    root : Path
        Folder of the checkpoints.

    Returns
    -------
    Path
        The folder written.
    """
    folder = root / family
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    module: Any = model
    module.to(torch.bfloat16).save_pretrained(folder)
    module.float()
    processor.save_pretrained(folder)
    if clip is not None:
        save_text_tower(folder / "text_tower", clip, bpe)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size <= MOST_BYTES, f"{folder} takes {size} bytes, more than {MOST_BYTES}"
    write_card(folder, {**card, "bytes": size, "weights_sha256": weight_hashes(folder)})
    return folder
