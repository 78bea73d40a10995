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
    kept = [np.frombuffer(row, np.float16).reshape(-1, 4).tolist() for row in rows]
    assert kept == [[[1, 0, 0, 0], [0, 0, 0, 1]], [], [[0, 1, 0, 0]]]


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
