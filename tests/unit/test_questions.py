"""The question read from a prompt is the one that was asked, or there is none."""

from __future__ import annotations

from typing import Any

import pytest

from tops.backbones import families
from tops.errors import ConfigurationError

CHAT = "<|im_start|>system\nYou are.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
VICUNA = "A chat.</s>USER: \n{} ASSISTANT:"


def read(family: str, prompt: str) -> str:
    cls: Any = families()[family]
    words: str = cls.__new__(cls).question(prompt)
    return words


@pytest.mark.parametrize("words", ["How many?", "Say: USER or ASSISTANT", "Who says 'ASSISTANT: yes'?", "a\nb: c"])
def test_words_come_back(words: str) -> None:
    assert read("llava", VICUNA.format(words)) == words
    assert read("llava", f"USER: \n{words} ASSISTANT: one</s>USER: {words}! ASSISTANT:") == words + "!"
    for family in ("qwen2.5-vl", "internvl3", "llava-onevision"):
        assert read(family, CHAT.format(words)) == words
        assert read(family, CHAT.format("first") + "one<|im_end|>\n" + CHAT.format(words)) == words


@pytest.mark.parametrize(
    ("family", "prompt"),
    [
        ("llava", VICUNA.format("What does the sign 'USER: 3' say?")),
        ("llava", "USER: \nq ASSISTANT: He said ASSISTANT: what"),
        ("qwen2.5-vl", CHAT.format("is <|im_start|>user\n a mark?")),
        ("qwen2.5-vl", CHAT.format("is <|im_end|> a mark?")),
        ("llava", VICUNA.format("Is <b>USER: 3</b> bold?")),
        ("smolvlm", "<|im_start|>User: what is </s>User: 3?<end_of_utterance>\nAssistant:"),
    ],
)
def test_words_that_hold_the_marks_are_refused(family: str, prompt: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be told from words.*question="):
        read(family, prompt)


@pytest.mark.parametrize("family", ["llava", "internvl3"])
def test_another_template_is_refused(family: str) -> None:
    with pytest.raises(ConfigurationError, match=f"not in the chat template of {family}.*question="):
        read(family, "[INST] How many? [/INST]")
