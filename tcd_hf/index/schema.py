"""The rows of an index: what is known of a segment of a video as Arrow data, and back."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.caption_vectors import CAPTION_VECTORS_COLUMN, encode_caption_vectors
from tcd_hf.index.lexical import TEXT_SCHEMA, text_columns
from tcd_hf.index.metadata import (
    CHECKSUM_BYTES,
    COARSE_COLUMN,
    FEATURE_PREFIX,
    FEATURES_COLUMN,
    METADATA_KEY,
    SCHEMA_VERSION,
    TABLE_PREFIX,
    IndexDamagedError,
    IndexMetadata,
    IndexMismatchError,
    feature_tensors,
    table_schema,
)
from tcd_hf.index.stored_captions import CAPTIONS_COLUMN, captions_from, encode_captions
from tcd_hf.index.stored_features import decode_features, encode_features
from tcd_hf.modeling.outputs import TCDScoringTables, TCDVideoFeatures
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord

__all__ = [
    "COARSE_COLUMN",
    "FEATURES_COLUMN",
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "VERIFIED_COLUMNS",
    "IndexDamagedError",
    "IndexMetadata",
    "IndexMismatchError",
    "NonFiniteFeaturesError",
    "are_whole",
    "checksums",
    "feature_tensors",
    "features_from",
    "row_id",
    "rows_from",
    "table_schema",
    "video_id",
]

# What a row says of its file may change without it: a file that is moved keeps what was read in it.
CHECKED_COLUMNS = (
    "content_hash",
    "texts_hash",
    "segment",
    "start",
    "end",
    "captions",
    "texts",
    COARSE_COLUMN,
    FEATURES_COLUMN,
)

FRAME_MASK = f"{FEATURE_PREFIX}frame_mask"

VERIFIED_COLUMNS = ("id", "path", *CHECKED_COLUMNS, "checksum")


class NonFiniteFeaturesError(ValueError):
    """What the model made of a video cannot be stored: NaN, or numbers beyond the range of the column."""


def video_id(path: str) -> str:
    """The id of a video by its path, and of the row of its first segment: the same in every index."""
    return hashlib.blake2b(path.encode(), digest_size=12).hexdigest()


def row_id(path: str, segment: int) -> str:
    """The id of the row of a segment of a video."""
    return f"{video_id(path)}-{segment}" if segment else video_id(path)


def rows_from(records: Sequence[VideoRecord], features: TCDVideoFeatures, schema: pa.Schema) -> pa.Table:
    """Rows of an index.

    Args:
        records (`list[VideoRecord]`): segments of videos.
        features ([`TCDVideoFeatures`]): theirs, in the same order, with scoring tables if the index has them.
        schema (`pa.Schema`): of the index's table.

    Raises:
        NonFiniteFeaturesError: features that are not finite in the types of the schema.
        ValueError: features of other shapes than the schema's.
    """
    values: dict[str, Any] = {
        "id": [row_id(record.path, record.segment) for record in records],
        "path": [record.path for record in records],
        "content_hash": [record.content_hash for record in records],
        "texts_hash": [record.texts_hash for record in records],
        "size": [record.size for record in records],
        "modified": [record.modified for record in records],
        "duration": [record.duration for record in records],
        "fps": [record.fps for record in records],
        "segment": [record.segment for record in records],
        "start": [record.start for record in records],
        "end": [record.end for record in records],
        CAPTIONS_COLUMN: [encode_captions(record.captions) for record in records],
        **_read_off([record.captions for record in records]),
    }
    columns = {name: pa.array(column, schema.field(name).type) for name, column in values.items()}

    metadata = IndexMetadata.from_schema(schema)
    columns.update(_feature_columns(_with_frame_mask(features, metadata), len(records), metadata))
    if metadata.has_caption_vectors:
        embeds, _, _ = features.ocr_parts()
        columns[CAPTION_VECTORS_COLUMN] = pa.array(encode_caption_vectors([each.captions for each in records], embeds))
    columns["checksum"] = pa.array(checksums(columns), schema.field("checksum").type)
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _with_frame_mask(features: TCDVideoFeatures, metadata: IndexMetadata) -> dict[str, torch.Tensor]:
    """The features' tensors with a mask of frames where the index has one: not one made before there were such."""
    tensors = feature_tensors(features)
    if FRAME_MASK not in metadata.shapes:
        return {name: tensor for name, tensor in tensors.items() if name != FRAME_MASK}
    return {FRAME_MASK: features.visible_frames().long(), **tensors}


def _feature_columns(
    tensors: dict[str, torch.Tensor], num_videos: int, metadata: IndexMetadata
) -> dict[str, pa.FixedSizeListArray]:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {name: (num_videos, *shape) for name, shape in metadata.shapes.items()}
    if shapes != expected:
        raise ValueError(f"The index stores features of the shapes {expected}, but got {shapes}.")
    numbers = {name: tensor.detach().float().cpu().numpy() for name, tensor in tensors.items()}
    coarse = numbers.pop(COARSE_COLUMN)
    with np.errstate(over="ignore"):
        halves = {name: rows.astype(np.float16) for name, rows in numbers.items()}
    for name, rows in {**halves, COARSE_COLUMN: coarse}.items():
        if not np.isfinite(rows).all():
            raise NonFiniteFeaturesError(f"{name!r} holds numbers beyond the range of {rows.dtype}, or NaN.")
    together = encode_features(halves, metadata)
    return {
        name: pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        for name, rows in ((COARSE_COLUMN, coarse), (FEATURES_COLUMN, together))
    }


