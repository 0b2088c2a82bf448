"""Analytic FLOPs against torch's counter and against the paper's Table 4."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from probes import Fixed
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from tops import prune
from tops.accounting import DecoderSize, decoder_flops, paper_flops
from tops.budget import Budget, PromptShape
from tops.methods.tops import TOPS
from tops.signals import PruningPoint


def sdpa_on_cpu(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", [(), (0, 2), (1, 3)])
@torch.no_grad()
def test_decoder_flops_are_what_torch_counts(attention: str, layers: tuple[int, ...]) -> None:
    case, looked = tiny.llava(attention=attention), []

    def look(point: PruningPoint) -> None:
        if point.layer:
            point.attention(point.text_slots)
            looked.append((len(point.hidden()), len(point.text_slots)))

    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={flash: sdpa_on_cpu})
    with prune(case.model, Fixed(layers, look=look)) as run, counter:
        case.model(**case.inputs)
    size = DecoderSize.of(case.model.config.text_config)
    want = decoder_flops(size, run.last[0].tokens_per_layer)
    for tokens, rows in looked:  # the queries of some rows, the keys of all tokens, and their product
        heads, kv = size.heads * size.head_width, size.kv_heads * size.head_width
        want += 2 * rows * size.width * heads + 2 * tokens * size.width * kv + 2 * rows * tokens * heads
    counts = counter.get_flop_counts()
    counted = sum(next(c for name, c in counts.items() if name.endswith("language_model")).values())
    # The counter also sees RoPE's product of frequencies and positions.
    assert want <= counted <= want * 1.003


def test_table_4() -> None:
    next_7b = PromptShape(2880, 32, 1, "llava-next-7b")

    def tera(tokens: tuple[int, ...]) -> float:
        return round(paper_flops(4096, 11008, tokens) / 1e12, 2)

    assert tera((2880,) * 32) == 41.65
    assert tera((320,) * 32) == 4.20
    assert tera(TOPS(budget=320).schedule(next_7b).tokens_per_layer) == 4.23
    assert tera(TOPS(budget=Budget(320, "as_printed")).schedule(next_7b).tokens_per_layer) == 5.02
