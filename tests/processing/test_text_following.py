"""Texts through time: slips and new texts, pieces, counters, tickers, votes; on readings made by hand."""

import random

import pytest

from tcd_hf.processing.ocr_engines import TextReading
from tcd_hf.processing.text_following import Sighting, follow_texts
from tcd_hf.processing.text_tracks import merge_sightings

BOX = (0.2, 0.8, 0.8, 0.9)


def sightings(*frames, seconds=1.0, cuts=()):
    """A frame is a list of readings; a reading is a text, `(text, confidence)` or `(text, confidence, box)`."""

    def reading(given):
        return TextReading(*((given, 0.95, BOX) if isinstance(given, str) else (*given, BOX)[:3]))

    return [
        Sighting(
            [reading(given) for given in (frame if isinstance(frame, list) else [frame])],
            number * seconds,
            (number + 1) * seconds,
            seconds,
            16 / 9,
            after_cut=number in cuts,
        )
        for number, frame in enumerate(frames)
    ]


def texts(*frames, **kwargs):
    """The texts of a window that shows all frames, sorted."""
    return sorted(track.text for track in merge_sightings(sightings(*frames, **kwargs)))


class TestSuccession:
    """What follows in one place and differs by a letter or a word is another text."""

    @pytest.mark.parametrize(
        "shown",
        [
            ["TUESDAY", "THURSDAY"],
            ["EAST WING", "WEST WING"],
            ["PLAN A", "PLAN B", "PLAN C"],
            ["Gate A closed", "Gate B closed"],
            ["MALE", "FEMALE"],
            ["FEMALE", "MALE"],
            ["HOUSE", "MOUSE"],
            ["PUSH", "PULL"],
            ["Mr. Smith", "Mrs. Smith"],
            ["Chapter One", "Chapter Two"],
            ["ON AIR", "OFF AIR"],
            ["MEN", "WOMEN"],
            ["A", "B"],
            ["GATE C", "GATE G"],
            ["SO", "50"],
            ["£1.30", "£1.50"],
            ["GATE 1", "GATE 12"],
            ["1 - 0", "2 - 0", "2 - 1"],
            ["12", "12:50"],
        ],
    )
    @pytest.mark.parametrize("held", [1, 3])
    def test_two_sure_texts(self, shown, held):
        assert texts(*[text for text in shown for _ in range(held)]) == sorted(shown)

    def test_one_frame_is_enough(self):
        assert texts("HOUSE", "HOUSE", "HOUSE", "MOUSE") == ["HOUSE", "MOUSE"]
        assert texts("PLAN A", "PLAN A", "PLAN B", "PLAN A") == ["PLAN A", "PLAN B"]

    def test_several_that_agree_are_as_sure_as_one_surer_reading(self):
        assert texts(("HOUSE", 0.97), ("MOUSE", 0.87)) == ["HOUSE"]
        assert texts(("HOUSE", 0.97), *[("MOUSE", 0.87)] * 4) == ["HOUSE", "MOUSE"]

    def test_a_letter_more_is_news_where_both_stay(self):
        assert texts("GRAVEL", "GRAVEL", "GRAVEL", "TRAVEL", "TRAVEL") == ["GRAVEL", "TRAVEL"]
        assert texts("BEAST", "BEAST", "BEAST", "BREAST", "BREAST") == ["BEAST", "BREAST"]

    def test_a_scene_of_its_own_may_come_between(self):
        assert texts("HOUSE", "HOUSE", "MOUSE", "HOUSE") == ["HOUSE"]
        assert texts("HOUSE", "HOUSE", "MOUSE", "HOUSE", cuts=(2, 3)) == ["HOUSE", "MOUSE"]

    def test_other_texts_elsewhere_are_not_touched(self):
        far = (0.1, 0.1, 0.4, 0.2)
        assert texts("PLAN A", ("PLAN A", 0.95, far), "PLAN B") == ["PLAN A", "PLAN B"]


