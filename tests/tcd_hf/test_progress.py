"""All numbers by hand: the clock is set, files have as many bytes as their names say."""

import sys
from pathlib import Path

import pytest

from tcd_hf.index.progress import Progress, VideoProgress, progress_bar


@pytest.fixture
def now(monkeypatch):
    """Sets the clock, seconds."""
    time = [100.0]
    monkeypatch.setattr("tcd_hf.index.progress.monotonic", lambda: time[0])
    return lambda seconds: time.__setitem__(0, 100.0 + seconds)


@pytest.fixture
def files(tmp_path):
    """Makes files of these sizes."""

    def make(*sizes):
        paths = [tmp_path / f"{place}.mp4" for place in range(len(sizes))]
        for path, size in zip(paths, sizes, strict=True):
            path.write_bytes(bytes(size))
        return list(map(str, paths))

    return make


def read(path, seconds, duration):
    return VideoProgress(path, seconds, duration, size=0)


def test_it_moves_inside_a_long_file(now, files):
    (path,) = files(1000)
    progress = Progress([path])
    assert (progress.share, progress.speed, progress.seconds_left) == (0, None, None)
    assert progress.describe() == "0/1 files"
    now(10)
    progress.advance(read(path, 30, 3600))
    progress.advance(read(path, 60, 3600))
    assert (progress.seconds, progress.seconds_begun, progress.num_done) == (60, 60, 0)
    assert progress.share == pytest.approx(1 / 60)
    assert progress.speed == 6  # a minute in ten seconds
    assert progress.seconds_left == pytest.approx(590)
    assert progress.describe() == "0/1 files, 0:01:00 of video, 6x real time, 0:09:50 left"
    now(12)
    progress.advance(read(path, 3600, 3600))
    progress.finish(path)
    assert (progress.share, progress.seconds_begun, progress.seconds_left) == (1, 0, 0)
    assert progress.describe() == "1/1 files, 1:00:00 of video, 300x real time, 0:00:00 left"


def test_what_is_not_read_does_not_count(now, files):
    """Unchanged files and copies, and what is left of a file that turns out broken."""
    unchanged, broken, copy, good = files(5000, 400, 700, 600)
    progress = Progress([unchanged, broken, copy, good])
    progress.finish(unchanged)
    now(10)
    progress.advance(read(broken, 25, 100))  # 100 bytes of 400
    assert progress.share == pytest.approx(100 / 1700)
    progress.finish(broken)
    assert progress.share == pytest.approx(100 / 1400)
    progress.finish(copy)
    assert progress.share == pytest.approx(100 / 700)
    progress.advance(read(good, 30, 60))
    assert progress.share == pytest.approx(400 / 700)
    assert (progress.seconds, progress.seconds_begun, progress.num_done) == (55, 30, 3)
    progress.advance(read(good, 60, 60))
    progress.finish(good)
    assert (progress.share, progress.seconds, progress.seconds_begun) == (1, 85, 0)


def test_workers_read_several_side_by_side(now, files):
    first, second = files(100, 300)
    progress = Progress([first, second])
    now(5)
    for path, seconds, duration in ((first, 10, 40), (second, 20, 40), (first, 20, 40), (second, 40, 40)):
        progress.advance(read(path, seconds, duration))
    assert progress.seconds == 60
    assert progress.share == pytest.approx(350 / 400)
    progress.finish(second)
    assert (progress.seconds_begun, progress.share) == (20, pytest.approx(350 / 400))


def test_a_file_that_lasts_longer_than_its_frames_ends_with_them(now, files):
    still, other = files(100, 100)
    progress = Progress([still, other])
    progress.advance(read(still, 30, 1e9))  # nothing but this segment is there
    assert progress.share < 1e-6
    progress.finish(still)
    assert progress.share < 1e-6
    progress.advance(read(other, 30, 60))
    assert progress.share == pytest.approx(0.5, abs=1e-6)


def test_paths_are_those_of_the_index_and_none_counts_twice(files, monkeypatch, tmp_path):
    (path,) = files(100)
    monkeypatch.chdir(tmp_path)
    progress = Progress([Path("0.mp4"), path, "lost.mp4"])
    assert len(progress) == 2
    progress.finish(str(tmp_path / "lost.mp4"))
    progress.advance(read(path, 30, 60))
    assert progress.share == 0.5


def test_of_nothing_all_is_done():
    assert Progress([]).share == 1


def test_it_tells_of_every_change(files):
    (path,) = files(100)
    shares = []
    progress = Progress([path], lambda changed: shares.append(changed.share))
    progress.advance(read(path, 15, 60))
    progress.finish(path)
    assert shares == [0.25, 1]


def test_a_bar_is_for_terminals(now, files, capsys, monkeypatch):
    first, second = files(100, 100)
    for on_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda on_terminal=on_terminal: on_terminal, raising=False)
        now(0)
        with progress_bar("Indexing", [first, second]) as progress:
            now(10)
            for path in (first, second):
                progress.advance(read(path, 30, 30))
                progress.finish(path)
        shown = capsys.readouterr().err
        assert ("Indexing: 100%|" in shown) == on_terminal
        assert ("| 2/2 files, 0:01:00 of video, 6x real time, 0:00:00 left" in shown) == on_terminal
