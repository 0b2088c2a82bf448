"""The words in which each toolkit asks, as whole prompts, and what is refused before anything is planned."""

from dataclasses import replace

import pytest

from tops.benchmarks.benchmark import benchmark_names, load_benchmark
from tops.benchmarks.wording import check_wording, inline_options, parts_of, worded
from tops.errors import ConfigurationError, DataError
from tops.planning import resolve
from tops.planning.plan import plan
from tops.settings.choices import backbone_config, load_experiment, load_profile
from tops.settings.schema import ColumnConfig

DOCUMENTS = {
    "ai2d": {"question": "Which letter is the egg?", "options": ["a", "b", "k", "y"], "answer": "0"},
    "mmstar": {"question": "How many cats?\nOptions: A: One, B: Two, or more, C: Three, D: None"},
    "scienceqa_img": {"question": "Which is a solid?", "hint": "Look at it.", "choices": ["water", "stone"]},
    "mmbench_en": {"question": "Where?", "hint": "nan", "A": "left", "B": "right", "C": "nan", "D": "nan"},
    "mmbench_cn": {"question": "在哪里?", "hint": "看图", "A": "左", "B": "右", "C": "nan", "D": "nan"},
    "pope": {"question": "Is there a dog in the image?"},
    "mme": {"question": "Is this a cat? Please answer yes or no."},
    "hallusionbench": {"question": "Is the line longer?"},
}
LETTER = "Please select the correct answer from the options above."
DIRECTLY = "\nAnswer with the option's letter from the given choices directly."
WORD = "Answer the question using a single word or phrase."
# VLMEvalKit e8e78f0 and LLaVA c121f04, by benchmark, convention and family of models.
PROMPTS = {
    ("ai2d", "vlmevalkit", "qwen2.5-vl"): "Question: Which letter is the egg?\nOptions:\nA. a\nB. b\nC. k\nD. y\n"
    + LETTER
    + " \n",
    ("ai2d", "vlmevalkit", "internvl3"): "Which letter is the egg?\nA. a\nB. b\nC. k\nD. y" + DIRECTLY,
    ("mmstar", "vlmevalkit", "qwen2.5-vl"): "Question: How many cats?\nOptions:\nA. One\nB. Two, or more\nC. Three\n"
    "D. None\n" + LETTER + " \n",
    ("mmstar", "vlmevalkit", "internvl3"): "How many cats?\nA. One\nB. Two, or more\nC. Three\nD. None" + DIRECTLY,
    (
        "scienceqa_img",
        "vlmevalkit",
        "qwen2.5-vl",
    ): "Hint: Look at it.\nQuestion: Which is a solid?\nOptions:\nA. water\nB. stone\n" + LETTER + " \n",
    ("scienceqa_img", "vlmevalkit", "internvl3"): "Look at it.\nWhich is a solid?\nA. water\nB. stone" + DIRECTLY,
    ("mmbench_en", "vlmevalkit", "qwen2.5-vl"): "Question: Where?\nOptions:\nA. left\nB. right\n" + LETTER + " \n",
    ("mmbench_en", "vlmevalkit", "internvl3"): "Where?\nA. left\nB. right" + DIRECTLY,
    ("mmbench_en", "llava", "llava"): "Where?\nA. left\nB. right" + DIRECTLY,
    ("mmbench_cn", "vlmevalkit", "qwen2.5-vl"): "Hint: 看图\nQuestion: 在哪里?\nOptions:\nA. 左\nB. 右\n"
    + LETTER
    + " \n",
    ("mmbench_cn", "vlmevalkit_custom", "qwen2.5-vl"): "Hint: 看图\nQuestion: 在哪里?\nOptions:\nA. 左\nB. 右\n"
    "请直接回答选项字母。",
    ("mmbench_cn", "vlmevalkit", "internvl3"): "看图\n在哪里?\nA. 左\nB. 右\n请直接回答选项字母。",
    ("mmbench_cn", "llava", "llava-next"): "看图\n在哪里?\nA. 左\nB. 右\n请直接回答选项字母。",
    ("pope", "vlmevalkit", "qwen2.5-vl"): "Is there a dog in the image? Please answer yes or no.",
    ("pope", "vlmevalkit", "internvl3"): "Is there a dog in the image? Please answer yes or no.",
    ("mme", "vlmevalkit", "qwen2.5-vl"): "Is this a cat? Please answer yes or no.",
    ("mme", "vlmevalkit", "internvl3"): f"Is this a cat? Please answer yes or no. {WORD}",
    ("hallusionbench", "vlmevalkit", "qwen2.5-vl"): "Is the line longer?",
    ("hallusionbench", "vlmevalkit_custom", "qwen2.5-vl"): "Is the line longer? Please answer yes or no.",
    ("hallusionbench", "vlmevalkit", "internvl3"): f"Is the line longer? Please answer yes or no. {WORD}",
}


