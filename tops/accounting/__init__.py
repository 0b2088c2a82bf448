"""What a run costs in FLOPs, each count under a named formula. No torch at import time."""

from tops.accounting.flops import FORMULAS, DecoderSize, decoder_flops, paper_flops

__all__ = ["FORMULAS", "DecoderSize", "decoder_flops", "paper_flops"]
