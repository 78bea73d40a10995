"""The rows of an index: what is known of a segment of a video as Arrow data, and back."""

import hashlib
import json
import math
import operator
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.index.lexical import TEXT_SCHEMA, text_columns
from tcd_hf.index.stored_captions import CAPTIONS_COLUMN, captions_from, encode_captions
from tcd_hf.modeling.outputs import TCDScoringTables, TCDVideoFeatures
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord

__all__ = [
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

# Raise it when columns change, and when features or tables of the same weights are others than before.
SCHEMA_VERSION = 3
METADATA_KEY, METADATA_CHECKSUM_KEY = b"tcd_hf", b"tcd_hf_checksum"
FEATURE_PREFIX, TABLE_PREFIX = "feature_", "table_"
COARSE_COLUMN = "coarse"  # coarse_embeds; float32, since all of them are held in memory as they are
FEATURES_COLUMN = "features"  # all others, one after another: one column is read in a third of the time of eight

CHECKSUM_BYTES = 8
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

UNREADABLE = (
    "its metadata is not as this release of tcd-hf writes it: use the release that made it, or a newer one. Found:"
)

VERIFIED_COLUMNS = ("id", "path", *CHECKED_COLUMNS, "checksum")

# For each fingerprint, what it is of, and what to do where it differs.
PARTS = {
    "model_fingerprint": (
        "model, or with other weights or dtype",
        "Open it with that model (the command line does so without --model) as it was when it made the index,",
    ),
    "tokenizer_fingerprint": (
        "tokenizer or `max_length`",
        "Open it with the processor of that model,",
    ),
    "caption_fingerprint": (
        "OCR engine, release or options of it, or other settings of the captions",
        "It can be searched all the same. To add videos, give what it was made with (`ocr_engine`, --ocr-engine),",
    ),
    "frame_fingerprint": (
        "image processor or `num_frames`",
        "It can be searched all the same. To add videos, open it with the processor of that model,",
    ),
}


class IndexMismatchError(ValueError):
    """A place holds no index, or one made with other parts or by another version; the message says what to do."""


class IndexDamagedError(ValueError):
    """Files of an index are damaged; the message names the index, the part, and what to do.

    It is no [`IndexMismatchError`]: who makes an index anew where there is none, or another one, would lose what can
    still be read of this one. `VideoIndex.repair` (`tcd-hf index --index DIR --repair`) mends it.
    """


class NonFiniteFeaturesError(ValueError):
    """What the model made of a video cannot be stored: NaN, or numbers beyond the range of the column."""


@dataclass(frozen=True)
class IndexMetadata:
    """What an index is made by and what its feature columns hold; kept as JSON in the metadata of the Arrow schema.

    Attributes:
        model_fingerprint, tokenizer_fingerprint (`str`): of what searching and adding need.
        caption_fingerprint, frame_fingerprint (`str`): of what adding needs besides.
        model_name (`str`): what the model is loaded by, see [`~fingerprints.model_name`]; empty if that is unknown.
        dim (`int`): width of the embeddings.
        num_frames (`int`): frames and windows per segment.
        segment_seconds (`float`): the longest that a segment of a video may be, see [`cut_into_segments`].
        shapes (`dict[str, tuple[int, ...]]`): shape of one segment's tensor, by name; see [`feature_tensors`].
        masks (`list[str]`): names of those that are masks.
        reading (`dict[str, Any]`): how text was read, as options of [`TCDProcessor`]; empty for the user's own engine.
        schema_version (`int`, defaults to `SCHEMA_VERSION`): of the columns.
    """

    model_fingerprint: str
    tokenizer_fingerprint: str
    caption_fingerprint: str
    frame_fingerprint: str
    model_name: str
    dim: int
    num_frames: int
    segment_seconds: float
    shapes: dict[str, tuple[int, ...]]
    masks: list[str]
    reading: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def describe(cls, features: TCDVideoFeatures, **made_by: Any) -> "IndexMetadata":
        """The metadata of an index of such features; `made_by` are the other attributes."""
        tensors = feature_tensors(features)
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        masks = [name for name, tensor in tensors.items() if tensor.dtype == torch.bool]
        return cls(**made_by, shapes=shapes, masks=masks)

    @property
    def stored_together(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what the column `features` holds, in its order."""
        return {name: shape for name, shape in self.shapes.items() if name != COARSE_COLUMN}

    def check(self, uri: str, **fingerprints: str) -> None:
        """Compares what is given for an index with what it was made by.

        Args:
            uri (`str`): of the index, for the message.
            fingerprints (`str`): some of the fingerprints above, of what is given.

        Raises:
            IndexMismatchError: one differs; names that part and says what to do.
        """
        for name, given in fingerprints.items():
            stored = getattr(self, name)
            if stored != given:
                part, remedy = PARTS[name]
                raise IndexMismatchError(
                    f"The index {uri} (of the model {self.model_name or 'without a name'}) was made with another "
                    f"{part} (fingerprint {stored}, not {given}). {remedy} or make a new index: text that was read "
                    "before in the same way is taken from the cache."
                )

    def check_segment_seconds(self, uri: str, seconds: float | None) -> None:
        """Compares how long a segment is to be with how long it may be in an index.

        Args:
            uri (`str`): of the index, for the message.
            seconds (`float`, *optional*): the longest that a segment is to be; nothing is asked for by default.

        Raises:
            IndexMismatchError: the index has another; says what to do.
        """
        if seconds is not None and seconds != self.segment_seconds:
            raise IndexMismatchError(
                f"The index {uri} cuts videos into segments of at most {self.segment_seconds:g} s, not {seconds:g} s. "
                "Leave segment_seconds out, or make a new index in another folder."
            )

    def to_json(self) -> bytes:
        """The metadata as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_schema(cls, schema: pa.Schema) -> "IndexMetadata":
        """The metadata of a table's schema.

        Raises:
            IndexMismatchError: there is none, its schema version is another, or it is not as this release writes it.
            IndexDamagedError: it is not what was written.
        """
        stored = schema.metadata or {}
        try:
            values = json.loads(stored[METADATA_KEY])
            version = values["schema_version"]
        except (KeyError, TypeError, ValueError) as error:
            raise IndexMismatchError("its table `videos` was not made by tcd-hf. Choose another place.") from error
        if version != SCHEMA_VERSION:
            raise IndexMismatchError(
                f"it has schema version {version}, and this release of tcd-hf reads version {SCHEMA_VERSION}. Make it "
                "anew in another folder, from its videos (the text of those of up to `segment_seconds` is taken from "
                "the cache, longer ones are read again, in segments), or use the release that made it."
            )
        if stored.get(METADATA_CHECKSUM_KEY, b"") not in (b"", _checksum_of(stored[METADATA_KEY])):
            raise IndexDamagedError("its metadata is not what was written.")
        metadata = cls._from_values(values)
        if [(name, schema.field(name).type) for name in schema.names] != [
            (column.name, column.type) for column in _columns(metadata)
        ]:
            raise IndexDamagedError("its columns are not those that its metadata tells of.")
        return metadata

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> "IndexMetadata":
        """The metadata of what was read as JSON, which may be anything."""
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(values).difference(known)):
            raise IndexMismatchError(
                f"its metadata tells {', '.join(map(repr, unknown))}, which this release of tcd-hf does not know. Use "
                "the release that made it, or a newer one."
            )
        try:
            shapes = {name: tuple(map(operator.index, shape)) for name, shape in values["shapes"].items()}
            made = cls(**{**values, "shapes": shapes})
            numbers = math.isfinite(made.segment_seconds) and made.dim > 0 and made.num_frames > 0
            names = (made.model_name, *(getattr(made, name) for name in PARTS), *made.masks)
            whole = numbers and isinstance(made.reading, dict) and all(isinstance(name, str) for name in names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IndexMismatchError(f"{UNREADABLE} {error}.") from error
        if not whole:
            raise IndexMismatchError(f"{UNREADABLE} {str(values)[:200]}.")
        return made


def video_id(path: str) -> str:
    """The id of a video by its path, and of the row of its first segment: the same in every index."""
    return hashlib.blake2b(path.encode(), digest_size=12).hexdigest()


def row_id(path: str, segment: int) -> str:
    """The id of the row of a segment of a video."""
    return f"{video_id(path)}-{segment}" if segment else video_id(path)


def feature_tensors(features: TCDVideoFeatures) -> dict[str, torch.Tensor]:
    """All that a video is scored by, by name: tensors whose rows are videos.

    Fields of the features are named `feature_...`, those of their scoring tables `table_...`, and the coarse vectors
    `coarse`. What no score reads is left out: what the towers gave out on the way, and the norms of frames.
    """
    tensors = {
        FEATURE_PREFIX + name: value
        for name, value in features.items()
        if torch.is_tensor(value) and name != "frame_norms"
    }
    if features.scoring_tables is not None:
        tensors.update({TABLE_PREFIX + name: value for name, value in features.scoring_tables.items()})
    tensors[COARSE_COLUMN] = tensors.pop(FEATURE_PREFIX + "coarse_embeds")
    return tensors


def table_schema(metadata: IndexMetadata) -> pa.Schema:
    """The columns of an index.

    `sources` says where the texts of a segment come from: `"ocr"`, `"subtitle"` and `"given"`, with spaces between.
    Captions are compressed JSON, see [`captions_from`]: nested lists and structs would take twice the space and three
    times the time to read. Features and scoring tables are stored in float16, which moves no score by more than 1e-4,
    masks among them as 0 and 1; coarse vectors in float32.
    """
    described = metadata.to_json()
    stored = {METADATA_KEY: described, METADATA_CHECKSUM_KEY: _checksum_of(described)}
    return pa.schema(_columns(metadata), metadata=stored)


def _columns(metadata: IndexMetadata) -> list[pa.Field]:
    num_features = sum(map(math.prod, metadata.stored_together.values()))
    return [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("texts_hash", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", pa.int64(), nullable=False),
        pa.field("duration", pa.float64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("segment", pa.int32(), nullable=False),
        pa.field("start", pa.float64(), nullable=False),
        pa.field("end", pa.float64(), nullable=False),
        pa.field("has_text", pa.bool_(), nullable=False),
        pa.field("sources", pa.string(), nullable=False),
        pa.field(CAPTIONS_COLUMN, pa.binary(), nullable=False),
        pa.field("caption_text", pa.string(), nullable=False),
        *TEXT_SCHEMA,
        pa.field(COARSE_COLUMN, pa.list_(pa.float32(), metadata.dim), nullable=False),
        pa.field(FEATURES_COLUMN, pa.list_(pa.float16(), num_features), nullable=False),
        pa.field("checksum", pa.binary(CHECKSUM_BYTES), nullable=False),
    ]


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

    columns.update(_feature_columns(feature_tensors(features), len(records), IndexMetadata.from_schema(schema)))
    columns["checksum"] = pa.array(checksums(columns), schema.field("checksum").type)
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _feature_columns(
    tensors: dict[str, torch.Tensor], num_videos: int, metadata: IndexMetadata
) -> dict[str, pa.FixedSizeListArray]:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {name: (num_videos, *shape) for name, shape in metadata.shapes.items()}
    if shapes != expected:
        raise ValueError(f"The index stores features of the shapes {expected}, but got {shapes}.")
    numbers = {name: tensor.detach().float().cpu().flatten(1).numpy() for name, tensor in tensors.items()}
    coarse = numbers.pop(COARSE_COLUMN)
    with np.errstate(over="ignore"):
        halves = {name: rows.astype(np.float16) for name, rows in numbers.items()}
    for name, rows in {**halves, COARSE_COLUMN: coarse}.items():
        if not np.isfinite(rows).all():
            raise NonFiniteFeaturesError(f"{name!r} holds numbers beyond the range of {rows.dtype}, or NaN.")
    together = np.concatenate([halves[name] for name in metadata.stored_together], axis=1)
    return {
        name: pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        for name, rows in ((COARSE_COLUMN, coarse), (FEATURES_COLUMN, together))
    }


def features_from(table: pa.Table, metadata: IndexMetadata, device: torch.device | str = "cpu") -> TCDVideoFeatures:
    """The features of rows, in their order: float32 on a device, masks as bool, with their scoring tables.

    Args:
        table (`pa.Table`): rows of an index; without the column `coarse`, or `features`, what it holds is `None`.
        metadata ([`IndexMetadata`]): of the index.
        device (`torch.device` or `str`, *optional*, defaults to `"cpu"`): where to put the tensors.
    """
    fields, tables = {}, {}
    if COARSE_COLUMN in table.column_names:
        fields["coarse_embeds"] = _tensor(table.column(COARSE_COLUMN)).to(device)
    if FEATURES_COLUMN in table.column_names:
        shapes = metadata.stored_together
        together = _tensor(table.column(FEATURES_COLUMN)).to(device)
        pieces = together.split([math.prod(shape) for shape in shapes.values()], dim=1)
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True):
            tensor = (piece.bool() if name in metadata.masks else piece.float()).unflatten(1, shape)
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


def _checksum_of(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=CHECKSUM_BYTES).hexdigest().encode()


def _tensor(column: pa.ChunkedArray) -> torch.Tensor:
    """Lists of one length as a matrix."""
    if not len(column):
        return torch.zeros(0, column.type.list_size)
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


def are_whole(rows: pa.Table, thoroughly: bool = False) -> list[bool]:
    """For each row whether it is what was written.

    Args:
        rows (`pa.Table`): rows of an index, with the columns `VERIFIED_COLUMNS`.
        thoroughly (`bool`, *optional*, defaults to `False`): compare with its captions also the columns that were read
            off from them, on which rows are filtered and recalled; of these the rows must have all.
    """
    own_ids = map(row_id, rows["path"].to_pylist(), rows["segment"].to_pylist())
    whole = [
        (checksum, own_id) == (stored, stored_id)
        for checksum, own_id, stored, stored_id in zip(
            checksums(rows), own_ids, rows["checksum"].to_pylist(), rows["id"].to_pylist(), strict=True
        )
    ]
    if not thoroughly:
        return whole
    places = [place for place, is_whole in enumerate(whole) if is_whole]  # of others captions may not even be read
    expected = _read_off(captions_from(rows[CAPTIONS_COLUMN].take(places)))
    for name, values in expected.items():
        for place, value, stored in zip(places, values, rows[name].take(places).to_pylist(), strict=True):
            whole[place] = whole[place] and value == stored
    return whole


def _sources(captions: Sequence[WindowCaption]) -> str:
    return " ".join(sorted({track.source for caption in captions for track in caption.tracks}))


def _distinct_texts(captions: Sequence[WindowCaption]) -> str:
    return " ".join(dict.fromkeys(caption.text for caption in captions if caption.text))
