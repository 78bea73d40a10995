import asyncio
import os
import re
import threading
import time
from contextlib import ExitStack
from itertools import islice

import pytest

from tcd_hf.app import adding
from tcd_hf.app.adding import Adder
from tcd_hf.app.uploads import UploadError, UploadFolder, videos_under
from tcd_hf.index.video_index import VideoIndex
from tests.clips import read_code
from tests.tcd_hf.app.conftest import make_clip, make_index
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor, open_storage
from tests.tcd_hf.deadly import DeadlyReader


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 0)
    return make_index(tmp_path, {})


def upload(uploads, name, content):
    async def chunks():
        yield content[:5]
        yield content[5:]

    return asyncio.run(uploads.save(name, chunks()))


def test_a_path_under_an_allowed_folder(tmp_path):
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    clip, other = make_clip(root / "deep" / "a.mp4", [1]), make_clip(tmp_path / "b.mp4", [2])
    (root / "link.mp4").symlink_to(other)
    (root / "inner.mp4").symlink_to(clip)
    assert videos_under(str(clip), [root]) == ([str(clip)], [])
    assert videos_under(" deep/a.mp4 ", [root]) == ([str(clip)], [])
    assert videos_under("deep", [tmp_path / "gone", root]) == ([str(clip)], [])
    (root / "notes.txt").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").touch()
    (root / "leads_out").symlink_to(tmp_path / "elsewhere")
    found = videos_under(str(root), [root])
    assert {os.path.basename(file) for file in found.videos} <= {"a.mp4", "inner.mp4"}
    assert found.left_out == [(str(root / "notes.txt"), ".txt")]
    for path in (
        str(other),
        "../b.mp4",
        "deep/../../b.mp4",
        str(root / "link.mp4"),
        "link.mp4",
        "/etc",
        "~",
        "",
        "a\0b",
        f"{root}-2/x.mp4",
    ):
        with pytest.raises(ValueError, match=r"Only what lies in|There is no '~'"):
            videos_under(path, [root])
    with pytest.raises(ValueError, match=r"There is no 'c\.mp4' there"):
        videos_under("c.mp4", [root])


def test_progress_and_a_report_of_bad_files(tmp_path, index):
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    assert upload(uploads, "good.mp4", make_clip(tmp_path / "a.mp4", [1, 1]).read_bytes()) == "good.mp4"
    assert upload(uploads, "bad.mp4", b"no video") == "bad.mp4"
    news = list(Adder(index, uploads).add_uploaded(["good.mp4", "bad.mp4"]))
    assert "0 of 2 done" in news[0]
    assert re.search(r"1 of 2 done: \w+\.mp4", "".join(news[1:-1]))
    assert "1 added, 1 could not be read" in news[-1]
    assert "<b>bad.mp4</b>" in news[-1]
    assert "The index holds 1 videos." in news[-1]
    assert os.listdir(uploads.folder) == ["good.mp4"]  # the bad one is of no use
    assert index.errors == {}
    assert "1 already there" in list(Adder(index, uploads).add_uploaded(["good.mp4"]))[-1]
    assert "was not uploaded" in list(Adder(index, uploads).add_uploaded(["bad.mp4"]))[-1]


def test_progress_moves_inside_a_long_file(tmp_path, index):
    long = make_clip(tmp_path / "long.mp4", [1] * 100)  # in four segments of 25 s
    news = list(Adder(index, roots=[tmp_path]).add_path(str(long)))
    shown = re.findall(r'long\.mp4: (\S+) of 0:01:40\.0 read</p><progress max="1" value="(.+?)">', "".join(news))
    places = [("0:00:25.0", "0.250"), ("0:00:50.0", "0.500"), ("0:01:15.0", "0.750"), ("0:01:40.0", "1.000")]
    assert list(dict.fromkeys(shown)) == places
    assert "1 added" in news[-1]
    assert "The index holds 1 videos." in news[-1]


def test_files_that_nobody_uploaded_are_left_alone(tmp_path, index):
    folder = tmp_path / "uploads"
    folder.mkdir()
    mine, notes = folder / "mine.mp4", folder / ".upload-notes"
    for file in (mine, notes, folder / ".upload-x1y2.part"):
        file.write_bytes(b"no video")
    uploads = UploadFolder(folder, 1, 10)
    assert sorted(os.listdir(folder)) == [".upload-notes", "mine.mp4"]  # what a killed server left is of no use
    assert upload(uploads, "mine.mp4", b"no video either") == "mine-2.mp4"
    assert "mine.mp4&#x27; was not uploaded" in list(Adder(index, uploads).add_uploaded(["mine-2.mp4", "mine.mp4"]))[-1]
    assert "1 could not be read" in list(Adder(index, uploads).add_uploaded(["mine-2.mp4"]))[-1]
    uploads.discard("mine.mp4")
    assert sorted(os.listdir(folder)) == [".upload-notes", "mine.mp4"]
    assert "was not uploaded" in list(Adder(index, UploadFolder(folder, 1, 10)).add_uploaded(["mine.mp4"]))[-1]


