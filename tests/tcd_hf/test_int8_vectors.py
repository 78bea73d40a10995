"""Vectors as int8: how near they stay, and that they are written alike again."""

import numpy as np
import pytest
import torch

from tcd_hf.index.int8_vectors import bytes_of_vector, decode_vectors, encode_vectors


@pytest.mark.parametrize("dim", [1, 15, 384])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_numbers_stay_within_half_a_level(dim, scale):
    vectors = scale * np.random.default_rng(dim).standard_normal((50, 3, dim)).astype(np.float32)
    vectors[0, 0] = 0
    encoded = encode_vectors(vectors)
    assert encoded.dtype == np.int8 and encoded.shape == (50, 3, bytes_of_vector(dim))
    decoded = decode_vectors(torch.from_numpy(encoded)).numpy()
    allowed = np.abs(vectors).max(axis=-1, keepdims=True) * (1 / 254 + 1 / 1024) + 1e-6
    assert decoded.dtype == np.float32 and (np.abs(decoded - vectors) <= allowed).all()
    assert not decoded[0, 0].any()
    np.testing.assert_array_equal(encode_vectors(decoded), encoded)


def test_there_may_be_no_vector():
    encoded = encode_vectors(np.zeros((0, 4), np.float32))
    assert encoded.shape == (0, 6) and decode_vectors(torch.from_numpy(encoded)).shape == (0, 4)


def test_the_bytes_of_an_odd_row_may_begin_anywhere():
    encoded = torch.from_numpy(encode_vectors(np.eye(3, dtype=np.float32)))
    shifted = torch.cat([torch.zeros(1, dtype=torch.int8), encoded.flatten()])[1:].view(3, 5)
    torch.testing.assert_close(decode_vectors(shifted[1:2]), torch.eye(3)[1:2])
