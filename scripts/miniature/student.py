"""A family's model that starts from LLaVA-1.5: its decoder's weights, its tower's where they fit, and an own tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from scripts.miniature import qwen
from scripts.miniature.language import Prompts
from scripts.miniature.llava15_further import open_checkpoint
from scripts.miniature.packing import INTERNVL, LLAVA_VIDEO, QWEN
from scripts.miniature.video_pool import FRAMES
from scripts.miniature.vision import MEAN, STD
from tops.miniature import checkpoints
from tops.miniature.families import PATCH, SIDE, build

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GRID = SIDE // PATCH
BASE = "llava-1.5"


@dataclass(frozen=True)
class Student:
    """A family's model before its training, with the functions that the stages need.

    Attributes
    ----------
    family : str
    model, processor : native class and its processor
    bpe : tokenizers.Tokenizer
    see : callable
        (B, side, side, 3) uint8 to the projected tokens of one image or frame, (B, m, d).
    shows : Tensor of float32, shape (m, patches)
        Share of each of LLaVA-1.5's patches in the area that each of the m tokens shows.
    tower : Module
        The trained module that ``see`` runs.
    prompts : Prompts
        Prompts of the language stage.
    newline : Parameter, optional
        Newline token that stands after each row of a frame.
    """

    family: str
    model: Any
    processor: Any
    bpe: Tokenizer
    see: Callable[[Tensor], Tensor]
    shows: Tensor
    tower: nn.ModuleDict
    prompts: Prompts
    newline: nn.Parameter | None = None

    @property
    def language(self) -> nn.ModuleDict:
        """The modules that the language stage trains."""
        modules: dict[str, nn.Module] = {"decoder": self.model.model.language_model}
        if self.newline is not None:
            modules["newline"] = nn.ParameterDict({"newline": self.newline})
        return nn.ModuleDict(modules)

    def arrange(self, seen: Tensor) -> Tensor:
        """(B, m, d), or (B, frames, m, d) of a video, to the visual tokens of the prompt, (B, n, d)."""
        if self.newline is None:
            return seen
        batch, frames, count, width = seen.shape
        side = round(count**0.5)
        rows = seen.view(batch, frames, side, side, width)
        ends = self.newline.expand(batch, frames, side, 1, width)
        return torch.cat([rows, ends], 3).reshape(batch, -1, width)


@torch.no_grad()
def _adopt(model: Any, donor: Any) -> None:
    """Copy the donor's decoder into the model; biases that the donor lacks become zero."""
    own = model.model.language_model
    missing, unexpected = own.load_state_dict(donor.model.language_model.state_dict(), strict=False)
    assert not unexpected
    assert all(name.endswith("bias") for name in missing)
    for name in missing:
        own.get_parameter(name).zero_()
    model.tie_weights()


@dataclass(frozen=True)
class _Embeddings:
    """CLIP's embeddings with its first normalisation folded in, which the other towers lack."""

    conv: Tensor  # (c, 3, patch, patch)
    cls: Tensor  # (c,)
    places: Tensor  # (patches, c)


@torch.no_grad()
def _embeddings(tower: Any, images: Tensor) -> _Embeddings:
    """CLIP divides each patch by its own deviation; here by the mean deviation over ``images`` (from `pixels`)."""
    own, norm = tower.embeddings, tower.pre_layrnorm
    states = own(images)
    scale = (norm.weight / states[:, 1:].std(-1, unbiased=False).mean())[:, None]
    conv, places = own.patch_embedding.weight.flatten(1), own.position_embedding.weight[1:].T
    conv, places = (scale * (part - part.mean(0)) for part in (conv, places))
    cls = norm(states[0, 0])
    return _Embeddings(conv.view_as(own.patch_embedding.weight), cls, places.T + norm.bias)


def _renamed(layer: Any, names: dict[str, str]) -> dict[str, Tensor]:
    state = {}
    for name, value in layer.state_dict().items():
        head, _, kind = name.rpartition(".")
        state[f"{names.get(head, head)}.{kind}"] = value
    return state


INTERN_NAMES = {
    "self_attn.q_proj": "attention.q_proj",
    "self_attn.k_proj": "attention.k_proj",
    "self_attn.v_proj": "attention.v_proj",
    "self_attn.out_proj": "attention.projection_layer",
    "layer_norm1": "layernorm_before",
    "layer_norm2": "layernorm_after",
}


