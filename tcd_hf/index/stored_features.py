"""The column `features` of a row: all that it is scored by, as numbers of one type, one tensor after another.

In `"float16"` every number is one. In `"int8"` the vectors are [`~tcd_hf.index.int8_vectors.encode_vectors`]'s, and all
else, masks and scoring tables, is float16 as before, two bytes of the column a number: it is little, and scores hang on
it more.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from tcd_hf.choices import FeatureType
from tcd_hf.index.int8_vectors import as_halves, bytes_of_vector, decode_vectors, encode_vectors

if TYPE_CHECKING:
    from tcd_hf.index.metadata import IndexMetadata

__all__ = ["FEATURE_PREFIX", "column_type", "decode_features", "encode_features"]

FEATURE_PREFIX = "feature_"
ARROW_TYPES: dict[FeatureType, pa.DataType] = {"float16": pa.float16(), "int8": pa.int8()}


def column_type(metadata: "IndexMetadata") -> pa.DataType:
    """The Arrow type of the column."""
    return pa.list_(ARROW_TYPES[metadata.feature_type], sum(_widths(metadata).values()))


def encode_features(tensors: Mapping[str, np.ndarray], metadata: "IndexMetadata") -> np.ndarray:
    """Values of the column.

    Args:
        tensors (`dict[str, np.ndarray]`): of rows, float16, those of the metadata but the coarse vectors.
        metadata ([`IndexMetadata`]): of the index.

    Returns:
        `np.ndarray` of shape `(num_rows, width)`, of the type of the features.
    """
    parts = []
    for name in metadata.stored_together:
        rows = tensors[name]
        if _is_encoded(name, metadata):
            rows = encode_vectors(rows)
        flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        parts.append(np.ascontiguousarray(flat).view(metadata.feature_type))
    return np.concatenate(parts, axis=1)


def decode_features(column: torch.Tensor, metadata: "IndexMetadata") -> dict[str, torch.Tensor]:
    """The tensors of rows by name, float32, masks as int64, on the device of what is given: only these rows are held
    as whole numbers.

    Args:
        column (`torch.Tensor` of shape `(num_rows, width)`): values of the column.
        metadata ([`IndexMetadata`]): of the index.
    """
    tensors = {}
    pieces = column.split(list(_widths(metadata).values()), dim=1)
    for (name, shape), piece in zip(metadata.stored_together.items(), pieces, strict=True):
        if _is_encoded(name, metadata):
            tensors[name] = decode_vectors(piece.unflatten(1, (*shape[:-1], bytes_of_vector(shape[-1]))))
        else:
            numbers = as_halves(piece)
            tensors[name] = (numbers.long() if name in metadata.masks else numbers.float()).unflatten(1, shape)
    return tensors


def _is_encoded(name: str, metadata: "IndexMetadata") -> bool:
    """Whether a tensor is one of vectors that are kept as int8."""
    if metadata.feature_type != "int8" or name in metadata.masks or not name.startswith(FEATURE_PREFIX):
        return False
    return metadata.shapes[name][-1] == metadata.dim


def _widths(metadata: "IndexMetadata") -> dict[str, int]:
    """How many numbers of the column each tensor takes."""
    per_number = 2 if metadata.feature_type == "int8" else 1
    return {
        name: math.prod(shape[:-1]) * bytes_of_vector(shape[-1])
        if _is_encoded(name, metadata)
        else per_number * math.prod(shape)
        for name, shape in metadata.stored_together.items()
    }
