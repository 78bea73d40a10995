"""Boxes that show what was read there before."""

import numpy as np
import pytest

from tcd_hf.processing.text_recognition import Reading
from tcd_hf.processing.unchanged_boxes import ReadBoxes
from tests.clips import text_frame

FRAME = text_frame("OPEN CAFE", (320, 180), position=(0.5, 0.25), font_size=40)


def box(x0, y0, x1, y1) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)


READ = Reading("OPEN CAFE", 0.95, box(45, 22, 275, 70))


def known(reading=READ, frame=FRAME) -> ReadBoxes:
    boxes = ReadBoxes()
    boxes.look(frame)
    boxes.keep([reading])
    return boxes


def test_what_did_not_change_is_recalled():
    noise = np.random.default_rng(0).integers(-3, 4, FRAME.shape)
    boxes = known()
    boxes.look((FRAME + noise).clip(0, 255).astype(np.uint8))
    assert boxes.recall(box(48, 24, 273, 68)) is READ
    assert boxes.recall(box(45, 112, 275, 160)) is None  # of another place


@pytest.mark.parametrize(
    "frame",
    [
        text_frame("OPEN CAFF", (320, 180), position=(0.5, 0.25), font_size=40),
        text_frame("OPEN CAFE", (320, 180), position=(0.51, 0.25), font_size=40),
        (FRAME * 0.9).astype(np.uint8),  # it fades
        FRAME[:90],  # of another size
    ],
)
def test_what_changed_is_not(frame):
    boxes = known()
    boxes.look(frame)
    assert boxes.recall(READ.quad) is None
    boxes.look(FRAME)  # once changed, forgotten
    assert boxes.recall(READ.quad) is None


def test_what_was_not_read_surely_is_read_again_but_is_still_there():
    unsure = Reading("OPEN CAFE", 0.85, READ.quad)
    boxes = known(unsure)
    boxes.look(FRAME)
    assert boxes.recall(READ.quad) is None
    assert boxes.beside([]) == [unsure]
    assert boxes.beside([box(0, 100, 320, 180)]) == [unsure]
    assert boxes.beside([box(250, 20, 320, 80)]) == []  # a part of it stands in another box


def test_text_that_grows_is_read_again():
    boxes = known()
    boxes.look(FRAME)
    assert boxes.recall(box(45, 22, 300, 70)) is None


def test_slow_change_adds_up():
    boxes, level = known(), 0
    while level < 60:
        level += 4  # at a time: as little as a video codec changes
        boxes.look((FRAME.astype(int) - level).clip(0).astype(np.uint8))
        boxes.keep([READ] if boxes.recall(READ.quad) is READ else [])
    assert boxes.recall(READ.quad) is None
