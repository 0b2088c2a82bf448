"""The picture of what a run kept."""

import numpy as np
import pytest

from tops.miniature.pictures import kept_picture


def test_panels_show_kept_patches_as_they_are_and_fade_the_others() -> None:
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:8, 8:] = (200, 0, 0)
    picture = np.asarray(kept_picture(image, {3: [1], 0: [0, 1]}, zoom=1))
    whole, first, second = picture[:, :16], picture[:, 24:40], picture[:, 48:64]
    assert np.array_equal(whole, image)
    assert np.array_equal(first[:8], image[:8])
    assert (first[8:] > 190).all()
    assert np.array_equal(second[:8, 8:], image[:8, 8:])
    assert (second[:8, :8] > 190).all()


def test_tokens_that_are_no_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="token 4 kept at layer 0 is none of the 2 x 2 patches"):
        kept_picture(np.zeros((16, 16, 3), dtype=np.uint8), {0: [4]})
