"""How a family's checkpoints are recognised and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


class Checkpoints:
    """Loading by transformers' own classes; families override what differs.

    Attributes
    ----------
    model_classes, model_types : tuple of str
        As in :class:`tops.backbones.base.Adapter`.
    """

    model_classes: ClassVar[tuple[str, ...]] = ()
    model_types: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Configuration of a published checkpoint at its true size, for ``weights="random"``. No download."""
        raise UnsupportedModelError(f"no published sizes are known for {checkpoint!r}; use weights='pretrained'")

    @classmethod
    def model_class(cls, config: PretrainedConfig) -> type[PreTrainedModel]:
        """The transformers class to build or load."""
        import transformers

        return getattr(transformers, cls.model_classes[0])  # type: ignore[no-any-return]

    @classmethod
    def reads(cls, content: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is of this family, from its ``config.json``.

        The type alone does not tell: files in the layout of LLaVA's own code are of type ``llava`` too."""
        named = content.get("architectures") or cls.model_classes
        return content.get("model_type") in cls.model_types and not set(named).isdisjoint(cls.model_classes)

    @classmethod
    def load_config(cls, checkpoint: str, revision: str | None) -> PretrainedConfig:
        """Configuration of a checkpoint."""
        from transformers import AutoConfig

        config: PretrainedConfig = AutoConfig.from_pretrained(checkpoint, revision=revision)
        return config

    @classmethod
    def load_model(
        cls, checkpoint: str, config: PretrainedConfig, **options: Any
    ) -> tuple[PreTrainedModel, dict[str, Any]]:
        """Model and loading report (``missing_keys``, ``mismatched_keys``); safetensors only.

        Parameters
        ----------
        checkpoint : str
            Hub id or local folder.
        config : PretrainedConfig
            From :meth:`load_config`.
        **options
            ``revision``, ``dtype``, ``device_map``, ``attn_implementation``.
        """
        build: Any = cls.model_class(config)
        model, report = build.from_pretrained(
            checkpoint, config=config, use_safetensors=True, output_loading_info=True, **options
        )
        return model, report

    @classmethod
    def load_processor(cls, checkpoint: str, revision: str | None) -> Any:
        """Processor of a checkpoint."""
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(checkpoint, revision=revision)  # type: ignore[no-untyped-call]
