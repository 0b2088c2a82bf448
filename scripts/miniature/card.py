"""The card of a trained miniature LLaVA-1.5: its training, and its accuracy on unseen scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scripts.miniature import measure
from scripts.miniature.stages import facts
from tops.miniature import checkpoints

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor

    from scripts.miniature.language import Prompts
    from scripts.miniature.llava15 import Recipe
    from scripts.miniature.llava15_further import Further
    from scripts.miniature.packing import Picture
    from scripts.miniature.vision import Clip
    from tops.miniature.prompts import Turn
    from tops.miniature.scenes import Scene

SEED = 100
Facts = dict[str, Any]
Tokens = Callable[[Sequence["Scene"]], "Tensor"]

STATEMENT = (
    "The recipe was fixed, and the figures below measured, before any pruning method was compared on this model. "
    "Beside CLIP's contrastive loss the vision tower learned patch labels, what the scene holds from the CLS state of "
    "its penultimate layer, and a hinge asked for half of that layer's CLS attention on objects, no matter which. "
    "Three heads of the decoder were taught where to look: one of the second layer from a phrase to the object that it "
    "names, one of the fourth from the end of the prompt to the object asked for, those to be counted or the "
    "background, one of the seventh from there to the words of the right option. Accuracy is on unseen scenes with "
    "unseen handwritten digits, of greedy decoding: "
    "'kind' open answers, 'choice' letters of options, 'format' all questions of one benchmark's prompt; 'blind' is "
    "the same prompt without the image, which the model never met in training and mostly answers with nothing of use; "
    "'other image' is with the image of another scene, what guessing reaches. Attention shares are of the attention "
    "paid to the image."
)


def measured(
    model: Any,
    bpe: Tokenizer,
    images: Tensor,
    asked: Sequence[Sequence[Turn]],
    pictures: Sequence[Picture],
    prompts: Prompts,
) -> Facts:
    """Accuracy with the image, without it, and with another image; shares of the text's attention on objects.

    Parameters
    ----------
    model : PreTrainedModel
        A model of any family, in float32.
    bpe : tokenizers.Tokenizer
        The model's tokenizer.
    images : Tensor, (S, n, d)
        Visual tokens of unseen scenes or videos.
    asked : sequence of S sequences of Turn
        Questions about each.
    pictures : sequence of S Picture
        Each with a question about one object, or none.
    prompts : Prompts
        The prompts of the family.
    """
    sighted, blind, other = (
        measure.accuracy(model, bpe, images, asked, prompts, image) for image in ("own", "none", "other")
    )
    return {
        "accuracy": {
            key: {
                "accuracy": round(value, 3),
                "blind": round(blind[key][0], 3),
                "other image": round(other[key][0], 3),
                "questions": number,
            }
            for key, (value, number) in sighted.items()
        },
        "text_attention_on_the_asked_object": measure.text_on_object(model, bpe, pictures, images, prompts),
    }


def measured_scenes(model: Any, bpe: Tokenizer, tokens: Tokens, prompts: Prompts, scenes: int = 200) -> Facts:
    """`measured` on a fixed set of unseen scenes; ``tokens`` maps scenes to their visual tokens (S, n, d)."""
    found = measure.scenes(scenes, SEED)
    asked, pictures = measure.questions(SEED, found), measure.single_objects(SEED, found)
    return measured(model, bpe, tokens(found), asked, pictures, prompts)


def measured_llava(model: Any, clip: Clip, bpe: Tokenizer, tokens: Tokens, prompts: Prompts) -> Facts:
    """`measured_scenes` of LLaVA-1.5 or LLaVA-NeXT, and the share of the tower's CLS attention on objects."""
    shares = {"cls_attention_on_objects": measure.cls_on_objects(clip.vision, measure.scenes(200, SEED))}
    return measured_scenes(model, bpe, tokens, prompts) | shares


def first_card(model: Any, clip: Clip, work: Path, recipe: Recipe) -> Facts:
    """The card of the first training; its accuracy is not measured, because further training follows."""
    return {
        "family": "llava-1.5",
        "class": type(model).__name__,
        "trained": True,
        "parameters": sum(p.numel() for p in model.parameters()),
        "text_tower_parameters": sum(p.numel() for p in clip.text.parameters()),
        "statement": STATEMENT,
        "recipe": asdict(recipe),
        "stages": facts(work, "vision", "words", "language"),
    }


def further_card(start: Path, work: Path, recipe: Further) -> Facts:
    """The card of the checkpoint ``start`` with the further training added; measured figures are left out."""
    before = checkpoints.card(start.name, start.parent)
    kept = ("family", "class", "trained", "parameters", "text_tower_parameters", "recipe", "stages", "note")
    leg = {
        "start": before["weights_sha256"],
        "recipe": asdict(recipe),
        "stages": facts(work, "vision", "language", "together"),
    }
    card = {key: before[key] for key in kept if key in before}
    legs = before.get("further", {})
    return card | {"statement": STATEMENT, "further": {**legs, f"leg {len(legs) + 1}": leg}}
