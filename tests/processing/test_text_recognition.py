"""What stands in boxes: crops, buckets of widths, and real readings of rendered text."""

from types import SimpleNamespace

import numpy as np
import pytest

from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.text_orientation import turned
from tcd_hf.processing.text_recognition import TextRecogniser
from tests.clips import text_frame

IMAGE = text_frame(
    "BUS 42", background=text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40), position=(0.5, 0.75)
)
OPEN = np.array([(45, 22), (275, 22), (275, 70), (45, 70)], np.float32)
BUS = np.array([(102, 116), (218, 116), (218, 154), (102, 154)], np.float32)


@pytest.fixture(scope="module")
def recogniser():
    return RapidOCREngine(num_threads=1).models().recogniser


@pytest.fixture
def shapes(recogniser, monkeypatch):
    """Shapes of the arrays that the runtime computes on."""
    seen, session = [], recogniser.recogniser.session
    monkeypatch.setattr(recogniser.recogniser, "session", lambda batch: seen.append(batch.shape) or session(batch))
    return seen


def test_boxes_are_read_in_their_order(recogniser):
    readings = recogniser.read(IMAGE, [BUS, OPEN])
    assert [reading.text for reading in readings] == ["BUS 42", "OPEN CAFE"]
    assert all(reading.confidence > 0.9 for reading in readings)
    assert readings[0].quad == pytest.approx(BUS)
    assert recogniser.read(IMAGE, []) == []


@pytest.mark.parametrize("scale", [0.5, 3])  # of small text and of text much higher than the network's 48 pixels
def test_size_of_the_image_does_not_matter(recogniser, scale):
    size = (round(320 * scale), round(180 * scale))
    image = text_frame("OPEN CAFE", size, position=(0.5, 0.25), font_size=round(40 * scale))
    assert [reading.text for reading in recogniser.read(image, [OPEN * scale])] == ["OPEN CAFE"]


def test_crops_are_upright(recogniser):
    lying = np.ascontiguousarray(np.rot90(IMAGE, -1))  # by 90 degrees clockwise: (179 - y, x) was (x, y)
    box = np.array([(109, 45), (157, 45), (157, 275), (109, 275)], np.float32)
    crop = recogniser.crop(lying, turned(box, 1))
    assert crop.shape == (48, 230, 3)
    level = recogniser.crop(IMAGE, OPEN)
    assert np.abs(crop.astype(int) - level).mean() < 5


def test_few_shapes_whatever_the_boxes(recogniser, shapes):
    widths = [*range(1, 420, 7), 1000, 3000]
    texts = recogniser.read_crops([np.zeros((48, min(width, 2560), 3), np.uint8) for width in widths])
    assert len(texts) == len(widths)
    assert len({shape[3] for shape in shapes}) <= 20 and max(shape[3] for shape in shapes) == 2560
    assert sum(shape[0] for shape in shapes) == len(widths)  # nothing is read twice
    assert all(count in (1, 2, 4, 8) and count * width <= max(width, 1024) for count, _, _, width in shapes)


def test_a_reading_does_not_depend_on_its_neighbours(recogniser):
    open_cafe, bus = recogniser.crop(IMAGE, OPEN), recogniser.crop(IMAGE, BUS)
    alone = recogniser.read_crops([open_cafe])[0]
    among = recogniser.read_crops([bus, open_cafe, open_cafe, bus, open_cafe])
    assert among[1][0] == among[4][0] == alone[0]
    assert among[1][1] == pytest.approx(alone[1], abs=1e-3)


def test_very_long_lines_are_squeezed(recogniser):
    line = np.array([(0, 0), (5000, 0), (5000, 10), (0, 10)], np.float32)
    assert recogniser.crop(np.zeros((10, 5000, 3), np.uint8), line).shape == (48, 2560, 3)


def test_arabic_comes_in_the_order_in_which_it_is_written():
    """The network's letters come from left to right: of a word that begins at the right, the last one first."""
    pytest.importorskip("bidi")
    from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

    letters = ["\u0628", "\u0627", "\u062a"]  # beh, alef, teh; 0 is the blank
    decode = CTCLabelDecode(character=list(letters))
    steps = np.eye(5, dtype=np.float32)[[3, 0, 2, 0, 1]][None]
    model = SimpleNamespace(session=lambda batch: steps, postprocess_op=decode)
    recogniser = TextRecogniser(model, classifier=None, is_unreadable=lambda probabilities: False)
    (text, confidence, is_readable), *_ = recogniser.read_crops([np.zeros((48, 64, 3), np.uint8)])
    assert text == "".join(letters) and confidence == pytest.approx(1) and is_readable
