import random

import numpy as np
import pytest

from tcd_hf.index.hits import EvidenceFinder
from tcd_hf.index.lexical import fold
from tcd_hf.index.moments import Moment, clip_moments, find_moments
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption

Shown = tuple[str, float, float]  # a text, and from when to when it is seen


def track(text: str, start: float, end: float) -> TextTrack:
    return TextTrack(text, 0.9, start, end, (0.1, 0.2, 0.3, 0.4), box_time=(start + end) / 2)


def window(start: float, end: float, *shown: Shown) -> WindowCaption:
    """A window with those of these texts that are seen in it, cut to it."""
    tracks = [
        track(text, max(first, start), min(last, end)) for text, first, last in shown if first < end > start < last
    ]
    return WindowCaption(start, end, " ".join(found.text for found in tracks), tracks)


def windows_of(*shown: Shown, start: float = 0.0, end: float = 30.0, length: float = 2.5) -> list[WindowCaption]:
    starts = np.arange(start, end, length)
    return [window(float(first), float(first + length), *shown) for first in starts]


def moments_of(query: str, windows: list[WindowCaption], scores=None) -> list[Moment]:
    """They are the same where windows that show nothing alike are known beforehand, and not read."""
    scores = np.ones(len(windows)) if scores is None else np.array(scores, float)
    found = find_moments(EvidenceFinder(query), windows, scores)
    folded = [[fold(track.text) for track in window.tracks] for window in windows]
    telling = EvidenceFinder(query).may_match(folded)
    assert find_moments(EvidenceFinder(query), windows, scores, telling=telling, folded=folded) == found
    return found


def times(moments: list[Moment]) -> list[tuple[float, float]]:
    return [(moment.start, moment.end) for moment in moments]


class TestOneText:
    def test_it_lasts_as_long_as_it_is_seen(self):
        assert times(moments_of("way out", windows_of(("WAY OUT", 6.0, 6.5)))) == [(6.0, 6.5)]
        assert times(moments_of("way out", windows_of(("WAY OUT", 6.0, 14.0)))) == [(6.0, 14.0)]  # over four windows

    @pytest.mark.parametrize("best", [11, 12])
    def test_the_cut_between_two_segments_does_not_matter(self, best):
        windows = windows_of(("STOP", 28.0, 33.0)) + windows_of(("STOP", 28.0, 33.0), start=30.0, end=55.0, length=5.0)
        scores = [0.9 if place == best else 0.1 for place in range(len(windows))]
        (moment,) = moments_of("stop", windows, scores)
        assert (moment.start, moment.end, moment.score) == (28.0, 33.0, 0.9)
        assert times(moments_of("stop", windows_of(("STOP", 28.0, 33.0), end=60.0))) == [(28.0, 33.0)]

    def test_where_a_segment_is_left_out_it_ends(self):
        shown = ("STOP", 28.0, 65.0)
        windows = windows_of(shown) + windows_of(shown, start=60.0, end=90.0)
        assert times(moments_of("stop", windows)) == [(28.0, 30.0), (60.0, 65.0)]

    def test_seen_again_it_is_another_moment_after_a_pause(self):
        short, long = (
            windows_of(("STOP", 6.0, 7.0), ("STOP", 8.0, 9.0)),
            windows_of(("STOP", 6.0, 7.0), ("STOP", 8.1, 9)),
        )
        assert times(moments_of("stop", short)) == [(6.0, 9.0)]
        assert times(moments_of("stop", long, np.arange(12))) == [(8.1, 9.0), (6.0, 7.0)]  # the better first

    def test_score_evidence_and_boxes_are_those_of_its_best_window(self):
        windows = windows_of(("STOP", 6.0, 14.0), ("stop here", 8.0, 9.0))
        (moment,) = moments_of("stop", windows, [0.1, 0.1, 0.2, 0.9, 0.3, *[0.1] * 7])
        assert moment == Moment(
            6.0,
            14.0,
            0.9,
            ["STOP", "stop here"],
            [
                {
                    "text": text,
                    "start": start,
                    "end": end,
                    "box": [0.1, 0.2, 0.3, 0.4],
                    "time": time,
                    "source": "ocr",
                    "match": "spells",
                }
                for text, start, end, time in [("STOP", 7.5, 10.0, 8.75), ("stop here", 8.0, 9.0, 8.5)]
            ],
        )
        assert moment.shown_time == 8.75
        assert Moment(1.0, 2.0, 0.5).shown_time == 1.5

    def test_equally_good_moments_come_in_the_order_of_time(self):
        assert times(moments_of("stop", windows_of(("STOP", 20, 21), ("STOP", 3, 4)))) == [(3, 4), (20, 21)]

    def test_against_the_times_it_was_shown(self):
        generator = random.Random(0)
        for _ in range(50):
            shown, time = [], generator.uniform(0, 5)
            while time < 100:
                end = time + generator.uniform(0.5, 20)
                shown.append(("WAY OUT", time, min(end, 120.0)))
                time = end + generator.choice([0.5, 6.0])
            other = [("exit", generator.uniform(0, 60), generator.uniform(60, 120))]
            windows = windows_of(*other, *shown, end=60.0) + windows_of(
                *other, *shown, start=60.0, end=120.0, length=5.0
            )
            expected = [list(shown[0][1:])]
            for _, start, end in shown[1:]:
                if start - expected[-1][1] < 1:
                    expected[-1][1] = end
                else:
                    expected.append([start, end])
            found = moments_of("way out", windows, [generator.random() for _ in windows])
            assert [moment.score for moment in found] == sorted((moment.score for moment in found), reverse=True)
            np.testing.assert_allclose(sorted(times(found)), expected)


