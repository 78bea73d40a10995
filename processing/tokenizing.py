"""Queries and captions as tokens, padded as the model's text tower wants them."""

import threading
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

__all__ = ["count_tokens", "has_mask", "token_limit", "tokenize"]

logger = logging.get_logger(__name__)

UNKNOWN = 1_000_000  # above it, a limit is what transformers writes for "unknown"

# A tokenizer keeps how it pads and cuts, and takes that from each call: threads that share one take turns. Not on the
# processor, which is copied and saved with all that it has.
_TOKENIZING = threading.Lock()


def token_limit(tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> int:
    """Tokens that a text may have: the tokenizer's own limit, or `max_length` where that is less."""
    limit = min(max_length or tokenizer.model_max_length, tokenizer.model_max_length)
    if limit > UNKNOWN:
        raise ValueError("The tokenizer tells no length limit; give the processor `max_length` (77 for CLIP).")
    return limit


def has_mask(tokenizer: PreTrainedTokenizerBase, image_processor: Any, padding: str | None) -> bool:
    """Whether texts are padded to the longest, with a mask, or to the full length without one."""
    if padding is not None:
        return padding == "longest"
    # SigLIP's towers read the last position: they were trained on texts padded to the full length, without a mask.
    is_siglip = any("Siglip" in type(part).__name__ for part in (tokenizer, image_processor))
    return "attention_mask" in tokenizer.model_input_names and not is_siglip


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[int]:
    """How many tokens each text has, uncut."""
    with _TOKENIZING:
        return [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]]


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    limit: int,
    with_mask: bool,
    padding: bool | str = True,
    truncation: bool | str = True,
) -> dict[str, np.ndarray]:
    """`input_ids` and, `with_mask`, `attention_mask`, `(num_texts, num_tokens)`; a text that is cut is warned of."""
    longest = max(count_tokens(tokenizer, texts))
    if truncation and longest > limit:
        logger.warning_once(
            f"A text of {longest} tokens is cut to {limit}, the most the model takes. What follows is not searched for."
        )
    with _TOKENIZING:
        encoded = tokenizer(
            texts,
            padding=("longest" if with_mask else "max_length") if padding is True else padding,
            truncation=truncation,
            max_length=limit,
            return_attention_mask=with_mask,
            return_tensors="np",
        )
    return {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}
