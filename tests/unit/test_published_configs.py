"""What is known of the published configurations, from the source that each fixture names, against what is built."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from probes import Given

from tops.backbones import families
from tops.backbones._llava_video_model import QWEN_1_5, LlavaVideoProcessor
from tops.backbones.loading import load_backbone
from tops.engine.checks import check_model
from tops.miniature.checkpoints import ROOT
from tops.tokens import Selection

FOLDER = Path(__file__).parents[1] / "fixtures" / "published"
ALL: dict[str, Any] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
WHOLE = [name for name, known in ALL.items() if "config" in known]
# Of no effect on what the model computes.
IDLE = {"architectures", "transformers_version", "_name_or_path", "ignore_index", "use_image_newline_parameter"}


def family(known: dict[str, Any]) -> Any:
    return next(cls for cls in families().values() if known["checkpoint"] in cls.checkpoints)


def sizes(config: Any) -> dict[str, Any]:
    """What decides on shapes and numbers, of decoder and tower."""
    text, vision = config.text_config.to_dict(), config.vision_config.to_dict()
    out = {f"text.{k}": text.get(k) for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
           "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "rope_parameters", "hidden_act",
           "layer_types")}  # fmt: skip
    out |= {f"vision.{k}": v for k, v in vision.items() if isinstance(v, int | list | str) and k in VISION}
    # Older files name the rotation twice.
    out["text.rope_parameters"] = {k: v for k, v in out["text.rope_parameters"].items() if k != "type"}
    names = ("image_token_id", "video_token_id", "vision_feature_layer", "vision_feature_select_strategy",
             "image_grid_pinpoints", "tie_word_embeddings")  # fmt: skip
    return out | {name: getattr(config, name, None) for name in names}


VISION = ("hidden_size", "intermediate_size", "num_hidden_layers", "depth", "num_attention_heads", "num_heads",
          "image_size", "patch_size", "spatial_merge_size", "temporal_patch_size", "window_size",
          "fullatt_block_indexes", "out_hidden_size", "tokens_per_second", "hidden_act")  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_published_file_is_the_size_that_random_weights_have(name: str, tmp_path: Path) -> None:
    known = ALL[name]
    (tmp_path / "config.json").write_text(json.dumps(known["config"]))
    cls = family(known)
    read, built = cls.load_config(str(tmp_path), None), cls.real_config(known["checkpoint"])
    assert sizes(read) == sizes(built)
    with torch.device("meta"):
        model = cls.model_class(read)(read)
    adapter = cls(model)
    adapter.check()
    assert adapter.catalogue_name() == name
    if "parameters" in known:
        assert sum(p.numel() for p in model.parameters()) == known["parameters"]


def test_every_backbone_of_the_paper_is_known() -> None:
    checkpoints = {checkpoint for cls in families().values() for checkpoint in cls.checkpoints}
    assert {known["checkpoint"] for known in ALL.values()} <= checkpoints
    assert len(ALL) == 7


@pytest.mark.parametrize("name", ALL)
def test_facts_of_the_published_files(name: str) -> None:
    known, cls = ALL[name], family(ALL[name])
    config = cls.real_config(known["checkpoint"])
    for path, value in known.get("facts", {}).items():
        if not path.startswith("processor."):
            assert reduce(getattr, path.split("."), config) == value, path


def test_the_video_processor_has_the_authors_settings() -> None:
    from test_original_checkpoints import qwen_tokenizer

    known = ALL["llava-video-7b"]
    config = family(known).real_config(known["checkpoint"])
    config.image_token_index, config.video_token_index = 40, 41
    processor = LlavaVideoProcessor.for_original(config, qwen_tokenizer(40))
    for path, value in known["facts"].items():
        if path.startswith("processor."):
            got: Any = getattr(processor.video_processor, path.removeprefix("processor."))
            assert (dict(got) if isinstance(value, dict) else list(got)) == value
    rows, columns = known["frame"]
    frames = [torch.zeros(3, 8, 8)] * 64
    assert (
        len(processor.replace_video_token({"pixel_values_videos": [frames]}, 0)) == len("<video>") * 64 * rows * columns
    )


TEMPLATES = {name: known["chat_template"] for name, known in ALL.items() if "chat_template" in known}
MINIATURE = {"llava": "llava-1.5"}  # the others are named like their family


@torch.no_grad()
@pytest.mark.parametrize("name", [*TEMPLATES, "llava-video-7b"])
def test_the_question_is_found_in_a_prompt_of_the_published_template(name: str) -> None:
    """In most templates the marks of a turn are special tokens; what they enclose is the question, and nothing else."""
    cls = family(ALL[name])
    backbone = load_backbone(ROOT / MINIATURE.get(cls.family, cls.family))
    processor, video = backbone.processor, cls.family == "llava-video"
    content = [{"type": "video" if video else "image"}, {"type": "text", "text": "What colour is it?"}]
    turn = [{"role": "user", "content": content}]
    template = QWEN_1_5 if video else TEMPLATES[name]
    prompt = processor.apply_chat_template(turn, chat_template=template, add_generation_prompt=True)
    if not video:
        assert prompt == processor.apply_chat_template(turn, add_generation_prompt=True), "the miniature's own template"
    picture = torch.zeros(3, 60, 60, dtype=torch.uint8)
    shown: Any = {"videos": [picture[None]], "do_sample_frames": False} if video else {"images": [picture]}
    asked: list[str] = []

    def select(point: Any) -> Selection:
        asked.append(point.text.question)
        return Selection(torch.arange(2))

    with backbone.prune(Given({0: select})):
        backbone.model(**processor(text=prompt, return_tensors="pt", **shown))
    assert asked == ["What colour is it?"]


@pytest.mark.parametrize("name", ALL)
def test_decoders_of_the_published_sizes_attend_fully(name: str) -> None:
    """No sliding window hides in a published configuration."""
    backbone = load_backbone(ALL[name]["checkpoint"], weights="random", device_map="meta")
    with pytest.raises(Exception, match="offloaded or not loaded"):  # the only thing in the way on the meta device
        check_model(backbone.adapter)
