"""Tracks, lines, blocks and their order, on readings made by hand."""

import numpy as np
import pytest

from tcd_hf.processing.ocr_engines import TextReading
from tcd_hf.processing.text_tracks import Sighting, TextTrack, merge_sightings, split_columns


def sightings(*frames, seconds=1.0, aspect=1.0):
    """One sighting a second; a frame is a list of (text, confidence, box)."""
    return [
        Sighting([TextReading(*reading) for reading in frame], float(index), index + seconds, seconds, aspect)
        for index, frame in enumerate(frames)
    ]


def texts(*frames, **kwargs):
    return [track.text for track in merge_sightings(sightings(*frames, **kwargs))]


BOX = (0.1, 0.1, 0.5, 0.2)
FAR = (0.5, 0.8, 0.9, 0.9)


class TestTracks:
    def test_nothing_read(self):
        assert merge_sightings([]) == []
        assert texts([], []) == []

    def test_same_place_and_similar_spelling_are_one(self):
        tracks = merge_sightings(
            sightings([("PETROBRA", 0.9, BOX)], [("PETROBRAS", 0.8, (0.11, 0.1, 0.5, 0.2))], [("PETROBRAS", 0.7, BOX)])
        )
        # 0.8 + 0.7 outvotes 0.9; the box is that of the surest winning reading
        assert tracks == [TextTrack("PETROBRAS", pytest.approx(0.75), 0.0, 3.0, (0.11, 0.1, 0.5, 0.2), 3)]

    def test_one_sure_reading_beats_two_doubtful_ones(self):
        assert texts([("SALE", 0.95, BOX)], [("SALB", 0.4, BOX)], [("SALB", 0.5, BOX)]) == ["SALE"]

    def test_same_spelling_anywhere_is_one(self):
        tracks = merge_sightings(sightings([("Open", 0.9, BOX)], [], [("OPEN", 0.8, FAR)]))
        assert [(t.text, t.start, t.end, t.count) for t in tracks] == [("Open", 0.0, 3.0, 2)]

    def test_similar_spelling_elsewhere_is_another(self):
        assert sorted(texts([("PETROBRA", 0.9, BOX)], [("PETROBRAS", 0.9, FAR)])) == ["PETROBRA", "PETROBRAS"]

    def test_other_text_in_the_same_place_is_another(self):
        assert sorted(texts([("OPEN", 0.9, BOX)], [("EXIT", 0.9, BOX)])) == ["EXIT", "OPEN"]

    def test_numbers_that_change_are_kept(self):
        assert sorted(texts([("08:04:38", 0.9, BOX)], [("08:04:39", 0.9, BOX)])) == ["08:04:38", "08:04:39"]

    def test_repeats_in_one_frame_are_named_once(self):
        tracks = merge_sightings(sightings([("ROLEX", 0.9, BOX), ("ROLEX", 0.9, FAR)]))
        assert [track.text for track in tracks] == ["ROLEX"]


class TestOrder:
    def test_salience_is_time_times_size_times_confidence(self):
        small, large = (0.1, 0.1, 0.3, 0.2), (0.1, 0.5, 0.5, 0.6)  # areas 0.02 and 0.04
        assert texts([("large", 0.9, large), ("small", 0.9, small)]) == ["large", "small"]
        # three frames of the small one: 3 x 0.02 x 0.9 > 1 x 0.04 x 0.9
        frames = [[("large", 0.9, large), ("small", 0.9, small)], [("small", 0.9, small)], [("small", 0.9, small)]]
        assert texts(*frames) == ["small", "large"]
        # twice as sure: 1 x 0.04 x 0.4 < 1 x 0.02 x 0.9
        assert texts([("large", 0.4, large), ("small", 0.9, small)]) == ["small", "large"]

    def test_words_on_one_line_make_one_track(self):
        frame = [
            ("3", 0.9, (0.30, 0.1, 0.32, 0.15)),
            ("Nadal", 0.7, (0.1, 0.1, 0.2, 0.15)),
            ("6", 0.8, (0.24, 0.1, 0.26, 0.15)),
        ]
        tracks = merge_sightings(sightings(frame))
        assert tracks == [TextTrack("Nadal 6 3", pytest.approx(0.8), 0.0, 1.0, (0.1, 0.1, 0.32, 0.15), 1)]

    def test_the_same_number_belongs_to_two_lines(self):
        frame = [
            ("Nadal", 0.9, (0.1, 0.10, 0.2, 0.15)),
            ("15", 0.9, (0.24, 0.10, 0.28, 0.15)),
            ("Dimitrov", 0.9, (0.1, 0.17, 0.2, 0.22)),
            ("15", 0.9, (0.24, 0.17, 0.28, 0.22)),
        ]
        assert texts(frame, frame) == ["Nadal 15", "Dimitrov 15"]

    def test_lines_of_a_block_stay_together_in_reading_order(self):
        frame = [
            ("use the sine terms", 0.9, (0.1, 0.37, 0.6, 0.43)),
            ("SALE", 0.9, (0.1, 0.8, 0.35, 0.9)),
            ("for odd functions", 0.9, (0.1, 0.3, 0.3, 0.36)),
        ]
        # the block outweighs SALE although its first line alone does not
        assert texts(frame) == ["for odd functions", "use the sine terms", "SALE"]

    def test_far_or_differently_sized_texts_are_not_joined(self):
        assert len(texts([("A1", 0.9, (0.1, 0.1, 0.2, 0.15)), ("B2", 0.9, (0.7, 0.1, 0.8, 0.15))])) == 2
        assert len(texts([("A1", 0.9, (0.1, 0.1, 0.4, 0.3)), ("b2", 0.9, (0.42, 0.18, 0.5, 0.22))])) == 2

    def test_gaps_are_measured_in_text_heights_whatever_the_aspect(self):
        frame = [("left", 0.9, (0.1, 0.1, 0.2, 0.15)), ("right", 0.9, (0.33, 0.1, 0.4, 0.15))]
        assert texts(frame, aspect=1.0) == ["left right"]  # gap 0.13 = 2.6 heights
        assert sorted(texts(frame, aspect=16 / 9)) == ["left", "right"]  # 4.6 heights


