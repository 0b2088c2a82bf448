"""Write a miniature checkpoint: bfloat16 weights, processor, CLIP text side, and the card that names their hashes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tops.miniature.checkpoints import ROOT, weight_hashes
from tops.miniature.tokenizer import fast_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, ProcessorMixin

    from tops.miniature.training_vision import Clip

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
        Of the family.
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


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """``card.json``, and the same for readers in ``README.md``."""
    (folder / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(render(card), encoding="utf-8")


def _table(table: dict[str, Any]) -> list[str]:
    """Markdown rows; entries that are dictionaries of the same keys become columns."""
    first = next(iter(table.values()), None)
    if isinstance(first, dict) and all(isinstance(v, dict) and v.keys() == first.keys() for v in table.values()):
        head = ["", *first]
        rows = [[key, *(str(value) for value in entry.values())] for key, entry in table.items()]
    else:
        head, rows = ["", ""], [[key, str(value)] for key, value in table.items()]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def render(card: dict[str, Any]) -> str:
    """The card as Markdown: plain facts first, then one table per group."""
    flat = {key.replace("_", " "): value for key, value in card.items() if not isinstance(value, dict)}
    parts = [f"# Miniature {card['family']}", "", *_table(flat)]
    for key, value in card.items():
        if isinstance(value, dict):
            parts += ["", f"## {key.replace('_', ' ').capitalize()}", "", *_table(value)]
    return "\n".join(parts) + "\n"