class TestSlips:
    @pytest.mark.parametrize(
        ("read", "text"),
        [
            (["MEDIA", "MEDA"], "MEDIA"),
            (["MEDA", "MEDIA"], "MEDIA"),
            (["MEDIA", "MEDA", "MEDIA", "MEDIA", "MEDA", "MEDIA"], "MEDIA"),
            (["PETROBRA", "PETROBRAS"], "PETROBRAS"),
            (["PETROBRAS", "PETROBRA"], "PETROBRAS"),
            (["HOUSE", "MOUSE", "HOUSE", "HOUSE", "MOUSE", "HOUSE"], "HOUSE"),
            ([("SALE", 0.95), ("SALB", 0.4), ("SALB", 0.5)], "SALE"),
            ([("TESCO express", 0.99), ("LESCO express", 0.88), ("CO express", 0.95)], "TESCO express"),
            (["HOTEL", "H0TEL"], "HOTEL"),
            (["H0TEL", "HOTEL"], "HOTEL"),
            (["MONTE-CARL", "MONTE-CARL", "MONTE-CARL", "MONTE-CARLO"], "MONTE-CARLO"),
            ([("LIQUIGÁS", 0.96), ("LIQUIGAS", 0.94)], "LIQUIGÁS"),
            ([("Stakeholder Matel", 0.95), ("Stakeholdee Matel", 0.94)], "Stakeholder Matel"),
        ],
    )
    def test_one_text(self, read, text):
        assert texts(*read) == [text]

    def test_letters_that_the_upper_border_cuts(self):
        whole, leaving = (0.3, 0.02, 0.5, 0.08), (0.3, 0.0, 0.5, 0.05)
        assert texts(("Tom Baxter", 0.99, whole), ("lom Baxter", 0.97, leaving)) == ["Tom Baxter"]
        assert texts(("HOUSE", 0.99, whole), ("MOUSE", 0.97, whole)) == ["HOUSE", "MOUSE"]

    def test_each_letter_is_voted_on(self):
        # no reading is right, but of each letter two of three are
        assert texts(("WELCQME HOWE", 0.8), ("WELCOMF HOME", 0.8), ("NELCOME HOME", 0.8)) == ["WELCOME HOME"]

    def test_sure_and_sharp_readings_count_more(self):
        blurred, sharp = sightings(("SALB", 0.8)), sightings(("SALE", 0.8))
        blurred[0].sharpness, sharp[0].sharpness = 2.0, 40.0
        sharp[0].start, sharp[0].end = 1.0, 2.0
        assert [track.text for track in merge_sightings([*blurred, *sharp])] == ["SALE"]

    def test_spaces_are_voted_on(self):
        assert texts("NewYork", "New York") == ["New York"]
        assert texts("New York", "NewYork", "New York") == ["New York"]
        assert texts("To day", "Today", "Today") == ["Today"]

    def test_a_letter_that_is_one_too_many_is_outvoted(self):
        assert texts("KLEFER", ("KKLEFER", 0.8), "KLEFER") == ["KLEFER"]


class TestPieces:
    def test_typed_letter_by_letter(self):
        sentence = "HELLO WORLD"
        assert texts(*[sentence[:n] for n in range(1, 12)], seconds=0.5) == [sentence]

    def test_sung_word_by_word(self):
        assert texts("I AM", "I AM HERE", "I AM HERE NOW") == ["I AM HERE NOW"]

    def test_a_box_that_grows(self):
        shown = [("OPEN", 0.95, (0.1, 0.5, 0.2, 0.55)), ("OPEN ALL DAY", 0.95, (0.1, 0.5, 0.4, 0.55))]
        assert texts(*shown) == ["OPEN ALL DAY"]

    def test_cut_by_the_border(self):
        shown = [("CO express", 0.95, (0.0, 0.1, 0.3, 0.2)), ("TESCO express", 0.95, (0.05, 0.1, 0.44, 0.2))]
        assert texts(*shown) == ["TESCO express"]

    def test_cut_or_laid_out_anew(self):
        whole = ("FEMALE", 0.95, (0.3, 0.5, 0.6, 0.6))
        assert texts(whole, ("MALE", 0.95, (0.4, 0.5, 0.6, 0.6))) == ["FEMALE"]  # where its letters are in the whole
        assert texts(whole, ("MALE", 0.95, (0.35, 0.5, 0.55, 0.6))) == ["FEMALE", "MALE"]  # centred
        assert texts(whole, ("MALE", 0.95, (0.3, 0.5, 0.5, 0.6))) == ["FEMALE", "MALE"]  # from the left

    def test_what_is_shown_by_itself_at_other_times_is_no_piece(self):
        whole, cut, elsewhere = (0.05, 0.1, 0.44, 0.2), (0.0, 0.1, 0.21, 0.2), (0.5, 0.6, 0.7, 0.7)
        frames = [("TESCO express", 0.95, whole)] * 3 + [("express", 0.95, cut)] + [[]] * 15
        assert texts(*frames) == ["TESCO express"]
        assert texts(*frames, *[("express", 0.95, elsewhere)] * 3) == ["TESCO express", "express"]

    def test_two_texts_read_as_one(self):
        apart = [("PETROBRAS", 0.95, (0.1, 0.5, 0.3, 0.55)), ("ITAIPAVA", 0.95, (0.55, 0.5, 0.7, 0.55))]
        joined = ("PETROBRAS ITAIPAVA", 0.95, (0.1, 0.5, 0.7, 0.55))
        (first, second), (both,) = (frame.texts for frame in follow_texts(sightings(apart, joined)))
        assert (first.text, second.text, both.text) == ("PETROBRAS", "ITAIPAVA", "PETROBRAS ITAIPAVA")


