"""CLIP's text tower and joint space, for methods that compare the question with patches (TRIM, CDPruner)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tops.errors import DataError

JOINT_FILE = "joint_space.safetensors"
_JOINT_KEYS = ("post_layernorm.weight", "post_layernorm.bias", "visual_projection.weight")


@dataclass(frozen=True)
class TextEncoder:
    """Text tower with projection, and the projection of patches into the same space. Float32, no gradients.

    Attributes
    ----------
    model : CLIPTextModelWithProjection
    tokenizer : PreTrainedTokenizerBase
    post_layernorm : nn.LayerNorm
        The vision tower's last norm, width c.
    visual_projection : nn.Linear
        c -> j, no bias.
    """

    model: Any
    tokenizer: Any
    post_layernorm: nn.LayerNorm
    visual_projection: nn.Linear

    @property
    def length(self) -> int:
        """Tokens of one segment (77 for CLIP)."""
        return int(self.model.config.max_position_embeddings)

    @torch.no_grad()
    def embed(self, text: str, *, segments: bool) -> Tensor:
        """Text embeddings, not normalised.

        Parameters
        ----------
        text : str
            Any length.
        segments : bool
            False: truncate to one segment, first and last mark kept. True: tokenise once, pad with zeros to whole
            segments, embed each; only the first has the start mark and only the last the end mark (CDPruner).

        Returns
        -------
        Tensor, (M, j) float32
            M = 1 without segments.
        """
        length, device = self.length, self.visual_projection.weight.device
        tokens = self.tokenizer(text, truncation=not segments, max_length=None if segments else length, verbose=False)
        ids = torch.tensor(tokens["input_ids"], device=device)
        count = -(-len(ids) // length) if segments else 1
        padded = torch.zeros(count * length if segments else len(ids), dtype=torch.int64, device=device)
        padded[: len(ids)] = ids
        mask = (torch.arange(len(padded), device=device) < len(ids)).long()
        padded, mask = padded.view(count, -1), mask.view(count, -1)
        states = self.model.text_model(input_ids=padded, attention_mask=mask).last_hidden_state
        rows = torch.arange(count, device=device)
        embeddings: Tensor = self.model.text_projection(states[rows, self._pooled(padded)])
        return embeddings.float()

    def _pooled(self, ids: Tensor) -> Tensor:
        # CLIP pools at the end mark. A segment without one pools at its largest id, the rule of the original code,
        # where the end mark is the largest id there is.
        end = ids == self.tokenizer.eos_token_id
        return torch.where(end.any(1), end.int().argmax(1), ids.argmax(1))

    @torch.no_grad()
    def project_patches(self, features: Tensor) -> Tensor:
        """(..., c) -> (..., j) float32: patches of the vision tower in the joint space, not normalised."""
        weight = self.visual_projection.weight
        normed = self.post_layernorm(features.to(weight.device, weight.dtype))
        projected: Tensor = self.visual_projection(normed)
        return projected


def load_text_encoder(source: str | Path, *, revision: str | None = None, device: Any = "cpu") -> TextEncoder:
    """Text tower and joint space of a CLIP checkpoint.

    Parameters
    ----------
    source : str or Path
        A full CLIP checkpoint (``openai/clip-vit-large-patch14-336``), or what :func:`save_text_encoder` wrote.
    revision : str, optional
        Revision on the hub.
    device : optional
        Where it runs.

    Raises
    ------
    DataError
        If the files are missing or incomplete.
    """
    from transformers import AutoTokenizer, CLIPModel, CLIPTextModelWithProjection

    folder = Path(source)
    model: Any
    options: dict[str, Any] = {"revision": revision, "dtype": torch.float32, "use_safetensors": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        if (folder / JOINT_FILE).is_file():
            model = CLIPTextModelWithProjection.from_pretrained(source, **options)
            norm, projection = _joint_space(folder / JOINT_FILE, model.config.layer_norm_eps)
        else:
            whole = CLIPModel.from_pretrained(source, **options)
            model = CLIPTextModelWithProjection(whole.text_model.config)
            model.text_model, model.text_projection = whole.text_model, whole.text_projection
            norm, projection = whole.vision_model.post_layernorm, whole.visual_projection
    except OSError as error:
        raise DataError(
            f"CLIP text tower {str(source)!r} cannot be loaded: {error}; give a local folder, or fetch the "
            "checkpoint first"
        ) from error
    encoder = TextEncoder(model.eval(), tokenizer, norm, projection)
    for module in (model, norm, projection):
        module.to(device).requires_grad_(False)
    return encoder


def save_text_encoder(encoder: TextEncoder, folder: str | Path) -> None:
    """Write what :func:`load_text_encoder` reads: text tower, tokenizer and ``joint_space.safetensors``."""
    from safetensors.torch import save_file

    folder = Path(folder)
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    norm, projection = encoder.post_layernorm, encoder.visual_projection
    tensors = (norm.weight, norm.bias, projection.weight)
    save_file({k: t.detach().contiguous() for k, t in zip(_JOINT_KEYS, tensors, strict=True)}, folder / JOINT_FILE)


def _joint_space(path: Path, eps: float) -> tuple[nn.LayerNorm, nn.Linear]:
    from safetensors.torch import load_file

    tensors = load_file(path)
    missing = [key for key in _JOINT_KEYS if key not in tensors]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; write it with save_text_encoder()")
    joint, width = tensors["visual_projection.weight"].shape
    norm, projection = nn.LayerNorm(width, eps=eps), nn.Linear(width, joint, bias=False)
    norm.load_state_dict({"weight": tensors["post_layernorm.weight"], "bias": tensors["post_layernorm.bias"]})
    projection.load_state_dict({"weight": tensors["visual_projection.weight"]})
    return norm.float(), projection.float()
