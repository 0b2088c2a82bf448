"""What a run costs: tokens per layer and FLOPs, each under a named formula. No torch at import time."""

from tops.accounting.flops import FORMULAS, DecoderSize, decoder_flops, paper_flops, rater_flops
from tops.accounting.tokens import layer_average, reduction

__all__ = [
    "FORMULAS",
    "DecoderSize",
    "decoder_flops",
    "layer_average",
    "paper_flops",
    "rater_flops",
    "reduction",
]
