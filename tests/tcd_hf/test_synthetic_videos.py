"""Long videos of the synthetic world: the clips that they are made of, and when each query is true."""

import numpy as np
import pytest

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("font_lato")
pytest.importorskip("font_caladea")
pytest.importorskip("font_fredoka_one")
pytest.importorskip("font_amatic_sc")

from tcd_hf.data import synthetic_reading
from tcd_hf.data.synthetic import DURATION, FPS, make_clip
from tcd_hf.data.synthetic_reading import READING_RATES, ReadingRate
from tcd_hf.data.synthetic_videos import SyntheticVideo, make_video
from tcd_hf.processing.video_reading import open_video


@pytest.fixture(scope="module")
def video() -> SyntheticVideo:
    """The clips 8 to 11 ("both") and 12 to 15 ("temporal")."""
    return make_video(0, "test", 1, 8)


@pytest.fixture
def clean_readings(monkeypatch):
    clean = dict.fromkeys(READING_RATES, ReadingRate(missed=0.0, noise_level=0.0))
    monkeypatch.setattr(synthetic_reading, "READING_RATES", clean)


def test_it_is_its_clips_one_after_another(video):
    clips = [make_clip(0, "test", number) for number in range(8, 16)]
    assert video.clips == tuple(clips) and video.duration == 48
    assert video.captions == [clip.query for clip in clips]
    assert video.kinds == ["both"] * 4 + ["temporal"] * 4
    for place, (clip, ((start, end),)) in enumerate(zip(clips, video.moments, strict=True)):
        assert 6 * place <= start < end <= 6 * place + 6
        assert (start - 6 * place, end - 6 * place) == pytest.approx(clip.target)
    assert make_video(0, "test", 1, 8) == video


def test_frames_are_those_of_the_clips(video):
    frames = video.frames(16, 48)  # two of each clip, a quarter and three quarters into it
    for place, clip in enumerate(video.clips):
        np.testing.assert_array_equal(frames[2 * place : 2 * place + 2], clip.frames(2, 48))


def test_what_is_read_is_what_the_clips_show(video, clean_readings):
    """With windows of half a second, that of the video's is what is read in the clips."""
    expected = [texts for clip in video.clips for texts in clip.readings(12)]
    assert video.readings(12 * 8) == expected and any(expected)


def test_a_text_that_is_asked_for_is_read_at_its_time_alone(video, clean_readings):
    windows = video.readings(96)
    for clip, ((start, end),) in zip(video.clips[:2], video.moments, strict=False):
        asked = max((text.text for text in clip.scene.letterings if text.text.lower() in clip.query.lower()), key=len)
        shown = [window for window, texts in enumerate(windows) if asked in texts]
        own = [window for window in shown if start <= (window + 0.5) / 2 < end]
        assert own and {window // 12 for window in shown if window not in own} <= {2, 3}  # its hard negatives


def test_readings_are_damaged_and_repeatable(video):
    assert video.readings(12) == make_video(0, "test", 1, 8).readings(12) != make_video(1, "test", 1, 8).readings(12)


def test_the_file_shows_the_same(tmp_path):
    short = make_video(0, "test", 0, 6)  # of two groups: members of one look much the same
    path = short.write(tmp_path / "video.mp4", 64)
    with open_video(path) as opened:
        assert opened.duration == pytest.approx(6 * DURATION, abs=0.01) and opened.fps == pytest.approx(FPS)
        decoded = opened.frames_at([3.0, 9.0, 15.0, 21.0, 27.0, 33.0])
    errors = np.abs(np.array(decoded)[:, None].astype(int) - short.frames(6, 64)[None]).mean(axis=(2, 3, 4))
    assert errors.diagonal().max() < 12 < errors[:4, 4:].min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "test", 0, 0), "at least 1 clip, got num_clips=0"),
        ((0, "dev", 0, 2), "got 'dev'"),
        ((0, "test", -1, 2), "Videos are numbered from 0, got -1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_video(*arguments)