def test_an_empty_upload_and_a_folder_that_is_a_file(tmp_path):
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    with pytest.raises(UploadError, match=r"a\.mp4 is empty"):
        upload(uploads, "a.mp4", b"")
    assert os.listdir(uploads.folder) == []
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="Uploads need a folder"):
            UploadFolder(path, 1, 10)


@pytest.mark.parametrize("name", ["../secret.mp4", "/etc/passwd", "..", "", "gone.mp4", "link.mp4", "a.txt", ".x.mp4"])
def test_only_uploaded_files_are_added_as_such(tmp_path, index, name):
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    secret = make_clip(tmp_path / "secret.mp4", [1])
    (uploads.folder / "link.mp4").symlink_to(secret)
    news = list(Adder(index, uploads, [tmp_path]).add_uploaded([name]))
    assert len(news) == 1
    assert "Nothing was added" in news[0]
    assert len(index) == 0


def test_what_is_off_stays_off(tmp_path, index):
    assert "takes no uploads" in next(Adder(index).add_uploaded(["a.mp4"]))
    assert "adds nothing by its path" in next(Adder(index).add_path("/"))
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    assert "1 to 20 files" in next(Adder(index, uploads).add_uploaded([]))
    assert "1 to 20 files" in next(Adder(index, uploads).add_uploaded(["a.mp4"] * 21))
    for names in (None, "a.mp4", [None], [["a.mp4"]]):
        assert "a list of names" in next(Adder(index, uploads).add_uploaded(names))
    assert "Only what lies in" in next(Adder(index, roots=[tmp_path]).add_path(None))


def test_an_error_ends_in_a_message(tmp_path, index, monkeypatch):
    clip = make_clip(tmp_path / "a.mp4", [1])

    def fail(*args, **kwargs):
        raise OSError("the disk is <full>")

    monkeypatch.setattr(index, "add", fail)
    assert "the disk is &lt;full&gt;" in list(Adder(index, roots=[tmp_path]).add_path(str(clip)))[-1]


def test_after_an_error_uploads_that_were_not_reached_are_removed(tmp_path, index, monkeypatch):
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    names = [upload(uploads, f"{code}.mp4", make_clip(tmp_path / "a.mp4", [code]).read_bytes()) for code in (1, 2, 3)]
    add = index.add

    def fail_after_the_second(files, on_video, **options):
        def told(path):
            on_video(path)
            if path.endswith("2.mp4"):
                raise OSError("the disk is full")

        return add(files, on_video=told, **options)

    monkeypatch.setattr(index, "add", fail_after_the_second)
    assert "the disk is full" in list(Adder(index, uploads).add_uploaded(names))[-1]
    assert sorted(os.listdir(uploads.folder)) == ["1.mp4", "2.mp4"]  # the second was in the index by then


@pytest.fixture
def stalling_index(tmp_path):
    processor = make_tiny_processor(DeadlyReader(hangs_at=3))
    return VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path / "cache")


@pytest.fixture
def slow_index(tmp_path, monkeypatch):
    """An index whose reading of code 3 goes on when it is told to: `slow_index, begun, go_on`."""
    monkeypatch.setattr(adding, "WORKERS", 0)
    begun, go_on = threading.Event(), threading.Event()

    def engine(images):
        if any(read_code(image) == 3 for image in images):
            begun.set()
            assert go_on.wait(60)
        return [[] for _ in images]

    processor = make_tiny_processor(Shared(engine))
    index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path / "cache")
    return index, begun, go_on


class Shared:
    """An OCR engine that is the same one in all handles of an index."""

    def __init__(self, engine):
        self.engine = engine

    def __call__(self, images):
        return self.engine(images)

    def __deepcopy__(self, memo):
        return self

    def __getstate__(self):  # of which a fingerprint is made
        return {}


