"""The window-OCR captioner: windows, sampling, filters, captions, and real OCR on rendered clips."""

import copy
import json
import logging
import pickle

import numpy as np
import pytest

from tcd_hf.processing.ocr_engines import get_engine
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import TextTrack, WindowCaption, WindowOCRCaptioner, fit_caption
from tests.clips import text_clip, text_frame, write_clip

BOX = (0.1, 0.1, 0.5, 0.2)
FAST = {"limit_side_len": 320, "num_threads": 1}  # the test clips are small and their letters large


class LevelReader:
    """An engine of the user's: reads the grey level of a frame as "level 12" and counts what it was given."""

    def __init__(self, confidence=0.9, box=BOX):
        self.confidence, self.box, self.seen = confidence, box, []

    def __call__(self, images):
        self.seen += [int(image[0, 0, 0]) for image in images]
        return [[(f"level {image[0, 0, 0]}", self.confidence, self.box)] for image in images]


class UncopyableReader(LevelReader):
    def __deepcopy__(self, memo):
        raise TypeError("holds a lock")


def grey(*levels) -> np.ndarray:
    return np.stack([np.full((36, 64, 3), level, np.uint8) for level in levels])


def read_texts(batch, captioner):
    return {"texts": [[caption.text for caption in captioner(path)] for path in batch["path"]]}


class TestWindows:
    def test_sample_times_are_the_middles_of_equal_pieces(self):
        captioner = WindowOCRCaptioner(engine=None, num_windows=2, ocr_fps=2.0)
        assert captioner.sample_times(2.0) == pytest.approx([0.25, 0.75, 1.25, 1.75])
        assert captioner.sample_times(2.4) == pytest.approx([0.2, 0.6, 1.0, 1.4, 1.8, 2.2])  # at least ocr_fps
        assert captioner.sample_times(0.5) == pytest.approx([0.125, 0.375])  # at least the centre of each window

    def test_window_scale_keeps_to_the_middle(self):
        captioner = WindowOCRCaptioner(engine=None, num_windows=2, window_scale=0.5, ocr_fps=2.0)
        assert captioner.sample_times(4.0) == pytest.approx([0.75, 1.25, 2.75, 3.25])

    @pytest.mark.parametrize(
        ("scale", "expected"), [(1.0, ["level 10 level 90", "level 200"]), (0.5, ["level 90", "level 200"])]
    )
    def test_text_comes_from_the_scaled_part(self, scale, expected):
        captioner = WindowOCRCaptioner(LevelReader(), num_windows=2, window_scale=scale, ocr_fps=1.0)
        frames = zip((0.3, 1.0, 1.4, 2.5, 3.0), grey(10, 90, 90, 200, 200), strict=True)
        captions = captioner.caption_frames(frames, 4.0)
        assert [(caption.start, caption.end) for caption in captions] == [(0.0, 2.0), (2.0, 4.0)]
        assert [sorted_text(caption) for caption in captions] == expected

    def test_every_window_a_frame_stands_for_gets_its_text(self):
        reader = LevelReader()
        captions = WindowOCRCaptioner(reader, num_windows=4, ocr_fps=1.0)(grey(*[50] * 8), fps=1.0)
        assert reader.seen == [50]  # nothing changed: one reading for eight samples
        assert [caption.text for caption in captions] == ["level 50"] * 4
        assert captions[1].tracks == [TextTrack("level 50", 0.9, 2.0, 4.0, BOX, 1, box_time=0.5)]

    def test_track_times_within_a_window(self):
        captions = WindowOCRCaptioner(LevelReader(), num_windows=1, ocr_fps=1.0)(grey(10, 10, 10, 200), fps=1.0)
        # samples at 0.5, 1.5, 2.5, 3.5 s; three of four seconds show the first text, so that it comes first
        seen = [(track.text, track.start, track.end) for track in captions[0].tracks]
        assert seen == [("level 10", 0.0, 3.0), ("level 200", 3.0, 4.0)]
        assert captions[0].text == "level 10 level 200"

    def test_window_without_frames_is_empty(self):
        captioner = WindowOCRCaptioner(LevelReader(), num_windows=3)
        captions = captioner.caption_frames([(0.5, grey(10)[0]), (2.5, grey(200)[0])], 3.0)
        assert [caption.text for caption in captions] == ["level 10", "", "level 200"]
        assert [caption.text for caption in captioner.caption_frames([], 3.0)] == ["", "", ""]

    def test_one_frame_fills_all_windows(self):
        reader = LevelReader()
        captions = WindowOCRCaptioner(reader, num_windows=12)(grey(7), fps=25.0)
        assert reader.seen == [7] and [caption.text for caption in captions] == ["level 7"] * 12

    def test_every_sample_is_read_on_demand(self):
        reader = LevelReader()
        WindowOCRCaptioner(reader, num_windows=4, ocr_fps=1.0, reading_interval=None)(grey(*[50] * 8), fps=1.0)
        assert len(reader.seen) == 8

    def test_an_open_video_stays_open(self):
        with open_video(grey(1, 2), fps=1.0) as video:
            WindowOCRCaptioner(LevelReader(), num_windows=1)(video)
            assert len(video.frames_at([0.0])) == 1


