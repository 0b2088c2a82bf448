"""Visual token pruning for multimodal LLMs.

    from tops import TOPS, prune

    with prune(model, TOPS(budget=64)) as run:
        output = model.generate(**inputs)
    run.visual_tokens_per_layer

Nothing heavy is imported before it is used: ``import tops`` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone as Backbone
    from tops.backbones.loading import load_backbone as load_backbone
    from tops.budget import Budget as Budget
    from tops.drawing import draw as draw
    from tops.engine import PromptRecord as PromptRecord
    from tops.engine import Run as Run
    from tops.engine import prune as prune
    from tops.methods.blank_image import BlankImage as BlankImage
    from tops.methods.cdpruner import CDPruner as CDPruner
    from tops.methods.dart import DART as DART
    from tops.methods.divprune import DivPrune as DivPrune
    from tops.methods.downsampling import Downsampling as Downsampling
    from tops.methods.evs import EVS as EVS
    from tops.methods.fastv import FastV as FastV
    from tops.methods.fastvid import FastVID as FastVID
    from tops.methods.free_truncation import FreeTruncation as FreeTruncation
    from tops.methods.hiprune import HiPrune as HiPrune
    from tops.methods.holov import HoloV as HoloV
    from tops.methods.pdrop import PyramidDrop as PyramidDrop
    from tops.methods.pooling import Pooling as Pooling
    from tops.methods.prumerge_plus import PruMergePlus as PruMergePlus
    from tops.methods.prunesid import PruneSID as PruneSID
    from tops.methods.random import Random as Random
    from tops.methods.scope import SCOPE as SCOPE
    from tops.methods.shuffled_image import ShuffledImage as ShuffledImage
    from tops.methods.sparsevlm import SparseVLM as SparseVLM
    from tops.methods.text_only import TextOnly as TextOnly
    from tops.methods.tops import TOPS as TOPS
    from tops.methods.trim import TRIM as TRIM
    from tops.methods.uniform import Uniform as Uniform
    from tops.methods.vidcom2 import VidCom2 as VidCom2
    from tops.methods.visionzip import VisionZip as VisionZip
    from tops.methods.vispruner import VisPruner as VisPruner
    from tops.methods.vscan import VScan as VScan
    from tops.registration import register as register
    from tops.reporting.data.frames import results as results
    from tops.tokens import Selection as Selection
    from tops.tokens import VisualTokens as VisualTokens

_HOMES = {
    "Backbone": "tops.backbones.loading",
    "Budget": "tops.budget",
    "PromptRecord": "tops.engine",
    "Run": "tops.engine",
    "Selection": "tops.tokens",
    "VisualTokens": "tops.tokens",
    "load_backbone": "tops.backbones.loading",
    "draw": "tops.drawing",
    "prune": "tops.engine",
    "BlankImage": "tops.methods.blank_image",
    "CDPruner": "tops.methods.cdpruner",
    "DART": "tops.methods.dart",
    "DivPrune": "tops.methods.divprune",
    "Downsampling": "tops.methods.downsampling",
    "FastV": "tops.methods.fastv",
    "FreeTruncation": "tops.methods.free_truncation",
    "PyramidDrop": "tops.methods.pdrop",
    "Pooling": "tops.methods.pooling",
    "PruMergePlus": "tops.methods.prumerge_plus",
    "Random": "tops.methods.random",
    "SCOPE": "tops.methods.scope",
    "ShuffledImage": "tops.methods.shuffled_image",
    "SparseVLM": "tops.methods.sparsevlm",
    "TextOnly": "tops.methods.text_only",
    "TOPS": "tops.methods.tops",
    "TRIM": "tops.methods.trim",
    "Uniform": "tops.methods.uniform",
    "EVS": "tops.methods.evs",
    "FastVID": "tops.methods.fastvid",
    "HiPrune": "tops.methods.hiprune",
    "HoloV": "tops.methods.holov",
    "PruneSID": "tops.methods.prunesid",
    "VidCom2": "tops.methods.vidcom2",
    "VisPruner": "tops.methods.vispruner",
    "VScan": "tops.methods.vscan",
    "VisionZip": "tops.methods.visionzip",
    "register": "tops.registration",
    "results": "tops.reporting.data.frames",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if not name.startswith("_") and name[:1].isupper():
        # Methods of other packages, under the names of their classes.
        from tops.methods import method_class, method_names

        for method in method_names():
            cls = method_class(method)
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