class TestCounters:
    def test_a_clock_is_one_track(self):
        clock = [f"10:{second:02d}" for second in range(43)]
        (track,) = merge_sightings(sightings(*clock))
        assert (track.text, track.start, track.end, track.count) == ("10:00 - 10:42", 0.0, 43.0, 43)

    def test_backwards_and_over_the_hour(self):
        assert texts("1:02", "1:01", "1:00", "0:59", "0:58") == ["1:02 - 0:58"]
        assert texts("9:59", "10:00", "10:01") == ["9:59 - 10:00 - 10:01"]

    def test_a_label_stays(self):
        assert texts(*[f"Frame {n}" for n in range(98, 104)]) == ["Frame 98 - Frame 103"]

    def test_slips_are_left_out(self):
        assert texts("10:00", "10:01", "10:02", "10:03", "10:09", "10:05", "10:08") == ["10:00 - 10:08"]
        assert texts("10:00", "10:01", "10:02", "10:03", "10:04", "10:99") != ["10:00 - 10:04"]  # it may be the truth

    def test_two_values_are_two_texts(self):
        assert texts("08:04:38", "08:04:39") == ["08:04:38", "08:04:39"]

    def test_what_changes_slowly_is_news(self):
        steps = [f"Step {n}" for n in range(1, 7)]
        assert texts(*steps, seconds=3.0) == steps
        assert texts("17:27", "17:28", "17:29", seconds=60.0) == ["17:27", "17:28", "17:29"]

    def test_numbers_of_a_table_that_is_scrolled_do_not_count(self):
        rows = [[(str(n + row), 0.95, (0.1, 0.1 * row, 0.2, 0.1 * row + 0.08)) for row in range(8)] for n in range(10)]
        assert texts(*rows, seconds=0.5) == sorted(map(str, range(17)))


class TestTickers:
    SENTENCE = "BREAKING NEWS: PRESIDENT VISITS BERLIN TODAY AND MEETS THE CHANCELLOR"

    @pytest.mark.parametrize("step", [1, 3, 7, 11])
    def test_windows_over_a_sentence_are_joined(self, step):
        parts = [self.SENTENCE[n : n + 24].strip() for n in range(0, len(self.SENTENCE) - 23, step)]
        shown = self.SENTENCE[: step * (len(parts) - 1) + 24].strip()
        assert texts(*parts, seconds=0.5) == [shown]

    def test_it_runs_round(self):
        endless = (self.SENTENCE + " +++ ") * 3
        assert texts(*[endless[n : n + 24].strip() for n in range(0, 140, 5)], seconds=0.5) == [self.SENTENCE]

    def test_letters_cut_at_the_ends_and_slips(self):
        parts = [self.SENTENCE[n : n + 24].strip() for n in range(0, 46, 5)]
        parts[2] = "I" + parts[2][1:]  # what is left of a letter at the border
        parts[5] = parts[5][:9] + "Q" + parts[5][10:]
        assert texts(*parts, seconds=0.5) == [self.SENTENCE]

    def test_a_long_one_is_cut_between_windows_at_words(self):
        words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
        text = " ".join(f"{word} number {word}" for word in words) + " end of the list"
        starts = [*range(0, len(text) - 24, 6), len(text) - 24]
        frames = sightings(*[text[n : n + 24].strip() for n in starts], seconds=0.5)
        frames = follow_texts(frames)
        (first,), (last,) = merge_sightings(frames[:6]), merge_sightings(frames[-6:])
        assert text.startswith(first.text + " ") and text.endswith(" " + last.text)
        assert 40 < len(first.text) < 80 and 40 < len(last.text) < 80


