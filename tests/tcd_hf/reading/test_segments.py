from itertools import pairwise

import numpy as np
import pytest

from tcd_hf.reading.segments import Segment, check_segment_seconds, cut_into_segments


def frame_times(duration: float, fps: float = 10) -> np.ndarray:
    return np.arange(0, duration, 1 / fps)


def ranges(segments: list[Segment]) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in segments]


def test_equal_pieces_of_at_most_so_many_seconds():
    segments = cut_into_segments(100.0, frame_times(100), 30)
    assert segments == [Segment(i, 4, 25.0 * i, 25.0 * (i + 1)) for i in range(4)]
    assert [segment.duration for segment in segments] == [25.0] * 4


@pytest.mark.parametrize(
    ("duration", "count"),
    [(0.04, 1), (12.0, 1), (30.0, 1), (30.0 + 1e-12, 1), (30.0001, 2), (59.9, 2), (60.0, 2), (60.1, 3), (3600.0, 120)],
)
def test_how_many_pieces(duration, count):
    segments = cut_into_segments(duration, frame_times(duration), 30)
    assert [segment.number for segment in segments] == list(range(count))
    assert {segment.count for segment in segments} == {count}
    assert (segments[0].start, segments[-1].end) == (0.0, pytest.approx(duration))
    assert all(one.end == pytest.approx(two.start) for one, two in pairwise(segments))
    assert max(segment.duration for segment in segments) <= 30 + 1e-6


def test_without_a_length_it_is_one_piece():
    assert cut_into_segments(5000.0, frame_times(5000), None) == [Segment(0, 1, 0.0, 5000.0)]


def test_pieces_in_which_no_frame_begins_are_left_out():
    segments = cut_into_segments(100.0, [0.0, 3.0, 24.9, 80.0], 30)
    assert segments == [Segment(0, 4, 0.0, 25.0), Segment(3, 4, 75.0, 100.0)]
    # A frame that begins at the border begins the later piece; one at the very end is of the last.
    assert ranges(cut_into_segments(100.0, [0.0, 50.0, 100.0], 30)) == [(0.0, 25.0), (50.0, 75.0), (75.0, 100.0)]


def test_what_a_clock_says_costs_nothing():
    thirty_years = 30 * 365.25 * 86400
    times = np.append(np.arange(29) / 10, thirty_years - 0.1)
    segments = cut_into_segments(thirty_years, times, 30)
    assert [segment.number for segment in segments] == [0, segments[0].count - 1]
    assert segments[0].count > 30_000_000
    spread = cut_into_segments(thirty_years, np.linspace(0, thirty_years - 1, 30), 30)
    assert len(spread) == 30 and max(segment.duration for segment in spread) <= 30 + 1e-6


@pytest.mark.parametrize("seconds", [0, 0.5, -1, float("inf"), float("nan"), "30", None, True])
def test_lengths_by_which_no_video_can_be_cut(seconds):
    with pytest.raises(ValueError, match="segment_seconds must be a number of seconds, at least 1, got"):
        check_segment_seconds(seconds)


def test_lengths_are_numbers():
    assert [check_segment_seconds(seconds) for seconds in (1, 30, 12.5)] == [1.0, 30.0, 12.5]
