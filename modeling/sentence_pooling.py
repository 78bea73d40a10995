"""How a sentence-transformers folder pools the tokens of its encoder, and where in it that encoder lies."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers.utils.hub import cached_file

__all__ = ["SentencePooling", "read_pooling"]

POOLINGS = {
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean",  # of another length only, and embeddings are taken to length 1
    "cls": "cls",
    "lasttoken": "last",
}
OLDER_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class SentencePooling(NamedTuple):
    """What a sentence-transformers folder says."""

    pooling: str  # as `text_pooling` of TwoTowerConfig
    subfolder: str  # of the encoder; "" where it lies at the top


def read_pooling(name: str | os.PathLike, hub: Mapping[str, Any], text_pooling: str | None = None) -> SentencePooling:
    """
    Pooling of an encoder, by `modules.json` and the `config.json` of its pooling module.

    Args:
        name (`str` or `os.PathLike`): a folder or a Hub id.
        hub (`dict`): `token`, `local_files_only`, `cache_dir`, for the Hub.
        text_pooling (`str`, *optional*): in place of what the folder says.

    Returns:
        [`SentencePooling`]; the mean, as sentence-transformers takes it, of an encoder without `modules.json`.

    Raises:
        ValueError: modules or a pooling that no [`TwoTowerModel`] has.
    """
    modules = read_json(name, "modules.json", hub)
    if modules is None:
        return SentencePooling(text_pooling or "mean", "")
    paths = {each["type"].rsplit(".", 1)[-1]: each["path"] for each in modules}
    if text_pooling is not None:
        return SentencePooling(text_pooling, paths.get("Transformer", ""))
    unknown = sorted(paths.keys() - {"Transformer", "Pooling", "Normalize"})
    if unknown or "Transformer" not in paths or "Pooling" not in paths:
        raise ValueError(
            f"The sentence encoder {os.fspath(name)!r} is made of {list(paths)}; known are Transformer, Pooling and "
            "Normalize. To have its encoder without the rest, give `text_pooling`."
        )
    settings = read_json(name, f"{paths['Pooling']}/config.json", hub) or {}
    modes = settings.get("pooling_mode") or [mode for old, mode in OLDER_NAMES.items() if settings.get(old)] or "mean"
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ValueError(
            f"The sentence encoder {os.fspath(name)!r} pools by {modes}; known is one of {list(POOLINGS)}. To pool it "
            "in another way, give `text_pooling`."
        )
    if not settings.get("include_prompt", True):
        raise ValueError(
            f"The sentence encoder {os.fspath(name)!r} pools without the tokens of its prompt (`include_prompt`), and "
            "no TCD model does. To pool over all tokens, give `text_pooling`."
        )
    return SentencePooling(POOLINGS[modes[0]], paths["Transformer"])


def read_json(name: str | os.PathLike, file: str, hub: Mapping[str, Any]) -> Any:
    """The content of a JSON file of a folder or a Hub repository; `None` where there is no such file."""
    path = cached_file(os.fspath(name), file, _raise_exceptions_for_missing_entries=False, **hub)
    if path is None:
        return None
    with open(path, encoding="utf-8") as opened:
        return json.load(opened)
