"""An index on a disk or network that does not answer: nothing is called damaged, and nothing is given up for it."""

import errno
import os

import pytest

from tcd_hf.index import repair
from tcd_hf.index.damage import advice, may_be_damage, reporting
from tcd_hf.index.schema import IndexDamagedError
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.video_index import VideoIndex
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor, open_storage

UNREACHABLE = [
    *(OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN)),
    RuntimeError("lance error: LanceError(IO): Generic LocalFileSystem error: Stale file handle (os error 116)"),
    RuntimeError("lance error: LanceError(IO): Generic S3 error: Error performing GET https://a in 30s: timed out"),
    RuntimeError("lance error: The operation lacked the necessary privileges to complete for path a: 403 Forbidden"),
    TimeoutError("timed out"),
]
WITHOUT_LOCKS = [
    *(OSError(number, os.strerror(number)) for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)),
    NotImplementedError("FileSystem does not appear to support flock; use SoftFileLock instead"),
]


@pytest.fixture
def index(tmp_path, clips, code_reader):
    makers = make_tiny_model(), make_tiny_processor(code_reader)
    index = VideoIndex.create(tmp_path / "index", *makers, cache_dir=tmp_path / "cache")
    index.add([clips["shop.mp4"]], workers=0)
    return index


def told(error: Exception, uri: str, part: str) -> Exception:
    with pytest.raises(Exception, match="The index") as raised, reporting(IndexStorage(uri), part):
        raise error
    return raised.value


@pytest.mark.parametrize("error", UNREACHABLE, ids=str)
@pytest.mark.parametrize("part", ["rows", "lock"])
def test_what_is_out_of_reach_is_not_called_damaged(index, error, part):
    for uri in (index.uri, "s3://bucket/index"):
        answer = told(error, uri, part)
        assert type(answer) is OSError and str(answer).startswith(f"The index {uri} cannot be reached: ")
        assert "damaged" not in str(answer) and "--repair" not in str(answer)
    assert not may_be_damage(error)


@pytest.mark.parametrize("error", WITHOUT_LOCKS, ids=str)
def test_a_file_system_without_locks_is_named(index, error):
    answer = told(error, index.uri, "lock")
    assert type(answer) is OSError and "its file system has no locks" in str(answer)
    assert "damaged" not in str(answer) and "--repair" not in str(answer)


def test_files_that_are_not_there_are_damage_still(index):
    answer = told(FileNotFoundError(errno.ENOENT, "No such file"), index.uri, "rows")
    assert isinstance(answer, IndexDamagedError) and "--repair" in str(answer)


def test_on_an_object_store_no_repair_is_advised(index):
    answer = told(RuntimeError("lance error: no magic number"), "s3://bucket/index", "rows")
    assert type(answer) is OSError and "no magic number" in str(answer) and "--repair" not in str(answer)
    assert "--repair" not in advice("gs://bucket/index")
    assert "--repair" in advice(index.uri) and "--repair" in advice("file:///index")


def test_repairing_gives_nothing_up_for_a_disk_that_does_not_answer(index, tmp_path, monkeypatch):
    """The disk cannot be made to fail; what stands for it is what Python and LanceDB say of one."""
    files = sorted(path for path in (tmp_path / "index").rglob("*") if path.is_file() and path.name[0] != ".")

    def fails(*_, **__):
        raise RuntimeError("lance error: LanceError(IO): Input/output error (os error 5)")

    for name in ("open_table", "search"):
        with monkeypatch.context() as disk:
            if name == "search":
                disk.setattr("lancedb.table.LanceTable.search", fails)
            else:
                disk.setattr("lancedb.db.LanceDBConnection.open_table", fails)
            for ask in (index.check, lambda: VideoIndex.repair(index.uri, workers=0)):
                if name == "open_table" and ask == index.check:
                    continue  # it is open already
                with pytest.raises(OSError, match="cannot be reached: Input/output error"):
                    ask()
        assert not (tmp_path / "index" / repair.DAMAGED).exists()
        assert sorted(p for p in (tmp_path / "index").rglob("*") if p.is_file() and p.name[0] != ".") == files
    assert index.check() == []


def test_statistics_that_are_out_of_reach_are_told(index, monkeypatch):
    storage = open_storage(index)

    def fails(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr("lancedb.db.LanceDBConnection.open_table", fails)
    with pytest.raises(OSError, match="cannot be reached: timed out"):
        storage.load_statistics()
