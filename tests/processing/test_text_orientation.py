"""Text that does not lie level: on its side, upside down, tilted, stacked. Read by the real models."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tcd_hf.processing.frame_skipping import Stretch
from tcd_hf.processing.ocr_engines import get_engine
from tcd_hf.processing.text_orientation import letter_strip, letters_of, stacks, turned
from tests.clips import text_frame

SQUARE = np.array([[10, 20], [50, 20], [50, 30], [10, 30]], dtype=np.float32)  # 40 wide, 10 high


@pytest.fixture(scope="module")
def engine():
    return get_engine("rapidocr", runtime="onnxruntime")  # in bfloat16 boxes are less exact


def read(engine, frame: np.ndarray) -> list[str]:
    return [reading.text for reading in engine([np.ascontiguousarray(frame)])[0]]


def quad(x: float, y: float, width: float = 20, height: float = 24) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=np.float32)


def stacked_frame(text: str, size: int = 34) -> np.ndarray:
    image = Image.new("RGB", (640, 360), (20, 40, 90))
    font = ImageFont.load_default(size)
    for index, letter in enumerate(text):
        ImageDraw.Draw(image).text((320, 40 + index * size * 1.1), letter, font=font, fill="white", anchor="mm")
    return np.asarray(image)


class TestTurnedText:
    @pytest.mark.parametrize("quarters", [1, 2, 3])
    def test_is_read_at_quarters_of_a_circle(self, engine, quarters):
        frame = text_frame("EXIT 24 NORTH", (900, 300), font_size=80)
        assert read(engine, np.rot90(frame, quarters)) == ["EXIT 24 NORTH"]

    @pytest.mark.parametrize("angle", [30, -30, 45, -45])
    def test_tells_how_it_lies(self, engine, angle):
        image = Image.fromarray(text_frame("OPEN CAFE", (640, 640), font_size=60))
        frame = np.asarray(image.rotate(angle, fillcolor="white", resample=Image.Resampling.BICUBIC))
        readings = engine([frame])[0]
        assert "".join(reading.text for reading in readings).replace(" ", "") == "OPENCAFE"
        for reading in readings:
            (x0, y0), (x1, y1) = reading.corners[:2]
            assert np.degrees(np.arctan2(y0 - y1, x1 - x0)) == pytest.approx(angle, abs=4)
            x, y = np.transpose(reading.corners)
            assert reading.box == pytest.approx((min(x), min(y), max(x), max(y)), abs=1e-6)

    def test_upright_text_has_no_corners(self, engine):
        assert [reading.corners for reading in engine([text_frame("OPEN CAFE")])[0]] == [None]

    def test_upside_down_begins_at_the_right(self, engine):
        (reading,) = engine([np.rot90(text_frame("EXIT 24 NORTH", (900, 300), font_size=80), 2).copy()])[0]
        (x0, y0), (x1, _), _, (_, y3) = reading.corners
        assert x0 > x1 and y0 > y3


class TestStackedText:
    @pytest.mark.parametrize("text", ["HOTEL", "2024", "PIZZA"])
    def test_is_one_word(self, engine, text):
        assert read(engine, stacked_frame(text)) == [text]

    def test_digits_of_a_table_stay_apart(self, engine):
        frame = stacked_frame("246")
        for index, name in enumerate(("Nadal", "Murray", "Federer")):
            at = (0.25, (40 + index * 34 * 1.1) / 360)
            frame = text_frame(name, background=frame, position=at, font_size=30, color="white")
        assert "246" not in read(engine, frame)


def test_a_turned_quad_begins_at_another_corner():
    # text that reads downwards has its top left corner at the top right of the image
    assert turned(SQUARE, 1).tolist() == [[50, 20], [50, 30], [10, 30], [10, 20]]
    assert turned(turned(SQUARE, 1), 3).tolist() == SQUARE.tolist()


class TestStacks:
    def test_are_found_from_the_top(self):
        assert stacks([quad(100, 60), quad(101, 30), quad(99, 90), quad(300, 30)]) == [[1, 0, 2]]

    def test_some_letters_may_share_a_box(self):
        assert stacks([quad(100, 30), quad(100, 60, height=80)]) == [[0, 1]]

    def test_lines_that_run_downwards_are_none(self):
        assert stacks([quad(100, 30, height=90), quad(100, 125, height=80)]) == []

    def test_rows_of_a_table_are_none(self):
        column = [quad(100, 30), quad(100, 60), quad(100, 90)]
        assert stacks([*column, quad(10, 60, width=70)]) == []

    def test_lines_of_text_are_none(self):
        assert stacks([quad(100, y, width=200) for y in (30, 60, 90)]) == []


def test_letters_are_parted_and_laid_side_by_side():
    image = np.full((200, 100, 3), 255, np.uint8)
    for top in (20, 60, 100, 140):
        image[top : top + 28, 40:60] = 0
    letters = letters_of(image, np.array([[30, 10], [70, 10], [70, 180], [30, 180]], dtype=np.float32))
    assert len(letters) == 4
    assert [letter[0, 1] for letter in letters] == pytest.approx([20, 60, 100, 140], abs=4)
    strip = letter_strip(image, letters)
    dark = (strip < 128).all(axis=2).any(axis=0)
    assert strip.shape[0] == 48 and np.diff(dark.astype(int)).tolist().count(1) == 4


@pytest.mark.parametrize(("text", "size"), [("STOP", 200), ("24", 220), ("7", 250)])
def test_letters_that_fill_a_frame_are_read_in_a_video(engine, text, size):
    frame = text_frame(text, (640, 360), font_size=size)
    (readings,) = engine.video_reader()([Stretch(0.0, frame, [0.0], after_cut=True)])
    assert [reading.text for reading in readings] == [text]