def features_from(table: pa.Table, metadata: IndexMetadata, device: torch.device | str = "cpu") -> TCDVideoFeatures:
    """The features of rows, in their order: float32 on a device, masks as int64, with their scoring tables.

    Args:
        table (`pa.Table`): rows of an index; without the column `coarse`, or `features`, what it holds is `None`.
        metadata ([`IndexMetadata`]): of the index.
        device (`torch.device` or `str`, *optional*, defaults to `"cpu"`): where to put the tensors.
    """
    fields, tables = {}, {}
    if COARSE_COLUMN in table.column_names:
        fields["coarse_embeds"] = _tensor(table.column(COARSE_COLUMN)).to(device)
    if FEATURES_COLUMN in table.column_names:
        together = _tensor(table.column(FEATURES_COLUMN)).to(device)
        for name, tensor in decode_features(together, metadata).items():
            if name.startswith(TABLE_PREFIX):
                tables[name.removeprefix(TABLE_PREFIX)] = tensor
            else:
                fields[name.removeprefix(FEATURE_PREFIX)] = tensor
    return TCDVideoFeatures(**fields, scoring_tables=TCDScoringTables(**tables) if tables else None)


def checksums(rows: pa.Table | dict[str, pa.Array]) -> list[bytes]:
    """What the column `checksum` says of rows that are as they were written: digests of all that a search reads.

    Args:
        rows (`pa.Table` or `dict[str, pa.Array]`): rows of an index, with the columns `CHECKED_COLUMNS`.
    """
    numbers = {name: _matrix(rows[name]) for name in (COARSE_COLUMN, FEATURES_COLUMN)}
    captions = rows[CAPTIONS_COLUMN].to_pylist()
    apart = (*numbers, CAPTIONS_COLUMN)
    others = [rows[name].to_pylist() for name in CHECKED_COLUMNS if name not in apart]
    digests = []
    for row, values in enumerate(zip(*others, strict=True)):
        digest = hashlib.blake2b(json.dumps(values).encode(), digest_size=CHECKSUM_BYTES)
        digest.update(captions[row])
        for matrix in numbers.values():
            digest.update(matrix[row].tobytes())
        digests.append(digest.digest())
    return digests


def _tensor(column: pa.ChunkedArray) -> torch.Tensor:
    """Lists of one length as a matrix."""
    if not len(column):
        return torch.from_numpy(np.zeros((0, column.type.list_size), column.type.value_type.to_pandas_dtype()))
    with warnings.catch_warnings():  # Arrow's are read-only, and so are these: nobody writes to them
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(_matrix(column))


def _matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Lists of one length as a matrix that may be read."""
    # Chunk by chunk: the numbers of a large column do not fit one Arrow array. `flatten` knows of slices.
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    arrays = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
    numbers = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return numbers.reshape(len(column), column.type.list_size)


def _read_off(captions: Sequence[Sequence[WindowCaption]]) -> dict[str, list]:
    """The columns that follow from the captions of rows."""
    texts = [text_columns(windows) for windows in captions]
    return {
        "has_text": [any(caption.text for caption in windows) for windows in captions],
        "sources": [_sources(windows) for windows in captions],
        "caption_text": [_distinct_texts(windows) for windows in captions],
        **{field.name: [row[field.name] for row in texts] for field in TEXT_SCHEMA},
    }


def are_whole(rows: pa.Table, metadata: IndexMetadata | None = None) -> list[bool]:
    """For each row whether it is what was written.

    Args:
        rows (`pa.Table`): rows of an index, with the columns `VERIFIED_COLUMNS`.
        metadata ([`IndexMetadata`], *optional*): of the index, to compare also the columns that were made from others,
            on which rows are filtered and recalled; of these the rows must have all.
    """
    own_ids = map(row_id, rows["path"].to_pylist(), rows["segment"].to_pylist())
    whole = [
        (checksum, own_id) == (stored, stored_id)
        for checksum, own_id, stored, stored_id in zip(
            checksums(rows), own_ids, rows["checksum"].to_pylist(), rows["id"].to_pylist(), strict=True
        )
    ]
    if metadata is None:
        return whole
    places = [place for place, is_whole in enumerate(whole) if is_whole]  # of others captions may not even be read
    captions = captions_from(rows[CAPTIONS_COLUMN].take(places))
    expected = _read_off(captions)
    if metadata.has_caption_vectors:
        embeds, _, _ = features_from(rows.select([FEATURES_COLUMN]).take(places), metadata).ocr_parts()
        expected[CAPTION_VECTORS_COLUMN] = encode_caption_vectors(captions, embeds)
    for name, values in expected.items():
        for place, value, stored in zip(places, values, rows[name].take(places).to_pylist(), strict=True):
            whole[place] = whole[place] and value == stored
    return whole


def _sources(captions: Sequence[WindowCaption]) -> str:
    return " ".join(sorted({track.source for caption in captions for track in caption.tracks}))


def _distinct_texts(captions: Sequence[WindowCaption]) -> str:
    return " ".join(dict.fromkeys(caption.text for caption in captions if caption.text))