class TestTiltedLines:
    """Words of lines that do not lie level are in order, by their corners."""

    LINES = (("MIND", "THE", "GAP"), ("between", "train", "and", "platform"))
    ASPECT = 16 / 9

    def tilted(self, degrees):
        """Readings of two lines of text, turned about the middle of the frame, in an order of no meaning."""
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        readings = []
        for row, words in enumerate(self.LINES):
            left = -0.35
            for word in words:
                right, top, bottom = left + 0.03 * len(word), 0.08 * row - 0.07, 0.08 * row - 0.01
                corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
                corners = corners @ turn.T / [self.ASPECT, 1] + 0.5
                box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
                readings.append(TextReading(word, 0.9, box, tuple(map(tuple, corners.tolist()))))
                left = right + 0.03
        return [readings[index] for index in (3, 1, 6, 0, 5, 2, 4)]

    @pytest.mark.parametrize("degrees", [-45, -30, -8, 8, 20, 30, 45])
    def test_order_within_lines_and_blocks(self, degrees):
        sighting = Sighting(self.tilted(degrees), 0.0, 1.0, 1.0, self.ASPECT)
        assert [track.text for track in merge_sightings([sighting])] == [" ".join(words) for words in self.LINES]

    def test_a_short_text_lies_as_its_neighbour(self):
        # the corners of a single digit say nothing: it stands on the line of the name beside it
        slanted = ((0.25, 0.10), (0.27, 0.105), (0.265, 0.15), (0.245, 0.145))
        readings = [
            TextReading("Nadal", 0.9, (0.1, 0.1, 0.2, 0.15)),
            TextReading("1", 0.9, (0.245, 0.1, 0.27, 0.15), slanted),
            TextReading("30", 0.9, (0.3, 0.1, 0.34, 0.15)),
        ]
        (track,) = merge_sightings([Sighting(readings, 0.0, 1.0, 1.0, 1.0)])
        assert track.text == "Nadal 1 30"

    def test_texts_of_different_directions_make_no_line(self):
        level = TextReading("LEVEL", 0.9, (0.1, 0.4, 0.3, 0.46))
        steep = ((0.32, 0.4), (0.46, 0.54), (0.43, 0.57), (0.29, 0.43))
        readings = [level, TextReading("STEEP", 0.9, (0.29, 0.4, 0.46, 0.57), steep)]
        assert len(merge_sightings([Sighting(readings, 0.0, 1.0, 1.0, 1.0)])) == 2


class TestColumns:
    COLUMN = ("22", 0.9, (0.3, 0.1, 0.33, 0.2))
    PLAYERS = (("Djokovic", 0.9, (0.1, 0.1, 0.25, 0.15)), ("Del Potro", 0.9, (0.1, 0.15, 0.25, 0.2)))

    def split(self, *readings):
        return split_columns([TextReading(*reading) for reading in readings], aspect=1.0)

    def test_each_row_gets_its_digit(self):
        pieces = self.split(self.COLUMN, *self.PLAYERS)
        assert [(r.text, r.box) for r in pieces[:2]] == [
            ("2", pytest.approx((0.3, 0.1, 0.33, 0.15))),
            ("2", pytest.approx((0.3, 0.15, 0.33, 0.2))),
        ]
        assert [reading.text for reading in pieces[2:]] == ["Djokovic", "Del Potro"]

    def test_other_numbers_stay(self):
        wide = ("22", 0.9, (0.3, 0.1, 0.4, 0.2))
        word = ("ON", 0.9, self.COLUMN[2])
        for readings in ([self.COLUMN], [self.COLUMN, self.PLAYERS[0]], [wide, *self.PLAYERS], [word, *self.PLAYERS]):
            assert self.split(*readings)[0].text == readings[0][0]


def test_round_trip():
    track = TextTrack("EXIT", 0.9, 0.0, 1.0, BOX, 2)
    assert TextTrack.from_dict(track.to_dict()) == track


def test_the_box_is_that_of_the_frame_it_is_said_to_be_of():
    sightings = [
        Sighting([TextReading("OPEN", 0.6, (0.1, 0.1, 0.3, 0.2))], 0.0, 1.0, 1.0, 1.5, time=0.4),
        Sighting([TextReading("OPEN", 0.9, (0.5, 0.1, 0.7, 0.2))], 1.0, 2.0, 1.0, 1.5, time=1.6),
    ]
    (track,) = merge_sightings(sightings)
    assert (track.box, track.box_time, track.start, track.end) == ((0.5, 0.1, 0.7, 0.2), 1.6, 0.0, 2.0)
