"""Families without a miniature are asked a question by lmms-eval's chat model: tiny weights, their own processors."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_families
import torch
import transformers as hf
from lmms_eval.api.instance import Instance
from PIL import Image
from tiny import conditioned
from transformers import AutoProcessor

from tops.backbones import adapter_for
from tops.backbones.loading import Backbone
from tops.evaluation.asking import asker_and_reader, messages, tokens_unpruned
from tops.evaluation.media import Media
from tops.methods import build
from tops.miniature.checkpoints import ROOT

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}IMAGE{% elif content['type'] == 'video' %}VIDEO"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<image>{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def tokenizer(family: str) -> Any:
    return AutoProcessor.from_pretrained(ROOT / family).tokenizer


def wide(case: tiny_families.Case, words: Any, **ids: int) -> Any:
    """The tiny model with a row for every word of a tokenizer."""
    config = case.model.config
    config.text_config.vocab_size, config.text_config.tie_word_embeddings = len(words), False
    for name, value in ids.items():
        setattr(config, name, value)
    return conditioned(type(case.model)(config))


def onevision(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    words, sizes = tokenizer("llava-video"), {"size": {"height": 35, "width": 35}}
    case, template = tiny_families.llava_onevision(), CHATML.replace("IMAGE", "<image>\n").replace("VIDEO", "<video>\n")
    mark, video = (words.convert_tokens_to_ids(token) for token in ("<image>", "<video>"))
    model = wide(case, words, image_token_id=mark, video_token_id=video)
    images = hf.LlavaOnevisionImageProcessor(image_grid_pinpoints=model.config.image_grid_pinpoints, **sizes)
    processor: Any = hf.LlavaOnevisionProcessor(
        images, words, hf.LlavaOnevisionVideoProcessor(**sizes), num_image_tokens=25,
        vision_feature_select_strategy="full", chat_template=template,
        vision_aspect_ratio="anyres_max_3",
    )  # fmt: skip
    return model, processor


def qwen(build_case: Callable[[], Any], processor: Any) -> Callable[[pytest.MonkeyPatch], tuple[Any, Any]]:
    def make(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
        words = tokenizer("qwen2.5-vl")
        names = ("image_pad", "video_pad", "vision_start", "vision_end")
        ids = [words.convert_tokens_to_ids(f"<|{name}|>") for name in names]
        keys = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
        case = build_case()
        model = wide(case, words, **dict(zip(keys, ids, strict=True)))
        images = hf.Qwen2VLImageProcessor(patch_size=4, merge_size=2, temporal_patch_size=2)
        video = hf.Qwen3VLVideoProcessor if processor is hf.Qwen3VLProcessor else hf.Qwen2VLVideoProcessor
        template = CHATML
        for name in ("image", "video"):
            template = template.replace(name.upper(), f"<|vision_start|><|{name}_pad|><|vision_end|>")
        return model, processor(images, words, video(patch_size=4, merge_size=2), chat_template=template)

    return make


def internvl35(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    processor: Any = AutoProcessor.from_pretrained(ROOT / "internvl3")
    words = processor.tokenizer
    model = wide(tiny_families.internvl35(), words, image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"))
    processor.image_processor.size, processor.image_seq_length = {"height": 32, "width": 32}, 16
    return model, processor


def smolvlm(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    from transformers.models.smolvlm import processing_smolvlm

    monkeypatch.setattr(processing_smolvlm, "num2words", str)  # used for videos; a package of its own
    words = tokenizer("llava-1.5")
    tiles = [f"<row_{row}_col_{col}>" for row in range(1, 5) for col in range(1, 5)]
    words.add_tokens(["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles], special_tokens=True)
    model = wide(tiny_families.smolvlm(), words, image_token_id=words.convert_tokens_to_ids("<image>"))
    edge = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 24}}
    images, videos = hf.SmolVLMImageProcessor(**edge), hf.SmolVLMVideoProcessor()
    return model, processing_smolvlm.SmolVLMProcessor(images, words, videos, image_seq_len=4, chat_template=SMOL)


SMALL = {"min_pixels": 12 * 64, "max_pixels": 20 * 64}
MAKERS: dict[str, tuple[Any, dict[str, Any], int | None]] = {
    "llava-onevision": (onevision, {"image_layout": "native"}, None),
    "qwen2-vl": (qwen(tiny_families.qwen2vl, hf.Qwen2VLProcessor), SMALL, None),
    "qwen3-vl": (qwen(tiny_families.qwen3vl, hf.Qwen3VLProcessor), SMALL, None),
    "internvl3": (internvl35, {"min_patches": 4, "max_patches": 4}, 5 * 16),
    "smolvlm": (smolvlm, {"image_layout": "native"}, 13 * 4),
}


def asked(asker: Any, media: Media) -> Instance:
    asker.task_dict = {"task": {"split": {0: {}}}}
    arguments = ("", lambda _: messages("What is it?", media), {"max_new_tokens": 2}, 0, "task", "split")
    return Instance("generate_until", arguments, 0, {"task": "task", "doc_id": 0, "repeats": 1})


@pytest.mark.parametrize("family", MAKERS)
def test_a_question_about_a_picture(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, options, wanted = MAKERS[family]
    model, processor = make(monkeypatch)
    adapter = adapter_for(model)
    assert adapter.family == family
    backbone = Backbone("tiny", model, processor, adapter)
    picture = Image.effect_mandelbrot((80, 60), (-2, -1.5, 1, 1.5), 20)
    task: Any = SimpleNamespace(
        visuals=lambda _: [picture], documents=[None], benchmark=SimpleNamespace(modality="image")
    )
    asker, reader = asker_and_reader(backbone, options, task, None)
    media = reader(0, {})
    request = asked(asker, media)
    prepared = asker.prepare_prompt(request, media)
    seen, newlines = tokens_unpruned(backbone, prepared.options)
    (count,), (between,) = set(seen), set(newlines)
    layout = adapter.layout(prepared.options, [count + between])[0]
    assert between == int(layout.newline.sum())
    assert (between > 0) == (family == "llava-onevision")
    assert count == wanted if wanted else 12 <= count <= 200
    with torch.no_grad():
        whole = asker.ask(request, media)
        with backbone.prune(build("tops", budget=0.5)) as run:
            pruned = asker.ask(request, media)
    assert whole.output_tokens >= 1
    assert pruned.output_tokens >= 1
    assert "What is it?" in pruned.prompt
    assert "What is it?" in adapter.question(pruned.prompt)
    for visual, beside in zip(run.visual_tokens_per_layer, run.newlines_per_layer, strict=True):
        assert beside == (between if visual == count else 0)  # they go with the first token that is dropped
    assert sum(run.last[0].visual_tokens_per_layer) <= count * len(adapter.layers) // 2 + len(adapter.layers)


@pytest.mark.parametrize(("family", "steps", "tokens"), [("llava-onevision", 4, 9), ("qwen3-vl", 2, None)])
def test_a_question_about_a_video(family: str, steps: int, tokens: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames, which Qwen takes in pairs, a time in words before each of them."""
    model, processor = MAKERS[family][0](monkeypatch)
    backbone = Backbone("tiny", model, processor, adapter_for(model))
    task: Any = SimpleNamespace(visuals=lambda _: [], documents=[None], benchmark=SimpleNamespace(modality="video"))
    asker, _ = asker_and_reader(backbone, {"frames": 4, "min_pixels": 64**2, "max_pixels": 96**2}, task, None)
    frames = tuple(Image.effect_mandelbrot((48, 32), (-2, -1.5, 1, 1.5), 10 + i).convert("RGB") for i in range(4))
    media = Media(frames, True, (0, 8, 16, 24), 32, 8.0)
    request = asked(asker, media)
    count = tokens_unpruned(backbone, asker.prepare_prompt(request, media).options)[0][0]
    assert count == steps * tokens if tokens else count % steps == 0
    with torch.no_grad(), backbone.prune(build("random", budget=0.5)) as run:
        assert asker.ask(request, media).output_tokens >= 1
    assert run.last[0].visual_tokens_per_layer[0] == count // 2
