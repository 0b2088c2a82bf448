"""What the engine must know of a model family. One file in this folder = one family = one subclass of :class:`Adapter`.

How to add a family
-------------------
1. Create ``tops/backbones/<family>.py`` with one subclass of :class:`Adapter`; found by file, nothing else to edit.
2. Name the transformers classes it serves in ``model_classes``. A subclass of one of them is served too.
3. Fill in :meth:`Adapter.layout`. It answers one question: of which image, unit and grid cell is each visual
   placeholder of a prompt, in prompt order? It sees only the keyword arguments of the model's inner ``forward``
   (``input_ids``, ``pixel_values``, ``image_sizes``, ``image_grid_thw``, ...) and runs before any compute, so that
   budgets are refused early.
4. Name in :attr:`Adapter.tower_attention` the attention modules of the vision tower, and in
   :attr:`Adapter.feature_layer` the one that saliency reads; in :meth:`Adapter.watches` whatever else the signals need.
   The engine keeps references for one prompt, copies nothing and computes nothing.
5. Turn what was seen into :class:`tops.signals.VisionSignals` in :meth:`Adapter.vision`.
   ``tops.backbones._packed.PackedSignals`` knows the mean attention received in every tower of separate q/k
   projections, ``tops.backbones._vision.TowerSignals`` the rest where there is a CLS token; subclass one of them where
   the tower differs (window order, pooling).

6. For evaluation, name lmms-eval's chat model in :attr:`Adapter.chat`, with what it reads in
   :meth:`Adapter.chat_settings`, the rule of frames, and the family's :attr:`Adapter.image_layouts`;
   :meth:`Adapter.real_config` and :meth:`Adapter.bench_media` serve the benchmarks of speed.

Modules here load torch and transformers inside the functions that need them: a plan reads the class attributes of every
family, and takes 0.4 s.

The defaults of everything else fit a ``model.model.language_model`` of Llama or Qwen2 make: decoder layers with
``input_layernorm`` and ``self_attn.{q_proj, k_proj}``, RoPE in ``rotary_emb``, mRoPE where ``rotary_emb`` has an
``mrope_section``.

Units
-----
A *unit* is what one forward of the vision tower sees: an image, a tile of an image, a frame of a video. Units are
numbered from 0 over one prompt, in the order in which the tower meets them; a batch meets the units of its first sample
first. ``Layout.patch`` is the place of a visual token among the n projected patches of its unit, so that any per-patch
quantity of shape (U, n, ...) is brought into prompt order by one gather. Newline embeddings inside the placeholder run
have ``newline=True`` and ``patch=-1``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tops.backbones._checkpoints import Checkpoints
from tops.backbones._context import Call as Call
from tops.backbones._context import Layout as Layout
from tops.backbones._context import Seen as Seen
from tops.backbones._context import VisionContext as VisionContext
from tops.backbones._context import Watch as Watch
from tops.backbones._context import attention_of as attention_of
from tops.backbones._decoder import Decoder
from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.drawing import Placing
from tops.errors import ConfigurationError, UnsupportedModelError, nearest_names
from tops.signals import Signal, Tower, VisionSignals

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn
    from transformers import BatchFeature

    from tops.backbones.inputs import Inputs
    from tops.methods.base import Positions


class Adapter(Decoder, Checkpoints):
    """Where things are in one family of multimodal models. See the module docstring for how to write one.

    Attributes
    ----------
    family : str
        Short name, the ``family=`` of ``load_backbone``.
    model_classes : tuple of str
        Names of the transformers classes served.
    model_types : tuple of str
        ``config.model_type`` values served, for loading.
    checkpoints : tuple of str
        Published hub ids, so that random weights need no configuration file.
    published : dict of (str, int, int) to str
        Catalogue name of each published size: type, depth and width of the decoder.
    signals : frozenset of Signal
        What the family has; ``TEXT_TOWER`` joins them when a text encoder is there.
    placing : str
        What a grid of tokens covers of its picture: the ``whole``, its centre ``crop``, or one of its ``tiles``.
    default_positions : str
        Position ids after a cut for methods that leave the choice to the backbone.
    turns : tuple of (str, str)
        Text before and after the user's words in the chat template, special tokens included, to tell the question from
        the template.
    chat : str
        Module of ``lmms_eval.models.chat`` whose model asks benchmarks' questions; empty where there is none.
    frame_rule : {"floor", "round"}
        How evenly spaced frames of a video are counted (:func:`tops.evaluation.videos.frame_numbers`).
    frame_pairs : bool
        Whether the model takes frames in pairs.
    token_types : bool
        Whether the model wants ``mm_token_type_ids``.
    adds_later : str
        Method of the text model, if any, that adds more visual features to hidden states behind a layer: called with
        hidden states (B, L, d), the mask of visual tokens (B, L) and their features (V, d). Cuts take them along.
    image_layouts : mapping of str to ImageLayout
        Named ways to cut an image into visual tokens.
    """

    family: ClassVar[str] = ""
    checkpoints: ClassVar[tuple[str, ...]] = ()
    published: ClassVar[dict[tuple[str, int, int], str]] = {}
    signals: ClassVar[frozenset[Signal]] = frozenset()
    placing: ClassVar[Placing] = "whole"
    default_positions: ClassVar[Positions] = "contiguous"
    turns: ClassVar[tuple[tuple[str, str], ...]] = ()
    chat: ClassVar[str] = ""
    frame_rule: ClassVar[Literal["floor", "round"]] = "floor"
    frame_pairs: ClassVar[bool] = False
    token_types: ClassVar[bool] = False
    adds_later: ClassVar[str] = ""
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {"native": NATIVE}

    # -- what a prompt looks like -------------------------------------------------------------------------------------

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Layout of every sample, from the call alone.

        Parameters
        ----------
        call : Call
            Keyword arguments of the inner forward.
        placeholders : sequence of int
            Visual placeholders of each sample, counted in ``input_ids``; the lengths the layouts must have.

        Raises
        ------
        UnsupportedModelError
            If placeholders and images do not fit together.
        """
        raise self._undefined("layout(call, placeholders)")

    def media(self, call: Call, layouts: Sequence[Layout]) -> dict[str, list[int]]:
        """Rows, along the first axis, that each sample has of an argument that is not one row a sample.

        Generation repeats every row of every argument for beams and returned sequences; the engine repeats these sample
        by sample. Empty where the class in transformers does so itself (Qwen2.5-VL).
        """
        return {}

    @property
    def tower_attention(self) -> Sequence[nn.Module]:
        """Attention modules of the vision tower, first layer to last."""
        return ()

    @property
    def feature_layer(self) -> int:
        """Number of the tower layer that saliency reads."""
        raise self._undefined("feature_layer")

    @property
    def tower(self) -> Tower:
        """The vision tower's layers."""
        depth = len(self.tower_attention)
        return Tower(depth, self.feature_layer, tuple(range(depth)))

    def watches(self, layers: Collection[int] = ()) -> list[Watch]:
        """Vision modules to keep an eye on: the attention inputs of the feature layer, and of ``layers``.

        Raises
        ------
        ConfigurationError
            If the tower has no such layer.
        """
        attention = self.tower_attention
        wrong = [layer for layer in layers if not 0 <= layer < len(attention)]
        if wrong:
            raise ConfigurationError(
                f"layer {wrong[0]} is outside the vision tower of {self.family}: its layers are 0 to "
                f"{len(attention) - 1}"
            )
        wanted = dict.fromkeys((self.feature_layer, *layers) if attention else ())
        return [Watch(attention_of(layer), attention[layer]) for layer in wanted]

    def vision(self, context: VisionContext) -> VisionSignals:
        """Signals of one sample. Must be lazy: build no tensor before a method asks."""
        raise self._undefined("vision(context)")

    def _undefined(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not define {what}; see docs/add-a-backbone.md")

    def catalogue_name(self) -> str:
        """Name under which the paper's settings are published, such as ``llava-1.5-7b``; empty for other sizes."""
        text: Any = self.text_config
        return self.published.get((text.model_type, len(self.layers), text.hidden_size), "")

    def check(self) -> None:
        """Raise ``UnsupportedModelError`` for settings of this model that the family's file cannot serve."""

    @classmethod
    def available(cls) -> frozenset[Signal]:
        """Signals of the family, CLIP's text tower included where its vision tower is CLIP's."""
        return cls.signals | ({Signal.TEXT_TOWER} if Signal.ENCODER in cls.signals else frozenset())

    @property
    def own_signals(self) -> frozenset[Signal]:
        """Signals of this model: the family's, unless its settings leave some out."""
        return self.signals

    @property
    def lacks(self) -> str:
        """Why this model lacks a signal that its family has; empty where it has all."""
        return ""

    # -- image layouts ------------------------------------------------------------------------------------------------

    @classmethod
    def image_layout_named(cls, name: str) -> ImageLayout:
        """A layout of the family.

        Raises
        ------
        ConfigurationError
            If there is none of this name; with the nearest names.
        """
        if name not in cls.image_layouts:
            raise ConfigurationError(
                f"{cls.family} has no image_layout {name!r}. {nearest_names(name, cls.image_layouts)}"
            )
        return cls.image_layouts[name]

    def process(
        self, processor: Any, layout: ImageLayout, *, text: Any, images: Sequence[Image] | None, **options: Any
    ) -> BatchFeature:
        """Arguments of the model for a prompt with images, under an image layout.

        Parameters
        ----------
        processor : ProcessorMixin
            Of the checkpoint.
        layout : ImageLayout
            One of the family's.
        text : str or list of str
            The prompt, one placeholder an image.
        images : sequence of PIL images or None
            As :meth:`ImageLayout.prepare` gives them.
        **options
            For the processor.
        """
        features: BatchFeature = processor(text=text, images=images, **options)
        return features

    def shown(self, layout: ImageLayout) -> AbstractContextManager[None]:
        """Context in which the model packs image features as a layout says; most models have one way only."""
        return nullcontext()

    @property
    def packing(self) -> str:
        """What beside pixels and sizes decides on image features, such as :meth:`shown`; empty where nothing does."""
        return ""

    # -- text ---------------------------------------------------------------------------------------------------------

    def question(self, prompt: str) -> str:
        """The user's words in a decoded prompt: the last user turn without the template's marks.

        Raises
        ------
        ConfigurationError
            If the prompt is in another template, or its words hold the template's marks.
        """
        from tops.backbones._turns import last_question

        return last_question(prompt, self.turns, self.family)

    # -- evaluation and speed -----------------------------------------------------------------------------------------

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """What the chat model of :attr:`chat` reads beside model and processor: its attributes by name."""
        return {}

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """An image or a video of random pixels, for the benchmarks of speed.

        Parameters
        ----------
        visual : int
            Visual tokens wanted, for families whose input size varies.
        frames : int
            Frames wanted, for families of videos.
        generator : torch.Generator
            Of the pixels.

        Returns
        -------
        int
            Id of its placeholder.
        int
            How many of them stand for it.
        dict of str to Tensor
            Arguments of the model.
        """
        raise UnsupportedModelError(f"family {self.family!r} names no picture to measure with; see bench_media")