class TestMovingTexts:
    """Texts that move through the frame, or are typed, as a detector boxes them."""

    SENTENCE = "BREAKING NEWS: PRESIDENT VISITS BERLIN TODAY AND MEETS THE CHANCELLOR IN THE EVENING"

    @staticmethod
    def visible(text, left, letter):
        """What of a text is inside the frame, and from where to where; letters are so wide."""
        shown = [(char, left + place * letter) for place, char in enumerate(text)]
        shown = [(char, x) for char, x in shown if x >= -0.4 * letter and x + letter <= 1 + 0.4 * letter]
        part = "".join(char for char, _ in shown).strip()
        inked = [x for char, x in shown if char != " "]
        return (part, max(0.0, inked[0]), min(1.0, inked[-1] + letter)) if part else None

    def ticker(self, step, split):
        """A strip at the foot of the frame; words are boxes of their own by chance."""
        chance = random.Random(0)
        for frame in range(130 // step):
            boxes, left = [], 0.9 - frame * step * 0.02
            for word in self.SENTENCE.split():
                if part := self.visible(word, left, 0.02):
                    joins = boxes and chance.random() > split
                    boxes[-1:] = (
                        [(f"{boxes[-1][0]} {part[0]}", boxes[-1][1], part[2])] if joins else [*boxes[-1:], part]
                    )
                left += (len(word) + 1) * 0.02
            words = [(text, 0.97, (x0, 0.9, x1, 0.95)) for text, x0, x1 in boxes]
            yield [*words, ("STUDIO", 0.97, (0.4, 0.2, 0.6, 0.3))]

    @pytest.mark.parametrize("step", [2, 3, 8, 20])
    @pytest.mark.parametrize("split", [0.0, 0.2, 0.5, 1.0])
    def test_a_ticker_however_its_words_are_boxed(self, step, split):
        assert texts(*self.ticker(step, split)) == [self.SENTENCE, "STUDIO"]

    @pytest.mark.parametrize("step", [0.03, 0.06, 0.1, 0.2, 0.3])
    def test_signs_that_a_camera_pans_over(self, step):
        signs = [("TESCO express", 0.9, 0.3), ("Fresh food daily", 1.2, 0.6), ("OPEN 24h", 0.5, 0.8)]
        frames = []
        for frame in range(int(1.8 / step)):
            parts = [(self.visible(text, left - frame * step, 0.03), top) for text, left, top in signs]
            frames.append([(part[0], 0.97, (part[1], top, part[2], top + 0.08)) for part, top in parts if part])
        assert texts(*frames) == sorted(text for text, _, _ in signs)

    @pytest.mark.parametrize("step", [0.02, 0.05, 0.1, 0.2])
    def test_rolling_credits(self, step):
        credits = ["Directed by", "Anna Keller", "Written by", "Tom Baxter", "Music by", "Maria Lopez"]
        frames = []
        for frame in range(int(2 / step)):
            tops = [1.0 + 0.1 * line - frame * step for line in range(len(credits))]
            shown = [(text, top) for text, top in zip(credits, tops, strict=True) if 0 <= top <= 0.94]
            frames.append([(text, 0.97, (0.3, top, 0.3 + 0.02 * len(text), top + 0.06)) for text, top in shown])
        assert texts(*frames) == sorted(credits)
        joined = " ".join(track.text for track in merge_sightings(sightings(*frames)))
        assert joined == " ".join(credits)

    @pytest.mark.parametrize("rate", [0.7, 1.5, 3, 6])
    @pytest.mark.parametrize("text", ["The quick brown fox jumps over 12 lazy dogs", "CALL 555-123456 NOW"])
    def test_typed_text_whose_box_grows(self, text, rate):
        shown = [text[: max(1, int(frame * rate))].strip() for frame in range(int(len(text) / rate) + 4)]
        frames = [[(part, 0.95, (0.1, 0.5, 0.1 + 0.02 * len(part), 0.56))] for part in shown]
        assert texts(*frames, seconds=0.5) == [text]


def test_windows_share_the_best_spelling():
    frames = sightings("TESCO express", "TESCO express", ("LESCO express", 0.88), "CO express")
    frames = follow_texts(frames)
    windows = [merge_sightings(frames[:1]), merge_sightings(frames[2:3]), merge_sightings(frames[3:])]
    assert [[track.text for track in window] for window in windows] == [["TESCO express"]] * 3
    assert [(window[0].start, window[0].count) for window in windows] == [(0.0, 1), (2.0, 1), (3.0, 1)]
    assert windows[1][0].confidence == pytest.approx(0.88)  # of the readings of this window


def test_numbers_of_several_rows_keep_to_their_rows():
    def board(first, second):
        return [
            ("Nadal", 0.95, (0.1, 0.10, 0.2, 0.15)),
            (first, 0.95, (0.24, 0.10, 0.28, 0.15)),
            ("Dimitrov", 0.95, (0.1, 0.17, 0.2, 0.22)),
            (second, 0.95, (0.24, 0.17, 0.28, 0.22)),
        ]

    frames = sightings(board("15", "0"), board("15", "15"), board("30", "15"))
    frames = follow_texts(frames)
    assert [sorted(track.text for track in merge_sightings([frame])) for frame in frames] == [
        ["Dimitrov 0", "Nadal 15"],
        ["Dimitrov 15", "Nadal 15"],
        ["Dimitrov 15", "Nadal 30"],
    ]
