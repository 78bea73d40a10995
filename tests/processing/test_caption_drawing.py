import numpy as np
import pytest
from PIL import Image, ImageFont

from tcd_hf.processing import caption_drawing
from tcd_hf.processing.caption_drawing import BOX_COLOR, STRIP_COLOR, draw_boxes, draw_captions
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import TextTrack, WindowCaption
from tests.clips import write_clip

GREY = (100, 100, 100)


def grey(*levels) -> np.ndarray:
    return np.stack([np.full((36, 64, 3), level, np.uint8) for level in levels])


def picture(width=320, height=180) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def rows_of(image: Image.Image, color: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((np.asarray(image) == color).all(-1).sum(1) >= 12)


class TestBoxes:
    def test_an_outline_stands_where_the_box_says(self):
        before = picture(321, 201)
        drawn = draw_boxes(before, [(0.25, 0.25, 0.75, 0.5)])
        for pixel in ((80, 70), (160, 50), (240, 70), (160, 100)):  # a quarter of 320 and of 200, and so on
            assert drawn.getpixel(pixel) == BOX_COLOR
        assert drawn.getpixel((79, 70)) == STRIP_COLOR  # its dark edge
        assert drawn.getpixel((160, 75)) == drawn.getpixel((10, 10)) == GREY
        assert before.getpixel((80, 70)) == GREY  # a copy

    def test_what_lies_outside_is_cut_off(self):
        drawn = draw_boxes(picture(), [(-1, -1, 2, 2)])
        assert drawn.size == (320, 180)
        assert all(drawn.getpixel(corner) == BOX_COLOR for corner in ((0, 179), (319, 0), (319, 179)))

    @pytest.mark.parametrize("box", [(0.75, 0.25, 0.25, 0.5), (0.25, 0.5, 0.75, 0.25), (0.75, 0.5, 0.25, 0.25)])
    def test_any_two_opposite_corners_make_a_box(self, box):
        expected = draw_boxes(picture(), [(0.25, 0.25, 0.75, 0.5)], ["EXIT"])
        assert draw_boxes(picture(), [box], ["EXIT"]) == expected

    @pytest.mark.parametrize(("box", "above"), [((0.3, 0.5, 0.6, 0.6), True), ((0.3, 0.02, 0.6, 0.2), False)])
    def test_a_label_stands_above_its_box_or_below_where_there_is_no_room(self, box, above):
        strip = rows_of(draw_boxes(picture(), [box], ["EXIT"]), STRIP_COLOR)
        strip = strip[(strip < box[1] * 179 - 2) | (strip > box[3] * 179 + 2)]  # the box has a dark edge, too
        assert len(strip) >= 12
        assert (strip < box[1] * 179).all() if above else (strip > box[3] * 179).all()

    def test_labels_are_white_on_dark_and_leave_other_boxes_alone(self):
        boxes = [(0.1, 0.3, 0.6, 0.4), (0.1, 0.45, 0.6, 0.55)]  # the place above the second is that of the first
        drawn = draw_boxes(picture(), boxes, ["first", "second"])
        both = np.asarray(drawn)[:, 32:100]
        assert (both == 255).all(-1).any()
        between = np.asarray(drawn)[round(0.4 * 179) + 3 : round(0.45 * 179) - 3, 40:90]
        assert (between == GREY).all()

    def test_a_long_label_is_cut_to_the_picture(self):
        drawn = np.asarray(draw_boxes(picture(), [(0.8, 0.5, 0.95, 0.6)], ["word " * 100]))
        strip = (drawn[:85] == STRIP_COLOR).all(-1).any(0)  # above the box
        assert 280 <= strip.sum() <= 320

    def test_labels_must_be_as_many_as_boxes(self):
        with pytest.raises(ValueError, match="1 labels for 2 boxes"):
            draw_boxes(picture(), [(0, 0, 1, 1)] * 2, ["one"])

    def test_without_any_font_installed(self, monkeypatch):
        def missing(name, size):
            raise OSError("cannot open resource")

        own = ImageFont.load_default(13)
        monkeypatch.setattr(caption_drawing.ImageFont, "truetype", missing)
        monkeypatch.setattr(caption_drawing.ImageFont, "load_default", lambda size: own)
        caption_drawing.label_font.cache_clear()
        try:
            drawn = np.asarray(draw_boxes(picture(), [(0.3, 0.5, 0.6, 0.6)], ["EXIT 出口"]))
        finally:
            caption_drawing.label_font.cache_clear()
        assert (drawn == 255).all(-1).any()


class TestSheet:
    def test_sheet_shows_frames_and_boxes(self):
        captions = [
            WindowCaption(0.0, 1.0, "EXIT 出口", [TextTrack("EXIT 出口", 0.9, 0.0, 1.0, (0.25, 0.25, 0.75, 0.75))]),
            WindowCaption(1.0, 2.0),
        ]
        sheet = draw_captions(open_video(grey(100, 200), fps=1.0), captions, columns=2, tile_width=128)
        assert isinstance(sheet, Image.Image)
        tile = np.asarray(sheet)[8:80, 8:136]
        assert tile[10, 64].tolist() == [100, 100, 100] and tile[18, 64].tolist() == list(BOX_COLOR)  # 1/4 of 71
        assert np.asarray(sheet)[44, 8 + 136 + 64].tolist() == [200, 200, 200]

    def test_decord_which_may_end_the_process_is_not_asked(self, tmp_path, no_decord):
        clip = write_clip(
            tmp_path / "a.mp4", [frame for level in (100, 200) for frame in np.repeat(grey(level), 10, 0)]
        )
        sheet = np.asarray(draw_captions(clip, [WindowCaption(0.0, 1.0), WindowCaption(1.0, 2.0)], 2, 128))
        assert np.abs(sheet[44, [8 + 64, 8 + 136 + 64]].astype(int) - [[100], [200]]).max() <= 4

    def test_frames_may_be_given(self):
        captions = [WindowCaption(0.0, 1.0, "word " * 100)]
        from_array = draw_captions([grey(9)[0]], captions)
        from_image = draw_captions([Image.fromarray(grey(9)[0])], captions)
        assert from_array.size == from_image.size and from_array.tobytes() == from_image.tobytes()

    @pytest.mark.parametrize("text", ["WWWW WW " * 40, "ill it " * 80])
    def test_captions_fill_their_lines_and_stay_on_the_sheet(self, text):
        sheet = np.asarray(draw_captions([np.full((36, 64, 3), 255, np.uint8)], [WindowCaption(0.0, 1.0, text)]))
        dark = np.flatnonzero((sheet[-60:] < 128).all(-1).any(0))  # columns of the last lines
        assert 0.7 * 426 < dark.max() < 8 + 426

    def test_nothing_to_draw(self):
        with pytest.raises(ValueError, match="no captions"):
            draw_captions(grey(1), [])
