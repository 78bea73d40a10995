"""Half-transparent text before what moves: found in the mean of the frames, and only where it is shown."""

import numpy as np
import pytest
from PIL import Image

from tcd_hf.processing.frame_skipping import Stretch
from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.standing_text import MIN_FRAMES, StandingPicture
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tests.clips import text_frame

SIZE = (640, 360)
CELL = 24  # pixels of what moves


def moving_frames(count, seed=0, mark=None, share=0.2):
    """Patches of random colours, anew in each frame, and a mark before them of which so much shines through."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        colours = rng.integers(60, 200, (SIZE[1] // CELL, SIZE[0] // CELL, 3), np.uint8)
        frame = np.asarray(Image.fromarray(colours).resize(SIZE, Image.Resampling.NEAREST))
        if mark is not None:
            over = text_frame(mark, background=frame, position=(0.2, 0.12), font_size=32, color="white")
            frame = ((1 - share) * frame + share * over).astype(np.uint8)
        yield frame


def quad_of(x0, y0, x1, y1):
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)


@pytest.fixture(scope="module")
def engine():
    return RapidOCREngine(num_threads=1)


def test_the_mean_is_that_of_all_frames_of_one_size():
    picture = StandingPicture()
    picture.add(np.full((4, 4, 3), 255, np.uint8), [], True)
    frames = np.random.default_rng(0).integers(0, 256, (MIN_FRAMES, 6, 8, 3), np.uint8)
    for number, frame in enumerate(frames):
        assert picture.mean() is None
        picture.add(frame, [], number == 2)
    np.testing.assert_allclose(picture.mean(), frames.mean(axis=0), atol=1.0)
    assert picture.frames_with(quad_of(1, 1, 3, 3), "A")[0] == 1  # the first one was of another size


def test_a_long_piece_is_looked_at_in_parts(engine, monkeypatch):
    monkeypatch.setattr("tcd_hf.processing.standing_text.MAX_FRAMES", 8)
    frames = [*moving_frames(12, 0, "CHANNEL"), *moving_frames(8, 1)]
    reader = engine.video_reader()
    reader([Stretch(float(n), frame, [float(n)], after_cut=n == 0) for n, frame in enumerate(frames)])
    found = [numbers for reading, numbers in reader.read_standing() if reading.text == "CHANNEL"]
    assert found[0] == list(range(8)) and all(max(numbers) < 16 for numbers in found)


def test_a_place_may_show_more_than_was_read_there():
    picture = StandingPicture()
    for number in range(MIN_FRAMES):
        read = [(quad_of(10, 10, 50, 20), "OPEN")] if number == 1 else []
        picture.add(np.zeros((90, 160, 3), np.uint8), read, number == 0)
    assert picture.mean() is not None
    assert not picture.may_show_more(quad_of(12, 11, 48, 19))
    assert picture.may_show_more(quad_of(10, 10, 60, 20)) and picture.may_show_more(quad_of(10, 40, 50, 50))
    assert picture.frames_with(quad_of(10, 10, 60, 20), "CAFE") == []  # a frame showed as much
    assert picture.frames_with(quad_of(10, 10, 60, 20), "OPEN NOW") == [0, 2, 3]  # one has its own reading
    assert picture.frames_with(quad_of(10, 40, 50, 50), "CAFE") == [0, 1, 2, 3]


def test_scenes_show_it_or_not():
    picture = StandingPicture()
    scenes = [("CHANNEL", 5), (None, 6), ("CHANNEL", 1), (None, 2)]
    for seed, (mark, count) in enumerate(scenes):
        for number, frame in enumerate(moving_frames(count, seed, mark, share=0.3)):
            picture.add(frame, [], number == 0)
    assert picture.mean() is not None
    assert picture.frames_with(quad_of(50, 25, 205, 60), "CHANNEL") == [0, 1, 2, 3, 4, 11]


def test_a_mark_that_no_frame_shows_clearly_is_read(engine):
    frames = list(moving_frames(12, mark="CHANNEL"))
    reader = engine.video_reader()
    stretches = [Stretch(float(n), frame, [float(n)], after_cut=n == 0) for n, frame in enumerate(frames)]
    assert not any(reading.text == "CHANNEL" for readings in reader(stretches) for reading in readings)
    ((reading, numbers),) = reader.read_standing()
    assert reading.text == "CHANNEL" and numbers == list(range(12))
    np.testing.assert_allclose(reading.box, (0.08, 0.07, 0.32, 0.17), atol=0.02)
    few = engine.video_reader()
    few(stretches[: MIN_FRAMES - 1])
    assert few.read_standing() == []


@pytest.mark.parametrize("share", [0.2, 0.25, 0.3, 0.4])
def test_a_clearer_mark_is_found_as_often(engine, share):
    reader = engine.video_reader()
    frames = moving_frames(12, mark="CHANNEL", share=share)
    read = reader([Stretch(float(n), frame, [float(n)], after_cut=n == 0) for n, frame in enumerate(frames)])
    found = [reading.text for readings in read for reading in readings]
    assert "CHANNEL" in [*found, *(reading.text for reading, _ in reader.read_standing())]


def test_what_was_read_in_frames_is_not_read_again(engine):
    frames = [text_frame("OPEN CAFE", background=frame, color="white") for frame in moving_frames(6)]
    reader = engine.video_reader()
    reader([Stretch(float(n), frame, [float(n)], after_cut=n == 0) for n, frame in enumerate(frames)])
    assert not any("CAFE" in reading.text for reading, _ in reader.read_standing())


def test_an_engine_around_the_built_in_one_reads_it_too(engine):
    def around(images):
        return engine(images)

    around.video_reader = engine.video_reader
    frames = list(moving_frames(8, mark="CHANNEL"))
    captioner = WindowOCRCaptioner(around, num_windows=2)
    captions = captioner.caption_frames(zip([n / 2 for n in range(8)], frames, strict=True), 4.0)
    assert [caption.text for caption in captions] == ["CHANNEL"] * 2


def test_captions_have_it_in_the_windows_of_its_scenes():
    frames = [*moving_frames(16, 0, "CHANNEL", share=0.25), *moving_frames(8, 1)]
    times = [(n + 0.5) / 2 for n in range(24)]
    captioner = WindowOCRCaptioner(num_windows=6, engine_options={"num_threads": 1})
    frames[16:] = [frame // 3 for frame in frames[16:]]  # a cut changes the grey levels, too
    captions = captioner.caption_frames(zip(times, frames, strict=True), 12.0)
    assert ["CHANNEL" in caption.text for caption in captions] == [True] * 4 + [False] * 2
    (track,) = [track for track in captions[1].tracks if track.text == "CHANNEL"]
    assert (track.start, track.end) == (2.0, 4.0) and track.source == "ocr"
