"""Where text stands: sizes of looking, and boxes in pixels of the image as given."""

import numpy as np
import pytest

from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.text_detection import Boxes, reading_size
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
    (box,), (is_sure,) = detector.find(image, size)
    assert box.shape == (4, 2) and is_sure
    top, left = dark.min(axis=0)
    bottom, right = dark.max(axis=0)
    assert box[0] == pytest.approx([left, top], abs=12) and box[2] == pytest.approx([right, bottom], abs=12)


def test_likely_text_is_where_text_is(detector):
    image = text_frame("OPEN CAFE", (320, 192), position=(0.5, 0.25), font_size=40)
    probabilities = detector.probabilities(image, (192, 320))
    assert probabilities.shape == (1, 1, 192, 320)
    assert probabilities[0, 0, :96].max() > 0.9 and probabilities[0, 0, 110:].max() < 0.1


def test_nothing_is_a_normal_answer(detector):
    for image in (np.full((90, 160, 3), 200, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        boxes = detector.find(image, image.shape[:2])
        assert boxes.quads.shape == (0, 4, 2) and boxes.are_sure.shape == (0,)


def test_what_is_found_below_the_threshold_is_not_sure(detector, monkeypatch):
    """Each of two boxes beside each other has its own score, in whatever order they were found."""
    image = text_frame("OPEN", (640, 180), position=(0.2, 0.5), font_size=40)
    image = text_frame("CAFE", background=image, position=(0.8, 0.5))
    found, scores = detector.detector.postprocess_op(detector.probabilities(image, (192, 640)), (180, 640))
    by_place = [score for _, score in sorted(zip(found[:, 0, 0].tolist(), scores, strict=True))]
    assert len(by_place) == 2
    between = sum(by_place) / 2
    monkeypatch.setattr(detector, "threshold", between)
    quads, are_sure = detector.find(image, (180, 640))
    assert quads[0, 0, 0] < 320 < quads[1, 0, 0] and are_sure.tolist() == [score > between for score in by_place]
    monkeypatch.setattr(detector, "threshold", 1.0)
    assert not detector.find(image, (180, 640)).are_sure.any()
    assert Boxes(quads, are_sure).only(are_sure).quads.shape == (1, 4, 2)
