import pytest

from tcd_hf.clock import clock, read_clock


def test_times_are_those_of_a_player():
    assert [clock(seconds) for seconds in (0, 2.54, 59.96, 65.3, 3725.31, 360000)] == [
        *("0:00:00.0", "0:00:02.5", "0:01:00.0", "0:01:05.3", "1:02:05.3", "100:00:00.0")
    ]


def test_times_are_read_as_people_write_them():
    assert [read_clock(text) for text in ("90", "1.5", "1:30", "0:10:00", "1:02:05.3", " 100:0:7 ")] == [
        *(90, 1.5, 90, 600, 3725.3, 360007)
    ]
    for text in ("", "1:", ":30", "-5", "1:2:3:4", "1h", "nan", "1.5:30"):
        with pytest.raises(ValueError, match="is no time"):
            read_clock(text)