@pytest.mark.parametrize("place", PROMPTS, ids="-".join)
def test_prompts_are_those_of_the_toolkit(place):
    name, convention, family = place
    bench = load_benchmark(name)
    settings = bench.prompt_settings(convention, family)
    parts = parts_of(DOCUMENTS[name], question=bench.question, hint=bench.hint, choices=bench.choices)
    assert worded(settings, parts) == PROMPTS[place]


@pytest.mark.parametrize("name", sorted({name for name, _, _ in PROMPTS}))
def test_answers_end_where_the_toolkit_ends_them(name):
    bench = load_benchmark(name)
    spec = bench.spec("h", convention="vlmevalkit", family="internvl3")
    assert spec.generation["max_new_tokens"] == 4096
    assert bench.spec("h", convention="vlmevalkit", family="qwen2.5-vl").generation["max_new_tokens"] == 2048
    assert bench.spec("h", convention="vlmevalkit", profile="miniature").generation["max_new_tokens"] == 16
    assert spec.prompt["convention"] == "vlmevalkit"
    assert "vlmevalkit" in bench.scorers


def test_the_default_convention_leaves_keys_as_they_were():
    for name in benchmark_names():
        bench = load_benchmark(name)
        spec = bench.spec("h", family="internvl3")
        assert spec.prompt == {"convention": "default", **bench.prompt}
        assert spec.generation == {"allow_empty": False, **bench.generation}


def test_one_convention_asks_two_families_in_their_own_words():
    profile = load_profile("paper")
    asked = [
        resolve.benchmark_spec("mme", profile, None, "vlmevalkit", backbone_config(b).family).prompt["text"]
        for b in ("qwen2.5-vl-7b", "internvl3-8b")
    ]
    assert asked == ["{question}", "{question} Answer the question using a single word or phrase."]


@pytest.mark.parametrize(
    ("text", "asked", "options"),
    [
        ("Q?\nOptions: A: x, B: y", "Q?", {"A": "x", "B": "y"}),
        ("Q? Options: here\nOptions: A: x, y, B: C: z", "Q? Options: here", {"A": "x, y", "B": "C: z"}),
        ("Q?", "Q?", {}),
    ],
)
def test_options_inside_a_question(text, asked, options):
    assert inline_options(text) == (asked, options)


def test_a_document_without_its_parts_is_refused():
    with pytest.raises(DataError, match="no field 'hint'"):
        parts_of({"question": "q"}, question="question", hint="hint")
    with pytest.raises(DataError, match="has no options"):
        parts_of({"question": "q"}, question="question", choices="inline")
    braces = parts_of({"question": "{x} in {options}?"}, question="question")
    assert worded({"text": "{question}{options}"}, braces) == "{x} in {options}?"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text": "{qestion}"}, "Did you mean 'question'"),
        ({"text": "{question", "option": "x"}, "text is"),
        ({"text": "x", "opton": "y"}, "Did you mean 'option'"),
        ({"text": "x", "option": 3}, "not a text"),
    ],
)
def test_a_wording_that_cannot_be_filled_is_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        check_wording(settings, "here")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (ColumnConfig("gqa", convention="vlmevalkit"), "'gqa' has no prompt convention 'vlmevalkit'; it has default"),
        (ColumnConfig("pope", convention="vlmevalki"), "Did you mean 'vlmevalkit'"),
        (ColumnConfig("pope", scorer="lava"), "it has llava, lmms-eval, vlmevalkit. Did you mean 'llava'"),
    ],
)
def test_a_column_that_a_benchmark_lacks_is_refused_in_the_plan(column, message):
    exp = replace(load_experiment("smoke"), benchmarks=(column,))
    with pytest.raises(ConfigurationError, match=f"experiment 'smoke': .*{message}"):
        plan(exp, "miniature", status=False)


def test_a_toolkit_gives_columns_its_words_and_rules_where_it_has_them():
    columns = {c.benchmark: (c.convention, c.scorer) for c in plan("table1", "paper", status=False).columns}
    assert columns["mmbench_cn"] == ("llava", "llava")
    assert columns["gqa"] == ("", "llava")
    assert columns["mmvet"] == ("", "")
    small = {c.benchmark: (c.convention, c.scorer) for c in plan("table1", "miniature", status=False).columns}
    assert {b: pair for b, pair in small.items() if pair != columns[b]} == {"mmbench_cn": ("", "llava")}
    videos = {c.benchmark: c.convention for c in plan("table3", "miniature", status=False).columns}
    assert videos["videomme"] == ""
    with pytest.raises(ConfigurationError, match="mmbench_cm"):
        plan("table1", replace(load_profile("miniature"), stock_words=("mmbench_cm",)), status=False)
    two = plan("table2", "paper", status=False).columns
    assert {c.benchmark for c in two if c.convention == c.scorer == "vlmevalkit"} == {c.benchmark for c in two}
    with pytest.raises(ConfigurationError, match=r"knows the toolkit 'lava'\. Did you mean 'llava'"):
        plan(replace(load_experiment("table1"), toolkit="lava"), "paper", status=False)
