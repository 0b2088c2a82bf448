"""The paper's propositions on features of a real picture, as the vision tower of the miniature makes them."""

import numpy as np
import pytest
import torch
from PIL import Image

from tops.miniature import checkpoints
from tops.paper.propositions import cosine, coverage_gain, diversity_gain, rising_gains


@pytest.fixture(scope="module")
def similarity():
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = checkpoints.path("llava-1.5")
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    pixels = AutoProcessor.from_pretrained(folder).image_processor(picture, return_tensors="pt")["pixel_values"]
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        projected = model.model.multi_modal_projector(hidden)
    return cosine(projected[0].double().numpy())


@pytest.mark.parametrize("gain", [coverage_gain, diversity_gain])
def test_gains_diminish_on_real_features(similarity, gain):
    assert similarity.shape == (144, 144)
    assert rising_gains(similarity, gain, np.random.default_rng(0)) == 0
