import logging
import sys
import threading
import time

import pytest

from tcd_hf.reading import watching
from tcd_hf.reading.files import FileStamp, absolute_path
from tcd_hf.reading.watching import FolderWatch, Settling

STILL = 1.0


def stamp(size, second):
    return FileStamp(size, int(second * 1e9))


def test_a_path_is_told_of_once_it_has_been_still():
    settling = Settling(5.0)
    assert settling.settled({}, now=100.0, clock=1000.0) == [] and not settling.waits
    looks = [
        (101.0, 10, []),  # new
        (104.0, 20, []),  # it grows: from here on
        (108.9, 20, []),
        (109.0, 20, ["a"]),
        (120.0, 20, []),  # once
        (121.0, 30, []),  # it has changed again
        (126.0, 30, ["a"]),
    ]
    for now, size, expected in looks:
        assert settling.settled({"a": stamp(size, 0)}, now, clock=1e6) == expected, now
        assert settling.waits == (not expected and now != 120.0), now


def test_in_the_first_look_the_time_stamps_tell_how_long_files_have_been_still():
    files = {"old": stamp(1, 990), "new": stamp(1, 998), "of tomorrow": stamp(1, 2000)}
    settling = Settling(5.0)
    assert settling.settled(files, now=50.0, clock=1000.0) == ["old"]
    assert settling.settled(files, now=53.0, clock=1003.0) == ["new"]
    assert settling.settled(files, now=55.0, clock=1005.0) == ["of tomorrow"]
    files["moved here"] = stamp(1, 990)  # later the clock of the file system is not asked
    assert settling.settled(files, now=60.0, clock=1010.0) == []
    assert settling.settled(files, now=65.0, clock=1015.0) == ["moved here"]


def test_what_is_gone_is_told_of_once_too_unless_it_comes_back():
    settling = Settling(5.0)
    assert settling.settled({"was gone before": None, "a": stamp(1, 0)}, 10.0, 1000.0) == ["was gone before", "a"]
    assert settling.settled({"a": None}, 20.0, 1010.0) == []
    assert settling.settled({"a": stamp(1, 0)}, 23.0, 1013.0) == []  # it was written anew, the same: no news
    assert not settling.waits
    assert settling.settled({"a": None}, 30.0, 1020.0) == [] and settling.waits
    assert settling.settled({"a": None}, 35.0, 1025.0) == ["a"]
    assert settling.settled({}, 40.0, 1030.0) == []
    assert settling.settled({"a": stamp(1, 0)}, 50.0, 1040.0) == []  # forgotten, so new
    assert settling.settled({"a": stamp(1, 0)}, 55.0, 1045.0) == ["a"]


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("watchfiles", reason="needs the extra tcd-hf[watch]")
    (tmp_path / "inbox" / "sub").mkdir(parents=True)
    return tmp_path / "inbox"


def paths_of(*files):
    return [absolute_path(file) for file in files]


def test_a_file_is_named_when_its_writer_is_done(folder):
    (folder / "before.mp4").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    file, done = folder / "sub" / "growing.mp4", []

    def write():
        with file.open("wb") as stream:
            for _ in range(15):
                stream.write(b"piece")
                stream.flush()
                time.sleep(STILL / 10)
        done.append(time.monotonic())

    news = FolderWatch([folder], STILL).news()
    first = next(news)
    assert (first.complete, first.gone) == (paths_of(folder / "before.mp4"), [])
    assert [left.kind for left in first.left_out] == [".txt"]
    writer = threading.Thread(target=write)
    writer.start()
    second = next(news)
    writer.join()
    assert done and second.complete == paths_of(file)
    (folder / "before.mp4").write_bytes(b"other")
    assert next(news).complete == paths_of(folder / "before.mp4")


def test_what_goes_is_named_after_what_comes_and_only_if_it_is_kept(folder):
    files = [folder / name for name in ("kept.mp4", "moved.mp4", "other.mp4")]
    for file in files:
        file.write_bytes(b"x")
    kept = paths_of(*files[:2])
    news = FolderWatch([folder], STILL).news(lambda: kept)
    assert next(news).complete == paths_of(*files)
    files[2].unlink()
    files[1].rename(folder / "sub" / "moved.mp4")
    both = next(news)
    assert (both.complete, both.gone) == (paths_of(folder / "sub" / "moved.mp4"), paths_of(files[1]))


def test_a_folder_that_is_away_or_empty_takes_nothing_with_it(folder, caplog):
    file = folder / "kept.mp4"
    file.write_bytes(b"x")
    news = FolderWatch([folder], STILL, look_seconds=STILL).news(lambda: paths_of(file))
    assert next(news).complete == paths_of(file)
    away = folder.with_name("away")

    def come_and_go():
        folder.rename(away)
        time.sleep(2 * STILL)
        folder.mkdir()
        time.sleep(2 * STILL)
        (folder / "new.mp4").write_bytes(b"x")

    mover = threading.Thread(target=come_and_go)
    with caplog.at_level(logging.WARNING):
        mover.start()
        found = next(news)
    mover.join()
    assert found.complete == paths_of(folder / "new.mp4") and found.gone == paths_of(file)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2  # each once
    assert "No such file or folder" in told[0] and "Nothing is added or removed" in told[0]
    assert f"No video is left in {folder}: nothing of it is removed" in told[1]


def test_one_folder_of_several_that_is_empty_takes_nothing_with_it(folder):
    other = folder.with_name("other")
    other.mkdir()
    files = [folder / "stays.mp4", other / "kept.mp4"]
    for file in files:
        file.write_bytes(b"x")
    news = FolderWatch([folder, other], STILL, look_seconds=STILL).news(lambda: paths_of(*files))
    assert sorted(next(news).complete) == sorted(paths_of(*files))
    files[1].unlink()
    (folder / "new.mp4").write_bytes(b"x")
    found = next(news)
    assert (found.complete, found.gone) == (paths_of(folder / "new.mp4"), [])
    (other / "back.mp4").write_bytes(b"x")
    assert next(news).gone == paths_of(files[1])


def test_one_who_takes_long_over_news_does_not_wait_long_for_the_next(folder, monkeypatch):
    monkeypatch.setattr(watching, "LOOK_SHARE", 0.01)  # a look takes a few milliseconds
    news = FolderWatch([folder], STILL).news()
    (folder / "a.mp4").write_bytes(b"x")
    next(news)
    time.sleep(3 * STILL)
    (folder / "b.mp4").write_bytes(b"x")
    begin = time.monotonic()
    assert next(news).complete == paths_of(folder / "b.mp4")
    assert time.monotonic() - begin < 2 * STILL / watching.LOOK_SHARE


def test_only_folders_are_watched(folder):
    (folder / "a.mp4").write_bytes(b"x")
    for path in (folder / "a.mp4", folder / "nowhere"):
        with pytest.raises(NotADirectoryError, match="Only folders can be watched"):
            FolderWatch([folder, path])


def test_without_watchfiles_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ImportError, match=r"pip install 'tcd-hf\[watch\]'"):
        FolderWatch([tmp_path])
