"""Vectors in a quarter of the bytes: numbers as int8, of each vector in 127ths of its largest one."""

import numpy as np
import torch

__all__ = ["as_halves", "bytes_of_vector", "decode_vectors", "encode_vectors"]

LEVELS = 127  # of a number, on either side of 0
BYTES_OF_LARGEST = 2
SMALLEST = 1e-6  # to divide by, of a vector of zeros


def bytes_of_vector(dim: int) -> int:
    """What a vector of this width takes."""
    return BYTES_OF_LARGEST + dim


def encode_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors as bytes: of each its largest number as a float16, then all its numbers as int8, in 127ths of that.

    What was decoded is encoded to the same bytes.

    Args:
        vectors (`np.ndarray` of shape `(..., dim)`, float16 or float32): finite in float16.

    Returns:
        `np.ndarray` of shape `(..., 2 + dim)`, int8.
    """
    numbers = vectors.astype(np.float16).astype(np.float32)
    largest = np.abs(numbers).max(axis=-1, keepdims=True, initial=0)
    levels = np.rint(LEVELS * numbers / np.maximum(largest, SMALLEST)).astype(np.int8)
    return np.concatenate([largest.astype(np.float16).view(np.int8), levels], axis=-1)


def decode_vectors(encoded: torch.Tensor) -> torch.Tensor:
    """The vectors that bytes hold: no number is further from what it was than a part in 254 of the largest.

    Args:
        encoded (`torch.CharTensor` of shape `(..., 2 + dim)`): see [`encode_vectors`].

    Returns:
        `torch.FloatTensor` of shape `(..., dim)`, on the same device.
    """
    largest = as_halves(encoded[..., :BYTES_OF_LARGEST]).float()
    return encoded[..., BYTES_OF_LARGEST:] * (largest / LEVELS)


def as_halves(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers of float16 that are given as such, or as their bytes, two of which are a number."""
    if numbers.dtype == torch.float16:
        return numbers
    return numbers.clone(memory_format=torch.contiguous_format).view(torch.float16)  # a copy begins at an even byte