def _scaled(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def _resized(images: Tensor, side: int) -> Tensor:
    """(B, side, side, 3) uint8 to (B, 3, side', side') of 0 to 255, as the image processors enlarge."""
    raw = images.permute(0, 3, 1, 2).float()
    return functional.interpolate(raw, side, mode="bicubic", antialias=True, align_corners=False).round().clamp(0, 255)


def tiles(images: Tensor) -> Tensor:
    """(B, side, side, 3) uint8 to (5 B, 3, side, side): the four enlarged quarters of each image, and the whole."""
    large = _resized(images, 2 * SIDE)
    parts = large.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    whole = images.permute(0, 3, 1, 2).float()[:, None]
    return _scaled(torch.cat([parts, whole], 1).flatten(0, 1), MEAN, STD)


def tile_view() -> Tensor:
    """Share of each patch in the area that each of the 180 tokens of five tiles shows, (180, patches)."""
    half = GRID // 2
    patches = torch.eye(GRID * GRID).view(GRID, GRID, -1)
    quarters = patches.view(2, half, 2, half, -1).transpose(1, 2).reshape(-1, GRID * GRID)
    whole = patches.view(half, 2, half, 2, -1).mean((1, 3)).flatten(0, 1)
    return torch.cat([quarters, whole])


def internvl(donor: Any, bpe: Tokenizer) -> Student:
    """InternVL3 with CLIP's first five layers and a projector that begins with the mean of four patches."""
    built: Any = build("internvl3", bpe)
    model, processor = built
    _adopt(model, donor)
    tower, clip, projector = model.model.vision_tower, donor.model.vision_tower, model.model.multi_modal_projector
    with torch.no_grad():
        found = _embeddings(clip, _sample(donor))
        tower.embeddings.patch_embeddings.projection.weight.copy_(found.conv)
        tower.embeddings.patch_embeddings.projection.bias.zero_()
        tower.embeddings.position_embeddings.copy_(torch.cat([found.cls[None], found.places])[None])
        for own, other in zip(tower.encoder.layer, clip.encoder.layers, strict=False):
            own.load_state_dict(_renamed(other, INTERN_NAMES), strict=False)
            own.lambda_1.fill_(1.0)
            own.lambda_2.fill_(1.0)
        first, second = donor.model.multi_modal_projector.linear_1, donor.model.multi_modal_projector.linear_2
        deviation = _features(donor).std()
        projector.linear_1.weight.copy_(deviation * first.weight.repeat(1, 4) / 4)
        projector.linear_1.bias.copy_(first.bias)
        projector.linear_2.load_state_dict(second.state_dict())

    def see(images: Tensor) -> Tensor:
        seen: Tensor = model.model.get_image_features(
            tiles(images), vision_feature_layer=-1, vision_feature_select_strategy="default"
        ).pooler_output
        return seen.reshape(len(images), -1, seen.shape[-1])

    view = tile_view()
    modules = nn.ModuleDict({"vision": tower, "projector": projector})
    return Student("internvl3", model, processor, bpe, see, view, modules, Prompts(INTERNVL, view))


def _sample(donor: Any) -> Tensor:
    """A few training scenes as CLIP sees them."""
    from scripts.miniature.pool import CHUNK, make_pool
    from scripts.miniature.vision import pixels

    return pixels(torch.from_numpy(make_pool(CHUNK, 50, workers=1).images[:64]))


def _features(donor: Any) -> Tensor:
    from scripts.miniature.vision import encode

    with torch.no_grad():
        return encode(donor.model.vision_tower, _sample(donor))[1][:, 1:]


FRAME_SIDE = 13 * PATCH
POOLED = 6  # tokens along a frame's side


def pooled_view(tokens: int, pixels: float) -> Tensor:
    """Share of each patch in the area of each token, (tokens * tokens, patches); the tokens cover ``pixels`` a side."""
    low = torch.arange(tokens)[:, None] * pixels / PATCH
    patch = torch.arange(GRID)[None]
    cover = (torch.minimum(low + pixels / PATCH, patch + 1) - torch.maximum(low, patch)).clamp_min(0)
    cover = cover / cover.sum(1, keepdim=True)
    return torch.einsum("ia,jb->ijab", cover, cover).reshape(tokens**2, GRID**2)


def frame_view() -> Tensor:
    """Share of each patch in each of a frame's 36 pooled tokens, (36, patches); these cover 12 of 13 patches a side."""
    return pooled_view(POOLED, 2 * PATCH * SIDE / FRAME_SIDE)


def video_view() -> Tensor:
    """Share of each patch in each of a video's tokens, (FRAMES * 42, FRAMES * patches); newline tokens show none."""
    frame = frame_view().view(POOLED, POOLED, -1)
    rows = torch.cat([frame, torch.zeros(POOLED, 1, GRID**2)], 1).flatten(0, 1)
    return torch.kron(torch.eye(FRAMES), rows)


def llava_video(donor: Any, bpe: Tokenizer) -> Student:
    """LLaVA-Video with CLIP's first five layers in its SigLIP, LLaVA-1.5's projector, and newlines of zero."""
    built: Any = build("llava-video", bpe)
    model, processor = built
    _adopt(model, donor)
    tower, clip, projector = model.model.vision_tower, donor.model.vision_tower, model.model.multi_modal_projector
    patches = FRAME_SIDE // PATCH
    mean, std = (tuple(getattr(processor.video_processor, name)) for name in ("image_mean", "image_std"))
    with torch.no_grad():
        found = _embeddings(clip, _sample(donor))
        # CLIP's images are scaled by other means and deviations.
        ratio = torch.tensor(std) / torch.tensor(STD)
        tower.embeddings.patch_embedding.weight.copy_(found.conv * ratio[:, None, None])
        shift = (torch.tensor(mean) - torch.tensor(MEAN)) / torch.tensor(STD)
        tower.embeddings.patch_embedding.bias.copy_((found.conv * shift[:, None, None]).sum((1, 2, 3)))
        grid = found.places.T.reshape(1, -1, GRID, GRID)
        places = functional.interpolate(grid, patches, mode="bicubic", align_corners=False)
        tower.embeddings.position_embedding.weight.copy_(places[0].flatten(1).T)
        for own, other in zip(tower.encoder.layers, clip.encoder.layers, strict=False):
            own.load_state_dict(other.state_dict())
        projector.load_state_dict(donor.model.multi_modal_projector.state_dict())
        model.model.image_newline.zero_()

    def see(images: Tensor) -> Tensor:
        values = _scaled(_resized(images, FRAME_SIDE), mean, std)
        hidden = tower.encoder(inputs_embeds=tower.embeddings(values)).last_hidden_state
        grid = projector(hidden).transpose(1, 2).unflatten(-1, (patches, patches))
        pooled: Tensor = functional.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)
        return pooled

    modules = nn.ModuleDict({"vision": tower, "projector": projector})
    prompts = Prompts(LLAVA_VIDEO, video_view())
    return Student("llava-video", model, processor, bpe, see, frame_view(), modules, prompts, model.model.image_newline)


