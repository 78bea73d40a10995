"""The vectors of the different captions of rows, and products with them."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tcd_hf.index.caption_vectors import CaptionVectors, encode_caption_vectors
from tcd_hf.processing.window_ocr import WindowCaption

UNIT = torch.eye(4)


def windows(*texts):
    return [WindowCaption(float(place), place + 1.0, text) for place, text in enumerate(texts)]


def stored(rows):
    return pa.array(rows, pa.large_binary())


@pytest.fixture
def rows():
    """Three rows: two captions, one of them twice; none; one."""
    captions = [windows("way out", "", "way out", "gate"), windows("", "", "", ""), windows("", "shop", "", "")]
    return encode_caption_vectors(captions, UNIT.expand(3, 4, 4))


def test_each_different_caption_is_kept_once_in_order_of_time(rows):
    assert [len(row) for row in rows] == [2 * 6, 0, 6]
    largest = np.frombuffer(rows[0], np.int8).reshape(2, 6)[:, :2].copy().view(np.float16)
    numbers = np.frombuffer(rows[0], np.int8).reshape(2, 6)[:, 2:]
    assert largest.ravel().tolist() == [1, 1] and numbers.tolist() == [[127, 0, 0, 0], [0, 0, 0, 127]]


def test_vectors_are_kept_to_a_part_in_254_of_their_largest_number():
    embeds = torch.nn.functional.normalize(torch.randn(40_000, 1, 8, generator=torch.manual_seed(0)), dim=-1)
    rows = encode_caption_vectors([windows("a")] * len(embeds), embeds)
    vectors = CaptionVectors(stored(rows), 8)
    for direction in np.eye(8, dtype=np.float32):
        expected = embeds[:, 0].numpy() @ direction
        allowed = np.abs(embeds[:, 0].numpy()).max(axis=1) / 254 + 1e-3
        assert (np.abs(vectors.exact(direction, np.arange(len(rows))) - expected) <= allowed).all()


def test_a_row_counts_by_its_nearest_caption(rows):
    vectors = CaptionVectors(stored(rows), 4)
    query = np.array([0.1, 0.7, 0.2, 0.6], np.float32)
    assert vectors.with_text.tolist() == [0, 2]
    np.testing.assert_allclose(vectors.products(query), [0.6, -np.inf, 0.7], rtol=1e-3)
    np.testing.assert_allclose(vectors.exact(query, np.array([2, 0])), [0.7, 0.6], rtol=1e-6)
    assert vectors.exact(query, np.zeros(0, np.int64)).shape == (0,)


def test_there_may_be_no_row_and_no_text(rows):
    assert CaptionVectors(stored([]), 4).products(np.ones(4, np.float32)).shape == (0,)
    assert np.isneginf(CaptionVectors(stored(rows[1:2]), 4).products(np.ones(4, np.float32))).all()
