"""Where text stands: sizes of looking, and boxes in pixels of the image as given."""

import numpy as np
import pytest

from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.text_detection import reading_size
from tests.clips import text_frame


@pytest.fixture(scope="module")
def detector():
    return RapidOCREngine(num_threads=1).models().detector


@pytest.mark.parametrize(
    ("shape", "side", "enlarge", "expected"),
    [
        ((360, 640, 3), 1280, True, (720, 1280)),
        ((360, 640, 3), 1280, False, (360, 640)),
        ((640, 360, 3), 320, False, (320, 180)),
        ((2, 1000, 3), 100, True, (1, 100)),
    ],
)
def test_sizes(shape, side, enlarge, expected):
    assert reading_size(shape, side, enlarge) == expected


@pytest.mark.parametrize("size", [(180, 320), (360, 640)])
def test_boxes_are_in_pixels_of_the_image(detector, size):
    image = text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40)
    dark = np.argwhere(image.min(axis=2) < 128)
    (box,) = detector.find(image, size)
    assert box.shape == (4, 2)
    top, left = dark.min(axis=0)
    bottom, right = dark.max(axis=0)
    assert box[0] == pytest.approx([left, top], abs=12) and box[2] == pytest.approx([right, bottom], abs=12)


def test_likely_text_is_where_text_is(detector):
    image = text_frame("OPEN CAFE", (320, 192), position=(0.5, 0.25), font_size=40)
    probabilities = detector.probabilities(image, (192, 320))
    assert probabilities.shape == (1, 1, 192, 320)
    assert probabilities[0, 0, :96].max() > 0.9 and probabilities[0, 0, 110:].max() < 0.1


def test_nothing_is_a_normal_answer(detector):
    assert detector.find(np.full((90, 160, 3), 200, np.uint8), (90, 160)).shape == (0, 4, 2)
    assert detector.find(np.zeros((1, 1, 3), np.uint8), (1, 1)).shape == (0, 4, 2)
