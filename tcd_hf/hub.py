"""Models on the Hub: which revision a name stands for, and whether they can be had."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import constants, get_session, is_offline_mode, try_to_load_from_cache
from huggingface_hub.utils import validate_repo_id

__all__ = ["WEIGHT_FILES", "ask_hub", "check_hub", "pinned", "split_revision"]

logger = logging.getLogger(__name__)

WEIGHT_FILES = [f"{name}{end}" for name in ("model.safetensors", "pytorch_model.bin") for end in ("", ".index.json")]
SECONDS = 5.0  # for the Hub to answer at all


def pinned(name: str, revision: str | None) -> str:
    """A name that stands for a revision of a model, `"organisation/name@revision"`: what [`load`] takes, and an index
    keeps."""
    return name if revision is None else f"{name}@{revision}"


def split_revision(name: str) -> tuple[str, str | None]:
    """A name and the revision that it stands for; folders have none, whatever they are called.

    Raises:
        ValueError: nothing stands behind the `@`.
    """
    if os.path.isdir(name) or "@" not in name:
        return name, None
    name, _, revision = name.rpartition("@")
    if not revision:
        raise ValueError(
            f"{name + '@'!r} names no revision: put a branch, tag or commit behind the @, or leave it out."
        )
    return name, revision


def ask_hub(name: str, hub: Mapping[str, Any], files: Sequence[str] = WEIGHT_FILES) -> dict[str, Any]:
    """Makes sure that a model can be had from the Hub, or from its cache, before many files of it are asked for.

    What is about to be downloaded is named: an index may name any model.

    Args:
        name (`str`): a Hub id.
        hub (`dict`): options of `from_pretrained`: `revision`, `cache_dir`, `subfolder`, `local_files_only`.
        files (`Sequence[str]`, *optional*): of the model, one of which the cache must have to stand for the Hub; by
            default its weights.

    Returns:
        `dict`, these options; with `local_files_only` where the Hub does not answer.

    Raises:
        ValueError: no Hub id, or the Hub does not answer and the cache has none of these files.
    """
    try:
        validate_repo_id(name)
    except ValueError as error:
        raise ValueError("there is no such folder, and it is no Hub id.") from error
    if is_offline_mode() or hub.get("local_files_only"):
        return dict(hub)
    cache = {option: hub[option] for option in ("revision", "cache_dir") if option in hub}
    paths = [os.path.join(hub.get("subfolder", ""), file) for file in files]
    is_cached = any(isinstance(try_to_load_from_cache(name, path, **cache), str) for path in paths)
    try:
        check_hub()
    except ConnectionError as error:
        if not is_cached:
            raise ValueError(str(error)) from error
        logger.warning("%s The model %r is taken from the cache.", error, name)
        return {**hub, "local_files_only": True}
    if not is_cached:
        logger.warning("Downloading the model %r from the Hub.", pinned(name, hub.get("revision")))
    return dict(hub)


def check_hub() -> None:
    """Asks the Hub once whether it is there: the libraries would ask for each file, over and over.

    Raises:
        ConnectionError: it does not answer, not even that it refuses, within 5 seconds.
    """
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # those of whatever library huggingface_hub speaks HTTP by
        cause = str(error) or type(error).__name__
        raise ConnectionError(
            f"the Hub at {constants.ENDPOINT} does not answer ({cause}): see to the network."
        ) from error
