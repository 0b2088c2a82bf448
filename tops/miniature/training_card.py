"""The card of a trained LLaVA-1.5 in miniature: how it was made, what it can do on unseen scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tops.miniature import checkpoints, measure
from tops.miniature.training_stages import facts

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor

    from tops.miniature.scenes import Scene
    from tops.miniature.training import Recipe
    from tops.miniature.training_further import Further
    from tops.miniature.training_vision import Clip

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


def measured(model: Any, clip: Clip, bpe: Tokenizer, tokens: Tokens, patches: Tensor, scenes: int = 200) -> Facts:
    """Accuracy with the image, without, and with another one; where attention lies.

    Parameters
    ----------
    model : PreTrainedModel
        LLaVA-1.5 or LLaVA-NeXT in float32.
    clip : Clip
        Its towers.
    bpe : tokenizers.Tokenizer
        The model's.
    tokens : callable
        Scenes to their visual tokens (S, n, d).
    patches : Tensor of int64, shape (n,)
        The patch that each token shows, -1 for none.
    scenes : int
        Unseen scenes to ask about; which ones is fixed.
    """
    found = measure.scenes(scenes, SEED)
    asked = measure.questions(SEED, found)
    images = tokens(found)
    sighted, blind, other = (
        measure.accuracy(model, bpe, images, asked, image=image) for image in ("own", "none", "other")
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
        "cls_attention_on_objects": measure.cls_on_objects(clip.vision, found),
        "text_attention_on_the_asked_object": measure.text_on_object(model, bpe, found, images, patches, SEED),
    }


def first_card(model: Any, clip: Clip, work: Path, recipe: Recipe) -> Facts:
    """What the first training notes; its accuracy is not measured, as the training goes on."""
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
    """The card of the checkpoint ``start`` with the training that went on from it; its figures are left out."""
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