def test_a_long_upload_is_in_nobodys_way(tmp_path, slow_index):
    index, begun, go_on = slow_index
    paths = {code: str(make_clip(tmp_path / f"{code}.mp4", [code])) for code in (1, 2, 3)}
    adder = Adder(index, roots=[tmp_path])
    first = adder.add_path(paths[3], "first")
    next(first)
    assert begun.wait(60)
    assert "1 added" in list(adder.add_path(paths[1], "second"))[-1]
    assert index.remove([paths[1]]) == 1  # nor in that of whoever else writes
    assert "1 added" in list(adder.add_path(paths[2], "second"))[-1]
    assert "Reading videos" in next(first)
    go_on.set()
    assert "1 added" in list(first)[-1]
    assert [os.path.basename(path) for path in index.paths] == ["2.mp4", "3.mp4"]


def test_two_visitors_who_add_the_same_have_it_once(tmp_path, slow_index):
    index, begun, go_on = slow_index
    clip = str(make_clip(tmp_path / "3.mp4", [3]))
    adder = Adder(index, roots=[tmp_path])
    reports = [adder.add_path(clip, visitor) for visitor in "ab"]
    for report in reports:
        next(report)
    assert begun.wait(60)
    time.sleep(0.5)  # the other is likely to read it, too; if not, it finds it there
    go_on.set()
    said = sorted(list(report)[-1].partition("<b>")[2].partition("</b>")[0] for report in reports)
    assert said == ["1 added", "1 already there"]
    assert index.paths == [clip] and len(index.read(["id"])) == 1


def test_of_pages_that_were_closed_no_more_are_read_at_once_than_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 0)
    monkeypatch.setattr(adding, "MAX_ADDING", 2)
    begun, go_on = [], threading.Event()

    def engine(images):
        begun.append(threading.get_ident())
        assert go_on.wait(60)
        return [[] for _ in images]

    processor = make_tiny_processor(Shared(engine))
    index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path / "cache")
    adder = Adder(index, roots=[tmp_path])
    for code in range(1, 5):
        page = adder.add_path(str(make_clip(tmp_path / f"{code}.mp4", [code])), "closed")
        next(page)
        page.close()
    waiting = adder.add_path(str(make_clip(tmp_path / "5.mp4", [5])), "me")
    assert any("waiting until one is done" in line for line in islice(waiting, 10))
    deadline = time.monotonic() + 60
    while len(set(begun)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)  # another would begin
    assert len(set(begun)) == 2
    adder.cancel("me")
    assert "1 left when it was cancelled" in list(waiting)[-1]
    go_on.set()
    last = str(make_clip(tmp_path / "6.mp4", [6]))
    assert "1 added" in list(adder.add_path(last))[-1]
    while len(index) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sorted(os.path.basename(path) for path in index.paths) == [f"{code}.mp4" for code in (1, 2, 3, 4, 6)]


def test_a_folder_is_added_some_files_at_a_time(tmp_path, index, monkeypatch):
    monkeypatch.setattr(adding, "FILES_AT_ONCE", 2)
    (folder := tmp_path / "several").mkdir()
    for code in range(1, 6):
        make_clip(folder / f"{code}.mp4", [code])
    add, slices = index.add, []

    def count(files, **options):
        slices.append([os.path.basename(file) for file in files])
        return add(files, **options)

    monkeypatch.setattr(index, "add", count)
    news = list(Adder(index, roots=[folder]).add_path(str(folder)))
    assert slices == [["1.mp4", "2.mp4"], ["3.mp4", "4.mp4"], ["5.mp4"]]
    assert "5 added" in news[-1] and "<details" not in news[-1]
    told = "".join(news)
    assert all(f"{done} of 5 done" in told for done in range(6))  # file by file


def test_what_a_folder_holds_besides_is_counted_and_listed(tmp_path, index):
    (folder := tmp_path / "several").mkdir()
    make_clip(folder / "a.mp4", [1])
    for name in ("<b>.txt", "c.jpg", "d.jpg"):
        (folder / name).touch()
    report = list(Adder(index, roots=[folder]).add_path(str(folder)))[-1]
    assert "<summary>Left out 3 files that are no videos: 2 .jpg, 1 .txt</summary>" in report
    assert "&lt;b&gt;.txt</li>" in report and report.count("<li>") == 3


def test_the_page_says_that_one_waits_and_the_log_for_whom(tmp_path, index, caplog):
    clip = str(make_clip(tmp_path / "a.mp4", [1]))
    adder = Adder(index, roots=[tmp_path])
    with open_storage(index).writing():
        news = adder.add_path(clip, "me")
        waits = next(line for line in news if "Waiting" in line)
    assert "Another process or visitor is writing to the index" in waits
    assert "(process " not in waits and index.uri not in waits
    assert f"(process {os.getpid()} on " in caplog.text and f"is writing to the index {index.uri}" in caplog.text
    assert "1 added" in list(news)[-1]


