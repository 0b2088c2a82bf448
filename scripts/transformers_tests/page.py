"""The page of the last run: what passed, what was refused by name, and what cannot pass with fewer tokens."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Report = Mapping[str, Mapping[str, Any]]
"""By test what the plugin's ``Seen`` says."""

REFUSALS: dict[str, str] = {
    "is a static cache": "static caches: their length is fixed before pruning shortens the prompt",
    "is in training mode": "training mode",
    "labels under pruning": "`labels`: logits are shorter than they",
    "inputs_embeds without input_ids": "`inputs_embeds` without `input_ids`: image and text cannot be told apart",
    "only 2-D masks": "attention masks of four dimensions",
    "hides .* visual placeholders": "masks that hide image placeholders",
    "stands alone": "placeholders of an image among random token ids",
    "were given|give \\d+|than the|but its prompt|has .* patches": "pixels and placeholders that do not fit together",
    "was filled outside|cropped or extended": "caches that were filled or cut elsewhere, as in assisted decoding",
    "assistant_model|prompt_lookup|assistant_early_exit": "assisted decoding, prompt lookup",
    "reads several layers": "features of several layers of the vision tower",
    "sliding_attention": "decoder layers that attend in windows",
    "packed sequences": "packed sequences",
    "position_ids of shape": "position ids of other shapes",
    "budget|at least|tokens": "budgets that the prompt cannot meet",
}
"""By a pattern of the refusal's words what is refused; the first that fits counts."""

DIFFERS: dict[str, str] = {
    r"differ: .*\d+.* != .*\d+|torch\.Size.* != |[Ss]hape|The size of tensor": (
        "expect logits, states, attention or caches as long as the whole prompt"
    ),
}
"""By a pattern of its error why a test cannot hold with fewer tokens."""

_HEAD = """# transformers' own tests

This page is written by `python -m scripts.transformers_tests FOLDER --write`, where `FOLDER` is a checkout of
transformers at the installed version (its wheel has no tests). The command runs transformers' own tests under pruning:
every call that a test makes of a served model runs in a `prune()` block of its own. There are three modes:

- `keep-all` keeps every token, but writes all rows anew at two layers (a prompt with padding is left uncut). Each call
  also runs without a block, so that all values can be compared.
- `before` keeps half of the tokens before the language model.
- `inside` keeps half of the tokens from layer 1 on. A prompt of one visual token, as in the tests of the Qwen
  families, keeps it.

A call that pruning refuses is noted and runs unpruned. Tests that need weights from a hub, and tests that compile,
export, train, save or load the model, are left out. Some of transformers' testers mask prompts with a triangle of
zeros; here their masks are all ones.

"""

_COLUMNS = """\
In the tests counted under *pass* at least one call ran under pruning; in those *refused in part* another call was
refused. In those *refused whole* every call was refused. Tests *without a served model* call no served model. Tests
that *differ by their meaning* are those of the last section: they cannot hold with fewer tokens, or fail without
pruning too. Skipped tests are not counted."""

_REFUSED = "Number of tests in which a call was refused for this reason, in `keep-all`."


def refusal_of(words: str) -> str:
    """What was refused, in the words of the table."""
    return next((name for pattern, name in REFUSALS.items() if re.search(pattern, words)), words.split(":")[0])


def reason_of(error: str) -> str:
    """Why a test cannot hold with fewer tokens; empty where no reason is known."""
    return next((why for pattern, why in DIFFERS.items() if re.search(pattern, error)), "")


def kind(seen: Mapping[str, Any]) -> str:
    """``skipped``, ``failed``, ``unreached``, ``refused``, ``partly`` or ``pruned``."""
    if seen["outcome"] in ("skipped", "failed"):
        return str(seen["outcome"])
    if not seen["pruned"]:
        return "refused" if seen["refused"] else "unreached"
    return "partly" if seen["refused"] else "pruned"


def page(reports: Mapping[tuple[str, str], Report], version: str, source: str) -> str:
    """The document, Markdown.

    Parameters
    ----------
    reports : mapping
        By family and mode.
    version : str
        Of transformers.
    source : str
        Where the tests are from.
    """
    lines = [_HEAD + f"Last run: transformers {version}, tests of {source}.", ""]
    lines += [
        "## Tests",
        "",
        _COLUMNS,
        "",
        "| family | mode | pass | of them refused in part | refused whole | without a served model |",
    ]
    lines[-1] += " differ by their meaning | fail | values compared | differing |"
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    refused: dict[str, Counter[str]] = {}
    differ: dict[str, set[str]] = {}
    fail: list[str] = []
    for (family, mode), report in sorted(reports.items()):
        kinds = Counter(kind(seen) for seen in report.values())
        meant = 0
        for test, seen in report.items():
            for words in seen["refused"]:
                refused.setdefault(refusal_of(words), Counter())[family] += mode == "keep-all"
            if kind(seen) != "failed":
                continue
            why = "fail without pruning too" if seen.get("stock") == "failed" else ""
            why = why or (reason_of(seen["error"]) if mode != "keep-all" else "")
            meant += bool(why)
            if why:
                differ.setdefault(why, set()).add(f"`{test}`")
            else:
                fail.append(f"- {family}, {mode}: `{test}`: {seen['error']}")
        values = sum(seen["values"] for seen in report.values())
        differing = sum(seen["differing"] for seen in report.values())
        compared = f"{values:,} | {differing:,}" if mode == "keep-all" else "– | –"
        lines.append(
            f"| {family} | {mode} | {kinds['pruned'] + kinds['partly']} | {kinds['partly']} | {kinds['refused']} | "
            f"{kinds['unreached']} | {meant} | {kinds['failed'] - meant} | {compared} |"
        )
    families = sorted({family for family, _ in reports})
    lines += ["", "## Refused by name", "", _REFUSED, ""]
    lines += [f"| what | {' | '.join(families)} |", f"|---|{'---|' * len(families)}"]
    for name, counts in sorted(refused.items()):
        lines.append(f"| {name} | {' | '.join(str(counts[family] or '–') for family in families)} |")
    if differ:
        lines += [
            "",
            "## Tests that cannot hold with fewer tokens, or do not hold at all",
            "",
            "| why | tests |",
            "|---|---|",
        ]
        lines += [f"| {why} | {', '.join(sorted(tests))} |" for why, tests in sorted(differ.items())]
    if fail:
        lines += ["", "## Failures", "", *fail]
    return "\n".join(lines) + "\n"


def read(folder: Path) -> dict[tuple[str, str], Report]:
    """Reports by family and mode, from ``<family>.<mode>.json``."""
    out: dict[tuple[str, str], Report] = {}
    for path in sorted(folder.glob("*.json")):
        family, mode = path.stem.split(".")
        out[family, mode] = json.loads(path.read_text(encoding="utf-8"))
    return out
