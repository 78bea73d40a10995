"""The tokenizer of a sentence encoder, and what its sentence-transformers folder says of texts."""

import json
import os
from collections.abc import Mapping
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

__all__ = ["load_sentence_tokenizer"]

# Encoders of 512 or 8,192 tokens take them, at a cost that grows with them: a window holds less text, or more than one
# vector can tell.
MOST_TOKENS = 128
CAPTION_PROMPTS = ("document", "passage", "corpus")


def load_sentence_tokenizer(
    name: str | os.PathLike, hub: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerBase, dict[str, Any]]:
    """
    A tokenizer, and the options of [`TCDProcessor`] that go with its encoder.

    Args:
        name (`str` or `os.PathLike`): a folder or a Hub id, of sentence-transformers or not.
        hub (`dict`): `token`, `local_files_only`, `cache_dir`, for the Hub.

    Returns:
        The tokenizer; and `max_length`, its `max_seq_length`, at most 128; `text_padding="longest"`; and, of its
        prompts, `query_prefix` (named "query", or its default one) and `caption_prefix` (named "document", "passage"
        or "corpus").

    Raises:
        ValueError: an encoder that wants all letters small, of a tokenizer that cannot do that.
    """
    modules = read_json(name, "modules.json", hub) or []
    subfolder = next((each["path"] for each in modules if each["type"].endswith(".Transformer")), "")
    encoder = read_json(name, os.path.join(subfolder, "sentence_bert_config.json"), hub) or {}
    options = {**hub, "subfolder": subfolder, "trust_remote_code": False}
    if encoder.get("do_lower_case"):
        options["do_lower_case"] = True
    tokenizer = AutoTokenizer.from_pretrained(name, **options)  # nosec B615 # two models have no revision in common
    if encoder.get("do_lower_case") and tokenizer.tokenize("OPEN") != tokenizer.tokenize("open"):
        raise ValueError(
            f"The sentence encoder {os.fspath(name)!r} wants all letters small (`do_lower_case`), which its tokenizer, "
            f"a {type(tokenizer).__name__}, cannot be told. Give a tokenizer that makes them small."
        )
    limit = min(encoder.get("max_seq_length") or MOST_TOKENS, tokenizer.model_max_length, MOST_TOKENS)
    saved = read_json(name, "config_sentence_transformers.json", hub) or {}
    prompts = saved.get("prompts") or {}
    default = prompts.get(saved.get("default_prompt_name")) or ""
    query = prompts.get("query") or default
    caption = next((prompts[key] for key in CAPTION_PROMPTS if prompts.get(key)), "")
    prefixes = {"query_prefix": query, "caption_prefix": caption}
    return tokenizer, {"max_length": limit, "text_padding": "longest", **prefixes}


def read_json(name: str | os.PathLike, file: str, hub: Mapping[str, Any]) -> Any:
    """The content of a JSON file of a folder or a Hub repository; `None` where there is no such file."""
    path = cached_file(os.fspath(name), file, _raise_exceptions_for_missing_entries=False, **hub)
    if path is None:
        return None
    with open(path, encoding="utf-8") as opened:
        return json.load(opened)
