import pytest

from tcd_hf.index.transcript import transcript
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.text_files import Cue


def window(number, *texts):
    """Of 2.5 s; texts are seen all the time, or as `(text, start, end)` says."""
    start, end = 2.5 * number, 2.5 * (number + 1)
    spans = [(text, start, end) if isinstance(text, str) else text for text in texts]
    tracks = [TextTrack(text, 0.9, begin, until, (0.1, 0.1, 0.9, 0.2)) for text, begin, until in spans]
    return WindowCaption(start, end, " ".join(track.text for track in tracks), tracks)


def found(*windows):
    return [(cue.start, cue.end, cue.text) for cue in transcript(windows)]


def test_a_text_that_windows_cut_is_one_cue():
    assert found(window(0), window(1, "WAY OUT"), window(2, "WAY OUT", "CAFE"), window(3, "WAY OUT")) == [
        (2.5, 10.0, "WAY OUT"),
        (5.0, 7.5, "CAFE"),
    ]


def test_a_pause_makes_two_cues():
    assert found(window(0, "STOP"), window(1), window(2, "STOP")) == [(0.0, 2.5, "STOP"), (5.0, 7.5, "STOP")]
    assert found(window(0, ("STOP", 0.0, 2.2)), window(1, ("STOP", 3.0, 4.0))) == [(0.0, 4.0, "STOP")]


def test_of_readings_with_slips_the_one_seen_longest_stays():
    cues = found(window(0, "TESGO EXPRESS"), window(1, "TESCO EXPRESS"), window(2, "TESCO EXPRESS"))
    assert cues == [(0.0, 7.5, "TESCO EXPRESS")]
    assert len(found(window(0, "GATE 4"), window(1, "GATE 5"))) == 2  # numbers are never alike


def test_texts_of_other_sources_are_apart():
    spoken = WindowCaption(0.0, 2.5, "STOP", [TextTrack("STOP", 1.0, 0.0, 2.5, (0, 0, 1, 1), source="subtitle")])
    both = WindowCaption(0.0, 2.5, "STOP STOP", [*window(0, "STOP").tracks, *spoken.tracks])
    assert [cue.source for cue in transcript([both, window(1, "STOP")])] == ["ocr", "subtitle"]


@pytest.mark.parametrize("captions", [[], [WindowCaption(0.0, 1.0)]])
def test_nothing_read(captions):
    assert transcript(captions) == []


def test_captions_without_tracks_last_as_long_as_their_windows():
    captions = [WindowCaption(0.0, 1.0, "A B"), WindowCaption(1.0, 2.0, "A B"), WindowCaption(2.0, 3.0)]
    assert transcript(captions) == [Cue(0.0, 2.0, "A B", "ocr")]
