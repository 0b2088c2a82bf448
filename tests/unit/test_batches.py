"""Batches: how many prompts fit, preparation that works ahead, pictures that are encoded once."""

import threading
from io import BytesIO

import pytest
import torch
from PIL import Image

from tops.evaluation.batches import MOST, ON_CPU, Room, ahead, measured
from tops.evaluation.pictures import Encoded


@pytest.mark.parametrize(("used", "free", "prompts"), [(100, 1000, 5), (100, 50, 1), (100, 10**6, MOST), (0, 0, 1)])
def test_prompts_that_fit(used, free, prompts):
    assert Room(used, free).prompts == prompts


def test_on_a_cpu_the_size_is_fixed():
    with measured(torch.device("cpu")) as room:
        pass
    assert room.prompts == ON_CPU


def test_the_next_window_is_made_while_this_one_is_used():
    made = [threading.Event() for _ in range(6)]

    def make(number):
        made[number].set()
        return 10 * number

    seen = []
    for part in ahead(make, range(6), 2):
        seen.append(part)
        assert all(event.wait(timeout=20) for event in made[: 2 * len(seen) + 2])
        # No further ahead than one window, however long this one takes.
        assert not any(event.is_set() for event in made[2 * len(seen) + 2 :])
    assert seen == [[0, 10], [20, 30], [40, 50]]
    assert list(ahead(make, [], 2)) == []


def test_what_comes_then_is_done_while_the_last_window_is_used():
    done = threading.Event()
    for part in ahead(lambda number: number, range(4), 2, done.set):
        if part == [0, 1]:
            assert not done.is_set()
    assert part == [2, 3]
    assert done.is_set()
    again = threading.Event()
    for _ in ahead(lambda number: number, range(2), 2, again.set):
        assert again.wait(timeout=20)  # it does not wait for the end of this window


def test_a_picture_is_encoded_once():
    encoded, picture = Encoded(), Image.new("L", (8, 8), 77)
    first = encoded.png(("pope", 3), picture)
    assert encoded.png(("pope", 3), picture) is first
    assert Image.open(BytesIO(first)).getpixel((4, 4)) == (77, 77, 77)
    encoded.LIMIT = 0
    assert encoded.png(("pope", 4), picture) is not encoded.png(("pope", 4), picture)
