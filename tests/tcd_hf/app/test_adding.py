import asyncio
import os
import re

import pytest

from tcd_hf.app import adding
from tcd_hf.app.adding import Adder
from tcd_hf.app.uploads import UploadError, UploadFolder, videos_under
from tests.tcd_hf.app.conftest import make_clip, make_index


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
    assert videos_under(str(clip), [root]) == [str(clip)]
    assert videos_under(" deep/a.mp4 ", [root]) == [str(clip)]
    assert videos_under("deep", [tmp_path / "gone", root]) == [str(clip)]
    assert {os.path.basename(file) for file in videos_under(str(root), [root])} <= {"a.mp4", "inner.mp4"}
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


@pytest.mark.slow
def test_a_process_of_its_own_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 1)  # as it is, unless a server of the tests has it otherwise
    index = make_index(tmp_path, {})
    clip = make_clip(tmp_path / "a.mp4", [1])
    assert "1 added" in list(Adder(index, roots=[tmp_path]).add_path(str(clip)))[-1]
    assert index.search("tesco")[0].evidence == ["TESCO express"]
