"""One byte-level BPE tokenizer for all miniature families, trained on the generated text (English and Chinese)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Same ids in every family, so that one language model can serve several of them.
SPECIALS = (
    "<pad>",
    "<s>",
    "<unk>",
    "</s>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<image>",
    "<video>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
)
TOKEN_ID = {token: place for place, token in enumerate(SPECIALS)}
VOCABULARY = 1280


def train_bpe(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Byte-level BPE over ``texts``.

    Words of the texts become single tokens where frequency allows; Chinese characters stay apart, so that a colour is
    the same token in every phrase. Decoding drops one leading space, as Llama's tokenizer does: an answer is " yes" to
    the model and "yes" to the reader.

    Parameters
    ----------
    texts : iterable of str
        The corpus; its order does not matter.
    vocabulary : int
        Most tokens, the 256 bytes and `SPECIALS` included.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(sorted(texts), trainer)
    return bpe


def fast_tokenizer(
    bpe: Tokenizer, *, bos: str | None, eos: str, pad: str = "<pad>", **names: str
) -> PreTrainedTokenizerFast:
    """The transformers tokenizer of one family.

    Parameters
    ----------
    bpe : tokenizers.Tokenizer
        From `train_bpe`; left unchanged.
    bos : str or None
        Token put before every text (Llama), or None where the chat template brings all (Qwen).
    eos, pad : str
        Names from `SPECIALS`. ``eos`` also ends a text when it is ``"<|endoftext|>"``, as in CLIP.
    **names : str
        Further named tokens, such as ``image_token``.
    """
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer.from_str(bpe.to_str())
    if bos:
        tail = f" {eos}" if eos == "<|endoftext|>" else ""
        used = [(token, TOKEN_ID[token]) for token in (bos, eos)]
        own.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A{tail}", pair=f"{bos} $A{tail} $B{tail}", special_tokens=used
        )
    make: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = make(
        tokenizer_object=own,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        unk_token="<unk>",
        model_max_length=77 if eos == "<|endoftext|>" else 32768,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=names,
    )
    return made
