"""What an index is made by and what its columns are: metadata that are kept in the schema of its table."""

import hashlib
import json
import math
import operator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

import pyarrow as pa
import torch

from tcd_hf.choices import FeatureType
from tcd_hf.index.caption_vectors import CAPTION_VECTORS_COLUMN
from tcd_hf.index.lexical import TEXT_SCHEMA
from tcd_hf.index.stored_captions import CAPTIONS_COLUMN
from tcd_hf.index.stored_features import FEATURE_PREFIX, column_type
from tcd_hf.modeling.outputs import TCDVideoFeatures

__all__ = [
    "CHECKSUM_BYTES",
    "COARSE_COLUMN",
    "FEATURES_COLUMN",
    "FEATURE_PREFIX",
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "TABLE_PREFIX",
    "IndexDamagedError",
    "IndexMetadata",
    "IndexMismatchError",
    "feature_tensors",
    "table_schema",
]

# Raise it when columns change, and when features or tables of the same weights are others than before.
SCHEMA_VERSION = 3
METADATA_KEY, METADATA_CHECKSUM_KEY = b"tcd_hf", b"tcd_hf_checksum"
TABLE_PREFIX = "table_"
OCR_EMBEDS = FEATURE_PREFIX + "ocr_embeds"
COARSE_COLUMN = "coarse"  # coarse_embeds; float32, since all of them are held in memory as they are
FEATURES_COLUMN = "features"  # all others, one after another: one column is read in a third of the time of eight

CHECKSUM_BYTES = 8

UNREADABLE = (
    "its metadata is not as this release of tcd-hf writes it: use the release that made it, or a newer one. Found:"
)

# For each fingerprint, what it is of, and what to do where it differs.
PARTS = {
    "model_fingerprint": (
        "model, or with other weights or dtype",
        "Open it with that model (the command line does so without --model) as it was when it made the index,",
    ),
    "tokenizer_fingerprint": (
        "tokenizer or `max_length`, or with other prefixes of texts",
        "Open it with the processor of that model,",
    ),
    "caption_fingerprint": (
        "OCR engine, release or options of it, or other settings of the captions, or by a release that read otherwise",
        "It can be searched all the same. To add videos, give what it was made with (`ocr_engine`, --ocr-engine) if "
        "that was another,",
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
        has_caption_vectors (`bool`, defaults to `False`): whether rows have a column of vectors of their captions to be
            recalled by; those of indexes that were made before do not.
        feature_type (`"float16"` or `"int8"`, defaults to `"float16"`): how the column `features` holds its numbers;
            those of indexes that were made before are float16.
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
    has_caption_vectors: bool = False
    feature_type: FeatureType = "float16"
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def describe(cls, features: TCDVideoFeatures, **made_by: Any) -> "IndexMetadata":
        """The metadata of an index of such features; `made_by` are the other attributes."""
        tensors = feature_tensors(features)
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        masks = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
        return cls(**made_by, shapes=shapes, masks=masks, has_caption_vectors=OCR_EMBEDS in shapes)

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

    def check_feature_type(self, uri: str, feature_type: FeatureType | None) -> None:
        """Compares how features are to be kept with how an index keeps them.

        Args:
            uri (`str`): of the index, for the message.
            feature_type (`str`, *optional*): how they are to be kept; nothing is asked for by default.

        Raises:
            IndexMismatchError: the index keeps them otherwise; says what to do.
        """
        if feature_type is not None and feature_type != self.feature_type:
            raise IndexMismatchError(
                f"The index {uri} keeps its features as {self.feature_type}, not {feature_type}. Leave feature_type "
                "out, or make a new index in another folder."
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
            numbers = numbers and made.feature_type in get_args(FeatureType)
            whole = numbers and isinstance(made.reading, dict) and all(isinstance(name, str) for name in names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IndexMismatchError(f"{UNREADABLE} {error}.") from error
        if not whole:
            raise IndexMismatchError(f"{UNREADABLE} {str(values)[:200]}.")
        return made


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
    times the time to read. Features and scoring tables are stored as the metadata say, see
    [`~tcd_hf.index.stored_features`], masks among them as 0 and 1: float16 moves no score by more than 1e-4, int8 takes
    half of its bytes. Coarse vectors are float32.
    """
    described = metadata.to_json()
    stored = {METADATA_KEY: described, METADATA_CHECKSUM_KEY: _checksum_of(described)}
    return pa.schema(_columns(metadata), metadata=stored)


def _columns(metadata: IndexMetadata) -> list[pa.Field]:
    optional = [pa.field(CAPTION_VECTORS_COLUMN, pa.binary(), nullable=False)] if metadata.has_caption_vectors else []
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
        pa.field(FEATURES_COLUMN, column_type(metadata), nullable=False),
        *optional,
        pa.field("checksum", pa.binary(CHECKSUM_BYTES), nullable=False),
    ]


def _checksum_of(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=CHECKSUM_BYTES).hexdigest().encode()