def sorted_text(caption: WindowCaption) -> str:
    return " ".join(sorted(track.text for track in caption.tracks))


class TestFilters:
    @pytest.mark.parametrize(
        ("reader", "kept"),
        [
            (LevelReader(confidence=0.5), True),
            (LevelReader(confidence=0.49), False),
            (LevelReader(box=(0.1, 0.1, 0.5, 0.12)), True),
            (LevelReader(box=(0.1, 0.1, 0.5, 0.105)), False),
            (lambda images: [[(" . | ", 0.9, BOX)] for _ in images], False),
            (lambda images: [[] for _ in images], False),
        ],
    )
    def test_doubtful_tiny_and_wordless_readings_are_dropped(self, reader, kept):
        (caption,) = WindowOCRCaptioner(reader, num_windows=1)(grey(3), fps=1.0)
        assert (caption.text, len(caption.tracks)) == (("level 3", 1) if kept else ("", 0))

    def test_texts_are_normalised(self):
        reader = lambda images: [[(" ＯＰＥＮ\n２４ｈ ", 0.9, BOX)] for _ in images]  # noqa: E731
        (caption,) = WindowOCRCaptioner(reader, num_windows=1)(grey(3))
        assert caption.text == "OPEN 24h"


class TestGivenTexts:
    def test_one_per_window(self):
        captions = WindowOCRCaptioner(engine=None, num_windows=2).caption_texts(["a  b", ""], 3.0)
        assert captions == [WindowCaption(0.0, 1.5, "a b"), WindowCaption(1.5, 3.0, "")]

    def test_timed_texts_go_to_the_windows_they_overlap(self):
        timed = [(0.0, 1.0, "early"), (0.5, 3.0, "long"), (3.5, 9.0, "late")]
        captions = WindowOCRCaptioner(engine=None, num_windows=2).caption_texts(timed, 4.0)
        assert [caption.text for caption in captions] == ["long early", "long late"]
        assert captions[1].tracks[0] == TextTrack("long", 1.0, 2.0, 3.0, (0.0, 0.0, 1.0, 1.0), source="given")

    def test_a_video_that_shows_no_text(self):
        captions = WindowOCRCaptioner(engine=None, num_windows=2).caption_texts([], 3.0)
        assert captions == [WindowCaption(0.0, 1.5, ""), WindowCaption(1.5, 3.0, "")]

    def test_wrong_number(self):
        with pytest.raises(ValueError, match="3 texts for 2 windows"):
            WindowOCRCaptioner(engine=None, num_windows=2).caption_texts(["a", "b", "c"], 4.0)

    def test_no_engine_cannot_read(self):
        with pytest.raises(ValueError, match="caption_texts"):
            WindowOCRCaptioner(engine=None)(grey(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_windows": 0}, "num_windows.*got 0"),
        ({"window_scale": 0.0}, "window_scale.*got 0.0"),
        ({"window_scale": 1.5}, "window_scale.*got 1.5"),
        ({"ocr_fps": 0}, "ocr_fps"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"min_text_height": 1}, "min_text_height"),
        ({"max_side": 1}, "max_side"),
        ({"reading_interval": 0}, "reading_interval"),
        ({"engine": "tesseract"}, "Unknown OCR engine 'tesseract'"),
        ({"engine_options": {"side": 3}}, "side"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        WindowOCRCaptioner(**options)


class TestFitCaption:
    def test_everything_fits(self):
        assert fit_caption(["TESCO express", "Hello."], lambda text: True) == "TESCO express Hello."

    def test_cut_between_words_by_salience(self):
        assert fit_caption(["TESCO express", "Hello there"], lambda text: len(text) <= 21) == "TESCO express Hello"
        assert fit_caption(["TESCO express"], lambda text: len(text) <= 12) == "TESCO"

    def test_a_word_too_long_by_itself(self):
        assert fit_caption(["A" * 30, "TESCO", "express"], lambda text: len(text) <= 8) == "TESCO"
        assert (
            fit_caption(["電話番号は下記", "電話番号は下記のとおりです"], lambda text: len(text) <= 5) == "電話番号は"
        )

    def test_nothing_fits_or_nothing_is_there(self):
        assert fit_caption(["TESCO"], lambda text: False) == ""
        assert fit_caption([], lambda text: True) == ""

    def test_cut_at_a_tokenizers_length(self):
        from transformers import CLIPTokenizer

        letters = "abcdefghijklmnopqrstuvwxyz"
        tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        tokenizer = CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[])
        # a letter is a token, and there are two more: "open cafe" has 10
        assert fit_caption(["open cafe", "today"], lambda text: len(tokenizer(text).input_ids) <= 12) == "open cafe"
        assert fit_caption(["open cafe", "to day"], lambda text: len(tokenizer(text).input_ids) <= 12) == "open cafe to"


class TestState:
    def test_to_dict_round_trip(self):
        options = {
            "engine": "rapidocr",
            "engine_options": {"limit_side_len": 640},
            "num_windows": 3,
            "window_scale": 0.5,
            "ocr_fps": 4.0,
            "min_confidence": 0.3,
            "min_text_height": 0.02,
            "max_side": 640,
            "reading_interval": None,
        }
        captioner = WindowOCRCaptioner(**options)
        assert json.loads(json.dumps(captioner.to_dict())) == options
        assert WindowOCRCaptioner(**captioner.to_dict()).to_dict() == options

    def test_an_object_is_not_saved(self, caplog):
        with caplog.at_level(logging.WARNING):
            assert WindowOCRCaptioner(LevelReader()).to_dict()["engine"] is None
        assert "LevelReader" in caplog.text

    def test_deepcopy_shares_an_engine_that_cannot_be_copied(self):
        captioner = WindowOCRCaptioner(UncopyableReader(), num_windows=1, engine_options={})
        copied = copy.deepcopy({"captioner": captioner})["captioner"]
        assert copied.engine is captioner.engine and copied.engine_options is not captioner.engine_options
        assert copied(grey(5))[0].text == "level 5"

    def test_pickle_after_use(self):
        captioner = WindowOCRCaptioner(engine_options=FAST, num_windows=1)
        frames = [text_frame("EXIT")]
        before = captioner(np.stack(frames))
        assert before[0].text == "EXIT"
        assert pickle.loads(pickle.dumps(captioner))(np.stack(frames)) == before

    def test_caption_json(self):
        caption = WindowCaption(0.0, 1.0, "EXIT", [TextTrack("EXIT", 0.9, 0.0, 1.0, BOX, 2)])
        assert WindowCaption.from_dict(json.loads(json.dumps(caption.to_dict()))) == caption


class TestRealReading:
    """The default engine on rendered clips."""

    @pytest.fixture
    def captioner(self):
        return WindowOCRCaptioner(engine_options=FAST, num_windows=4)

    @pytest.fixture
    def reads(self, monkeypatch):
        """Counts the frames that the engine reads."""
        from tcd_hf.processing.rapidocr_engine import VideoTextReader

        counted = []
        read = VideoTextReader.__call__
        monkeypatch.setattr(
            VideoTextReader, "__call__", lambda self, frames: counted.extend(frames) or read(self, frames)
        )
        return counted

    def test_text_shown_shortly_between_others_is_found(self, captioner, tmp_path):
        schedule = [("OPEN CAFE", 0.0, 6.0), ("BUS 42", 2.5, 3.5), ("MARKET", 3.5, 6.0)]
        path = write_clip(tmp_path / "clip.mp4", text_clip(schedule, duration=6.0))
        captions = captioner(path)
        assert captions[0].text == "OPEN CAFE"
        assert any("BUS 42" in caption.text for caption in captions)
        assert not any("BUS 42" in caption.text for caption in (captions[0], captions[3]))
        assert "MARKET" in captions[3].text
        for caption in captions:
            for track in caption.tracks:
                assert caption.start <= track.start < track.end <= caption.end and track.confidence > 0.5

    def test_still_text_is_read_once(self, captioner, reads, tmp_path):
        path = write_clip(tmp_path / "clip.mp4", text_clip([("OPEN CAFE", 0.0, 9.0)], duration=6.0))
        assert [caption.text for caption in captioner(path)] == ["OPEN CAFE"] * 4
        assert len(reads) == 1

    def test_moving_text_is_one_track(self, captioner, reads, tmp_path):
        clip = text_clip([("TAXI 88", 0.0, 9.0)], duration=4.0, drift=(0.06, 0.0), size=(320, 180))
        captions = captioner(write_clip(tmp_path / "clip.mp4", clip))
        assert [caption.text for caption in captions] == ["TAXI 88"] * 4
        assert 2 <= len(reads) <= 5  # 8 frames are sampled
        assert captions[0].tracks[0].box[0] < captions[3].tracks[0].box[0]

    def test_no_text(self, captioner):
        captions = captioner(np.full((3, 90, 160, 3), 200, np.uint8), fps=1.0)
        assert [(caption.text, caption.tracks) for caption in captions] == [("", [])] * 4

    def test_under_datasets_map(self, captioner, tmp_path, monkeypatch):
        import datasets

        words = ["OPEN", "EXIT"]
        paths = [str(write_clip(tmp_path / f"{word}.mp4", [text_frame(word)] * 5)) for word in words]
        get_engine("rapidocr", **FAST)([text_frame("WARM")])  # the workers fork from a process that has read before
        rows = datasets.Dataset.from_dict({"path": paths})
        mapped = rows.map(read_texts, batched=True, batch_size=1, num_proc=2, fn_kwargs={"captioner": captioner})
        assert mapped["texts"] == [["OPEN"] * 4, ["EXIT"] * 4]
