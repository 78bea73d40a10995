"""Making and opening an index, by the model that makes it or made it, and by no other."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from tcd_hf import loading
from tcd_hf.checkpoints import MINI
from tcd_hf.choices import DEFAULT_FEATURE_TYPE, FeatureType
from tcd_hf.index.features import compute_features
from tcd_hf.index.schema import SCHEMA_VERSION, IndexMetadata, IndexMismatchError, table_schema
from tcd_hf.index.storage import IndexStorage
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.cache import cache_place
from tcd_hf.reading.files import absolute_path
from tcd_hf.reading.fingerprints import (
    all_fingerprints,
    fingerprint,
    model_fingerprint,
    model_name,
    tokenizer_fingerprint,
)
from tcd_hf.reading.segments import DEFAULT_SEGMENT_SECONDS, check_segment_seconds

__all__ = ["cached_folder", "check_model", "load_model", "make_or_open", "open_storage"]


def make_or_open(
    uri: str | os.PathLike,
    model: TCDModel,
    processor: TCDProcessor,
    exist_ok: bool = False,
    segment_seconds: float | None = None,
    fingerprints: Mapping[str, str] | None = None,
    feature_type: FeatureType | None = None,
) -> IndexStorage:
    """Makes an empty index, or opens the one that is there, see [`VideoIndex.create`].

    Args:
        uri, model, processor, exist_ok, segment_seconds: see there.
        fingerprints (`dict[str, str]`, *optional*): those of model and processor, see [`all_fingerprints`], where they
            are known already: computing them reads all weights.
        feature_type: see there.
    """
    if feature_type not in (None, *get_args(FeatureType)):
        allowed = " or ".join(map(repr, get_args(FeatureType)))
        raise ValueError(f"feature_type must be {allowed}, got {feature_type!r}.")
    seconds = check_segment_seconds(DEFAULT_SEGMENT_SECONDS if segment_seconds is None else segment_seconds)
    storage = IndexStorage(uri)
    if not storage.exists():
        if foreign := storage.foreign_files():
            raise IndexMismatchError(
                f"{storage.uri} is no index and not empty: it holds {foreign[0]!r}. Choose a folder of its own."
            )
        fingerprints = fingerprints or all_fingerprints(model.eval(), processor)
        schema = _schema_for(model.eval(), processor, seconds, fingerprints, feature_type or DEFAULT_FEATURE_TYPE)
        with storage.writing(new=True):
            if not storage.exists() and storage.create(schema):  # another process may have been quicker
                return storage
    if not exist_ok:
        raise FileExistsError(
            f"There is an index at {storage.uri} already. Use `VideoIndex.open`, or `exist_ok=True` for either."
        )
    storage.open()
    check_model(storage, model, processor, fingerprints)
    storage.metadata.check_segment_seconds(storage.uri, None if segment_seconds is None else seconds)
    storage.metadata.check_feature_type(storage.uri, feature_type)
    return storage


def open_storage(uri: str | os.PathLike, model: TCDModel | None, processor: TCDProcessor | None) -> IndexStorage:
    """Opens an index, and refuses a model or a processor that did not make it.

    Args:
        uri (`str | os.PathLike`): where it is.
        model (`TCDModel`, *optional*), processor (`TCDProcessor`, *optional*): what is to be used with it.

    Raises:
        IndexMismatchError: no index, one of another version, or of another model or processor.
    """
    storage = IndexStorage(uri)
    storage.open()
    check_model(storage, model, processor)
    return storage


def check_model(
    storage: IndexStorage,
    model: TCDModel | None,
    processor: TCDProcessor | None,
    fingerprints: Mapping[str, str] | None = None,
) -> None:
    """Refuses a model or a processor that did not make the index.

    Args:
        storage ([`IndexStorage`]): the index.
        model (`TCDModel`, *optional*), processor (`TCDProcessor`, *optional*): what is to be used with it.
        fingerprints (`dict[str, str]`, *optional*): those of both, where they are known already.

    Raises:
        IndexMismatchError: says which part is another, and what to do.
    """
    known = fingerprints or {}
    if model is not None:
        given = known.get("model_fingerprint") or model_fingerprint(model.eval())
        storage.metadata.check(storage.uri, model_fingerprint=given)
    if processor is not None:
        given = known.get("tokenizer_fingerprint") or tokenizer_fingerprint(processor)
        storage.metadata.check(storage.uri, tokenizer_fingerprint=given)


def load_model(
    model: TCDModel | str | os.PathLike | None, processor: TCDProcessor | None
) -> tuple[TCDModel, TCDProcessor]:
    """A model and its processor as they are given, or loaded, on the GPU where there is one.

    Args:
        model (`TCDModel` or `str | os.PathLike`, *optional*): the model or what [`load`] takes for it; the one inside
            the package by default.
        processor (`TCDProcessor`, *optional*): its processor, which must be given with a model that is.

    Raises:
        ValueError: a model without its processor, or one that cannot be loaded.
    """
    if model is not None and not isinstance(model, str | os.PathLike):
        if processor is None:
            raise ValueError("Give the processor of the model too, or in place of the model what both are loaded by.")
        return model.eval(), processor
    loaded, its_processor = loading.load(MINI.name if model is None else model, device="auto")
    return loaded, its_processor if processor is None else processor


def cached_folder(
    paths: Iterable[str | os.PathLike], fingerprints: Mapping[str, str], cache_dir: str | os.PathLike | None
) -> Path | str:
    """The place of an index in the cache: the same for the same videos, model, processor and release.

    Args:
        paths (`Iterable[str | os.PathLike]`): what it is of, as it is named by the user: files and folders.
        fingerprints (`dict[str, str]`): those of its model and processor, see [`all_fingerprints`].
        cache_dir (`str | os.PathLike`, *optional*): the cache, see `cache_place`.
    """
    name = fingerprint(
        {
            "roots": sorted(map(absolute_path, paths)),
            **fingerprints,
            "schema": SCHEMA_VERSION,
            "segment_seconds": DEFAULT_SEGMENT_SECONDS,
        }
    )
    place = cache_place(cache_dir)
    return f"{place}/indexes/{name}" if isinstance(place, str) else place / "indexes" / name


def _schema_for(
    model: TCDModel,
    processor: TCDProcessor,
    segment_seconds: float,
    fingerprints: Mapping[str, str],
    feature_type: FeatureType,
) -> pa.Schema:
    """Asks the model itself what it makes of a video: of a black one without text."""
    num_frames = processor.num_frames
    black = [np.zeros((32, 32, 3), np.uint8)] * num_frames
    inputs = processor.process_frames(black, [""] * num_frames, return_tensors="np")
    metadata = IndexMetadata.describe(
        compute_features(model, [dict(inputs)]),
        **fingerprints,
        model_name=model_name(model),
        dim=model.config.projection_dim,
        num_frames=num_frames,
        segment_seconds=segment_seconds,
        reading=_reading_of(processor),
        feature_type=feature_type,
    )
    return table_schema(metadata)


def _reading_of(processor: TCDProcessor) -> dict[str, Any]:
    """How a processor reads text, if that can be written down."""
    if not isinstance(processor.ocr_engine, str | None):
        return {}
    return {name: getattr(processor, name) for name in loading.READING_OPTIONS}