class TestSpelling:
    @pytest.mark.parametrize("other", ["PARKING 24", "parking-24", "PARKNG 24", "PARKING24", "PÁRKING 24"])
    def test_a_reading_that_slips_is_the_same_text(self, other):
        windows = windows_of(("PARKING 24", 2.0, 5.0), (other, 5.0, 8.0))
        assert times(moments_of("parking 24", windows)) == [(2.0, 8.0)]

    @pytest.mark.parametrize(
        ("first", "second"),
        [("GATE 14", "GATE 15"), ("GATE A", "GATE B"), ("LOG IN", "LOG ON"), ("CHECK IN", "CHECK OUT")],
    )
    def test_texts_that_tell_something_else_are_moments_of_their_own(self, first, second):
        windows = windows_of((first, 2.0, 5.0), (second, 5.0, 8.0))
        assert times(moments_of(first, windows, np.arange(12) < 2)) == [(2.0, 5.0), (5.0, 8.0)]


class TestSeveralTexts:
    def test_a_text_goes_on_where_another_leads(self):
        shown = [("TESCO", 2.0, 12.0), ("TESCO express", 5.0, 7.5)]
        windows = windows_of(*shown)
        scores = [place / 100 for place in range(12)]  # the last window with TESCO leads: 10 to 12 s
        assert times(moments_of("tesco express", windows, scores)) == [(2.0, 12.0)]

    def test_windows_between_belong_to_the_better_moment_whose_text_goes_on(self):
        windows = windows_of(("TESCO", 2.0, 12.0), ("express checkout", 5.0, 7.5))
        scores = [1.0 if place == 2 else 0.5 for place in range(12)]
        found = moments_of("tesco express", windows, scores)
        assert [moment.evidence[0] for moment in found] == ["express checkout", "TESCO"]
        assert times(found) == [(5.0, 7.5), (2.0, 12.0)]  # neither is torn, and none is listed twice

    def test_the_best_moment_comes_first_wherever_it_is(self):
        windows = windows_of(("red car", 2.0, 3.0), ("red", 12.0, 13.0), ("car", 22.0, 23.0))
        found = moments_of("red car", windows, [0, 0.8, 0, 0, 0.3, 0.3, 0, 0, 0.5, 0.5, 0, 0])
        assert times(found) == [(2.0, 3.0), (22.0, 23.0), (12.0, 13.0)]
        assert [moment.score for moment in found] == [0.8, 0.5, 0.3]


class TestWithoutEvidence:
    def test_the_best_window_is_the_only_moment(self):
        windows = windows_of(("BBC", 0.0, 30.0))
        assert moments_of("a chimpanzee", windows, [0.1] * 7 + [0.9] + [0.2] * 4) == [Moment(17.5, 20.0, 0.9)]

    def test_beside_windows_with_evidence_it_makes_no_moment(self):
        windows = windows_of(("BBC", 20.0, 21.0))
        assert times(moments_of("bbc", windows, [0.9] * 6 + [0.1] * 6)) == [(20.0, 21.0)]

    def test_no_windows(self):
        assert moments_of("x", []) == []


class TestAllowed:
    windows = windows_of(("STOP", 2.0, 12.0))

    def test_what_is_not_allowed_is_in_no_moment(self):
        scores = np.where(np.isin(np.arange(12), (2, 11)), -np.inf, np.arange(12.0))  # 5 to 7.5 s, and the last
        assert times(moments_of("stop", self.windows, scores)) == [(7.5, 12.0), (2.0, 5.0)]
        assert times(moments_of("nothing", self.windows, scores)) == [(25.0, 27.5)]

    def test_nothing_allowed(self):
        assert moments_of("stop", self.windows, [-np.inf] * 12) == []


class TestClipping:
    moments = (Moment(20.0, 25.0, 0.9), Moment(3.0, 3.0, 0.5), Moment(8.0, 30.0, 0.4))

    @pytest.mark.parametrize(
        ("between", "expected"),
        [
            ((0, 100), [0, 1, 2]),
            ((24, 26), [0, 2]),
            ((0, 4), [1]),
            ((3, 3), [1]),
            ((25, 26), [0, 2]),
            ((31, float("inf")), []),
        ],
    )
    def test_moments_of_which_some_lies_in_the_range(self, between, expected):
        assert clip_moments(self.moments, between) == [self.moments[place] for place in expected]

    @pytest.mark.parametrize("between", [(5, 3), (float("nan"), 3)])
    def test_an_impossible_range(self, between):
        with pytest.raises(ValueError, match=r"start <= end, got \("):
            clip_moments(self.moments, between)