def test_whoever_waits_for_another_process_may_cancel(tmp_path, index):
    clip = str(make_clip(tmp_path / "a.mp4", [1]))
    adder = Adder(index, roots=[tmp_path])
    with open_storage(index).writing():
        news = adder.add_path(clip, "me")
        next(line for line in news if "Waiting" in line)
        adder.cancel("me")
        assert "1 left when it was cancelled" in list(news)[-1]
    assert len(index) == 0


def test_whoever_waits_to_forget_what_could_not_be_read_may_cancel(tmp_path, index, monkeypatch):
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    assert upload(uploads, "bad.mp4", b"no video") == "bad.mp4"
    adder, add, held = Adder(index, uploads), index.add, ExitStack()

    def add_and_hold(files, **options):
        report = add(files, **options)
        held.enter_context(open_storage(index).writing())
        threading.Timer(2.0, adder.cancel, ["me"]).start()
        return report

    monkeypatch.setattr(index, "add", add_and_hold)
    with held:
        news = list(islice(adder.add_uploaded(["bad.mp4"], "me"), 60))
    assert "1 could not be read" in news[-1]
    assert os.listdir(uploads.folder) == []


def test_what_a_visitor_adds_is_cancelled_and_nothing_else(tmp_path, index, monkeypatch):
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    names = [
        upload(uploads, f"{code}.mp4", make_clip(tmp_path / f"{code}.mp4", [code]).read_bytes()) for code in (1, 2, 3)
    ]
    adder = Adder(index, uploads)
    add = index.add

    def add_and_cancel(files, on_video, **options):
        def told(path):
            on_video(path)
            adder.cancel("me" if path.endswith("2.mp4") else "somebody else")

        return add(files, on_video=told, **options)

    monkeypatch.setattr(index, "add", add_and_cancel)
    report = list(adder.add_uploaded(names, "me"))[-1]
    assert "2 added, 1 left when it was cancelled" in report and "The index holds 2 videos" in report
    assert sorted(os.listdir(uploads.folder)) == ["1.mp4", "2.mp4"]
    assert (
        list(adder.add_uploaded(["1.mp4"], "me"))[-1].count("1 already there") == 1
    )  # the next is no longer cancelled


def test_a_file_that_gives_nothing_is_left_out_and_said_to_be_silent(tmp_path, stalling_index, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 1)
    monkeypatch.setattr(adding, "SILENCE_SECONDS", 1.0)
    (folder := tmp_path / "videos").mkdir()
    for name, code in (("bad.mp4", 3), ("good.mp4", 1)):
        make_clip(folder / name, [code])
    news = list(Adder(stalling_index, roots=[folder], stall_seconds=20.0).add_path(str(folder)))
    assert "1 added, 1 could not be read" in news[-1]
    assert "neither a frame nor a text" in news[-1] and "Nothing new for" in "".join(news[:-1])


def test_a_file_that_gives_nothing_can_be_cancelled(tmp_path, stalling_index, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 1)
    clip = make_clip(tmp_path / "bad.mp4", [3])
    adder = Adder(stalling_index, roots=[tmp_path], stall_seconds=300.0)
    adding_it = adder.add_path(str(clip), "me")
    next(adding_it)
    other = make_clip(tmp_path / "good.mp4", [1])
    assert "1 added" in list(adder.add_path(str(other), "another"))[-1]  # meanwhile
    begin, stopped = time.monotonic(), threading.Event()
    stopped.set()
    for _ in range(6):
        next(adding_it)
    adder.cancel("me")
    assert "1 left when it was cancelled" in list(adding_it)[-1]
    assert time.monotonic() - begin < 60 and stalling_index.add(clip, stop=stopped).added == []  # the lock is free


def test_an_upload_that_ends_the_process_that_reads_it_costs_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 1)
    processor = make_tiny_processor(DeadlyReader(aborts_at=3))
    index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path / "cache")
    uploads = UploadFolder(tmp_path / "uploads", 1, 10)
    names = [upload(uploads, f"{code}.mp4", make_clip(tmp_path / "a.mp4", [code]).read_bytes()) for code in (3, 1)]
    report = list(Adder(index, uploads).add_uploaded(names))[-1]
    assert "1 added, 1 could not be read" in report and "SIGABRT" in report
    assert os.listdir(uploads.folder) == ["1.mp4"]


@pytest.mark.slow
def test_a_process_of_its_own_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 1)  # as it is, unless a server of the tests has it otherwise
    index = make_index(tmp_path, {})
    clip = make_clip(tmp_path / "a.mp4", [1])
    assert "1 added" in list(Adder(index, roots=[tmp_path]).add_path(str(clip)))[-1]
    assert index.search("tesco")[0].evidence == ["TESCO express"]