def qwen_25_vl(donor: Any, bpe: Tokenizer) -> Student:
    """Qwen2.5-VL with CLIP's first five layers and LLaVA-1.5's projector, as far as they fit (`qwen.adopt`)."""
    built: Any = build("qwen2.5-vl", bpe)
    model, processor = built
    _adopt(model, donor)
    tower, clip = model.model.visual, donor.model.vision_tower
    features = _features(donor)
    deviation = float((features - features.mean(-1, keepdim=True)).square().mean(-1).sqrt().mean())
    qwen.adopt(tower, clip, _embeddings(clip, _sample(donor)).conv, donor.model.multi_modal_projector, deviation)
    cos, sin = qwen.rotary(tower)

    def see(images: Tensor) -> Tensor:
        return qwen.encode_windows(tower, _scaled(_resized(images, qwen.SIDE), MEAN, STD), cos, sin)

    start = len(bpe.encode(QWEN.start).ids)
    side = torch.arange(qwen.TOKENS)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    seen = start + torch.stack([torch.zeros_like(rows), rows, columns])
    places = torch.cat([torch.arange(start).expand(3, -1), seen], 1)
    view = pooled_view(qwen.TOKENS, SIDE / qwen.TOKENS)
    prompts = Prompts(QWEN, view, places, start + qwen.TOKENS)
    return Student("qwen2.5-vl", model, processor, bpe, see, view, nn.ModuleDict({"vision": tower}), prompts)


STUDENTS: dict[str, Callable[[Any, Tokenizer], Student]] = {
    "qwen2.5-vl": qwen_25_vl,
    "internvl3": internvl,
    "llava-video": llava_video,
}


def student(family: str, start: Path) -> tuple[Student, Any]:
    """A family's model before its training, and the LLaVA-1.5 that its tower learns from.

    ``start`` is the folder of a LLaVA-1.5 checkpoint, from which the family's model is made and which is the teacher.
    Or it is the folder of a checkpoint of the family's own, whose training continues; its teacher is the embedded
    LLaVA-1.5.
    """
    own = start.name == family
    donor, _, bpe = open_checkpoint(checkpoints.path(BASE) if own else start)
    made = STUDENTS[family](donor, bpe)
    if own:
        model: Any = type(made.model)
        state = model.from_pretrained(start, dtype=torch.float32).state_dict()
        with torch.no_grad():
            for name, value in made.model.state_dict().items():
                value.copy_(state[name])
    made.model.eval()
    return replace(made), donor
