"""Where the parts of a multimodal model are, and how a decoder layer is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel


class Decoder:
    """A model's parts, as in ``model.model.language_model`` of Llama or Qwen2 make; families override what differs.

    Parameters
    ----------
    model : PreTrainedModel
        Of a class that the family serves.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @property
    def outer(self) -> nn.Module:
        """Inner multimodal model: takes ``input_ids`` and pixels, calls the text model with ``inputs_embeds``."""
        return self._module(self.model, "model")

    @property
    def text_model(self) -> nn.Module:
        """Decoder stack: ``layers``, ``norm``, ``rotary_emb``, ``config``."""
        return self._module(self.outer, "language_model")

    @property
    def layers(self) -> nn.ModuleList:
        """Decoder layers."""
        from torch import nn

        layers = self._module(self.text_model, "layers")
        assert isinstance(layers, nn.ModuleList)
        return layers

    @property
    def text_config(self) -> PretrainedConfig:
        """Configuration of the decoder stack."""
        config: PretrainedConfig = self.text_model.config  # type: ignore[assignment]
        return config

    @property
    def placeholder_ids(self) -> tuple[int, ...]:
        """Token ids that stand for visual tokens in ``input_ids``."""
        config = self.model.config
        ids = (getattr(config, name, None) for name in ("image_token_id", "video_token_id"))
        return tuple(i for i in ids if i is not None)

    def queries_keys(self, layer: nn.Module, hidden: Tensor, rows: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Query and key projections of a decoder layer, before RoPE.

        Parameters
        ----------
        layer : nn.Module
            Decoder layer.
        hidden : Tensor, (L, d)
            Its input, before the layer's own norm.
        rows : Tensor or None, (R,) int64
            Query rows; None for no queries.

        Returns
        -------
        Tensor or None, (H, R, head_dim)
        Tensor, (KV, L, head_dim)
        """
        attention: Any = layer.self_attn
        normed = layer.input_layernorm(hidden[None])[0]  # type: ignore[operator]
        size = attention.head_dim
        keys = attention.k_proj(normed).view(len(normed), -1, size)
        keys = attention.k_norm(keys) if hasattr(attention, "k_norm") else keys
        if rows is None:
            return None, keys.transpose(0, 1)
        queries = attention.q_proj(normed[rows]).view(len(rows), -1, size)
        queries = attention.q_norm(queries) if hasattr(attention, "q_norm") else queries
        return queries.transpose(0, 1), keys.transpose(0, 1)

    def rotary(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin for position ids (B, L), or (3, B, L) under mRoPE; each (B, L, head_dim)."""
        cos, sin = self._module(self.text_model, "rotary_emb")(like, positions)
        return cos, sin

    def scaling(self, layer: nn.Module) -> float:
        """Factor on query-key products."""
        return float(layer.self_attn.scaling)  # type: ignore[arg-type, union-attr]

    def final_norm(self, hidden: Tensor) -> Tensor:
        """(L, d) -> (L, d): the norm before the language-model head."""
        normed: Tensor = self._module(self.text_model, "norm")(hidden)
        return normed

    @staticmethod
    def _module(parent: nn.Module, name: str) -> nn.Module:
        from torch import nn

        child = getattr(parent, name, None)
        if not isinstance(child, nn.Module):
            raise UnsupportedModelError(
                f"{type(parent).__name__} has no module {name!r}; transformers >= 5.17 is needed"
            )
        return child
