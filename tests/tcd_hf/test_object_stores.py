"""An index on an object store: over S3's protocol, from a server in a process of its own, with a bad line between."""

import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from tcd_hf.index.conflicts import TRIES, is_conflict, write_again
from tcd_hf.index.contents import change_errors
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.schema import IndexMismatchError
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.tables import IndexTables
from tcd_hf.index.video_index import VideoIndex
from tests.tcd_hf.conftest import (
    assert_statistics_are_those_of_a_recount,
    make_tiny_model,
    make_tiny_processor,
    open_storage,
)

QUERY = "the store TESCO express"


@pytest.fixture
def makers(code_reader):
    return make_tiny_model(), make_tiny_processor(code_reader)


@pytest.fixture
def index(store, makers, tmp_path):
    return VideoIndex.create(f"{store}/my index", *makers, cache_dir=tmp_path / "cache")


def names(index: VideoIndex) -> list[str]:
    """Of the files, as often as there are rows of them."""
    return sorted(Path(path).name for path in index.read(["path"])["path"].to_pylist())


def test_it_is_filled_searched_and_cleaned_as_one_in_a_folder(index, store, clips, makers, tmp_path):
    missing = tmp_path / "missing.mp4"
    report = index.add([*list(clips.values())[:2], missing], workers=0)
    assert (len(report.added), list(index.errors)) == (2, [str(missing)])
    opened = VideoIndex.open(index.uri, *makers, cache_dir=tmp_path / "cache")
    shutil.copy(clips["sea.mp4"], missing)
    assert len(opened.add([*clips.values(), missing], workers=0).added) == 3 and index.errors == {}
    assert index.search(QUERY, top_k=1)[0].evidence == ["TESCO express"]
    os.utime(clips["sea.mp4"])
    shutil.copy(clips["toys.mp4"], clips["airport.mp4"])
    report = index.refresh(list(clips.values()), workers=0)
    assert (report.removed, len(report.replaced), len(report.unchanged)) == ([str(missing)], 1, 3)
    index.compact()
    assert names(opened) == sorted(clips) and index.check() == []
    assert opened.remove([clips["shop.mp4"]]) == 1 and len(index) == 3 and index.stats().bytes_on_disk is None
    assert open_storage(index).load_statistics().num_rows == 3
    with pytest.raises(FileExistsError):
        VideoIndex.create(index.uri, *makers)
    with pytest.raises(IndexMismatchError, match="There is no index"):
        VideoIndex.open(f"{store}/other", *makers)


def test_the_command_line(store, clips, run, tmp_path):
    uri = f"{store}/index"
    done = run("index", clips["shop.mp4"].parent, "--index", uri, "--json")
    assert done.exit_code == 0 and len(json.loads(done.stdout)["added"]) == 4, done.stderr
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    run("index", bad, "--index", uri)
    found = run("search", QUERY, "--index", uri, "--json", "--top-k", 1)
    assert "TESCO express" in found.stdout and "shop.mp4" in found.stdout, found.stderr
    assert json.loads(run("index", "--index", uri, "--stats", "--json").stdout)["files_that_cannot_be_read"] == 1
    assert "shop.mp4" in run("list", "--index", uri).stdout
    assert run("index", "--index", uri, "--check").exit_code == 0
    assert "1 removed" in run("index", clips["shop.mp4"], "--remove", "--index", uri).stdout


ADD = """
    import sys
    from tcd_hf.index import ingest
    from tcd_hf.index.video_index import VideoIndex
    from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor
    ingest.ROWS_PER_COMMIT = 1
    uri, cache, *paths = sys.argv[1:]
    makers = make_tiny_model(), make_tiny_processor(CodeReader({1: ["TESCO express"], 2: ["Gate B4"]}))
    index = VideoIndex.create(uri, *makers, cache_dir=cache, exist_ok=True)
    print("ready", flush=True)
    sys.stdin.readline()
    index.add(paths, workers=0, on_video=print)
"""


def test_two_processes_that_make_one_index_and_add_the_same_videos_lose_none_and_double_none(
    store, clips, makers, start, tmp_path
):
    uri, paths = f"{store}/index", [*map(str, clips.values()), str(tmp_path / "missing.mp4")]
    writers = [start(ADD, uri, tmp_path / name, *order) for name, order in (("a", paths), ("b", paths[::-1]))]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        output, errors = writer.communicate(timeout=200)
        assert writer.returncode == 0 and len(output.splitlines()) == len(paths), errors
    index = VideoIndex.open(uri, *makers)
    assert names(index) == sorted(clips) and index.check() == [] and list(index.errors) == paths[-1:]
    assert open_storage(index).load_statistics().num_rows == 4


@pytest.mark.slow
def test_a_writer_that_is_killed_holds_up_nobody_and_leaves_nothing_half(store, clips, makers, start, tmp_path):
    uri, paths = f"{store}/index", list(map(str, clips.values()))
    killed, other = (start(ADD, uri, tmp_path / name, *paths) for name in "ab")
    for writer in (killed, other):
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert killed.stdout.readline().strip() in paths
    killed.kill()
    _, errors = other.communicate(timeout=200)
    index = VideoIndex.open(uri, *makers)
    assert other.returncode == 0 and names(index) == sorted(clips) and index.check() == [], errors
    _, errors = start(ADD, uri, tmp_path / "a", *paths).communicate("go\n", timeout=200)
    assert names(index) == sorted(clips) and index.check() == [], errors


def test_a_commit_takes_the_place_of_no_other(bad_line, index, clips):
    """What all of this rests on: LanceDB has the store take a version only if there is none of that number."""
    commits = []
    bad_line.fault = lambda request: commits.append(request) or "" if "/_versions/" in request.path else ""
    index.add([clips["shop.mp4"]], workers=0)
    written = [request.is_new for request in commits if request.method == "PUT"]
    assert len(written) > 2 and all(written)


def test_rows_that_another_inserted_since_are_not_written_twice(index, clips):
    """What LanceDB does only because it is told of the key, see `set_key`."""
    index.add([clips["shop.mp4"]], workers=0)
    storage = open_storage(index)
    rows = storage.read(storage.videos.schema.names)
    index.remove([clips["shop.mp4"]])
    one, other = open_storage(index), open_storage(index)
    for each in (one, other):
        each.videos.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
    assert names(index) == ["shop.mp4"]


def test_an_index_of_before_is_told_of_its_key_when_it_is_written_to(store, makers, clips, tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(IndexTables, "set_key", lambda storage: None)
        index = VideoIndex.create(f"{store}/index", *makers, cache_dir=tmp_path / "cache")
        assert not open_storage(index)._has_key()
    index.add([clips["shop.mp4"]], workers=0)
    assert open_storage(index)._has_key() and names(index) == ["shop.mp4"]


def test_a_commit_counts_its_own_texts_alone_unless_another_was_between(index, store, clips, makers, monkeypatch):
    monkeypatch.setattr("tcd_hf.index.storage.UNINDEXED_TEXTS", 2)  # an index of texts made anew reads all rows anyway
    files = list(clips.values())
    index.add(files[:2], workers=0)
    counted = []
    with monkeypatch.context() as watched:
        for name in ("add", "subtract"):
            count = getattr(LexicalStatistics, name)
            watched.setattr(
                LexicalStatistics, name, lambda own, rows, count=count: counted.append(rows) or count(own, rows)
            )
        index.add(files[2:3], workers=0)
        index.remove(files[2:3])
    assert list(map(len, counted)) == [1, 1]
    append, remove = IndexTables.append, IndexTables.delete
    other = VideoIndex.open(index.uri, *makers)

    def late(storage, rows):
        monkeypatch.setattr(IndexTables, "append", append)
        other.remove(files[1:2])
        append(storage, rows)

    def late_again(storage, paths):
        monkeypatch.setattr(IndexTables, "delete", remove)
        other.add(files[3:], workers=0)
        return remove(storage, paths)

    monkeypatch.setattr(IndexTables, "append", late)
    index.add(files[2:3], workers=0)
    assert_statistics_are_those_of_a_recount(index)
    monkeypatch.setattr(IndexTables, "delete", late_again)
    index.remove(files[2:3])
    assert_statistics_are_those_of_a_recount(index)
    assert names(index) == sorted(Path(path).name for path in [files[0], *files[3:]])


def test_a_commit_is_a_version_even_if_it_changes_nothing(index, clips):
    """What counting by versions rests on: no commit of another can hide behind one of ours that was none."""
    index.add([clips["shop.mp4"]], workers=0)
    storage = open_storage(index)
    before, rows = storage.version, storage.read(storage.videos.schema.names)
    assert storage.delete(["/nowhere.mp4"]) == 1 and storage.version == before + 1
    storage.update(rows.select(["id", "size", "modified"]))
    assert storage.version == before + 2
    storage.upsert(rows)
    assert storage.version == before + 3


def test_statistics_that_were_added_up_hold_where_nobody_else_committed(index, clips):
    index.add([clips["shop.mp4"]], workers=0)
    storage, other = open_storage(index), open_storage(index)
    own = storage.load_statistics()
    own.num_rows = 7
    assert storage.save_statistics(own).num_rows == 7  # as it was told
    other.delete(["/nowhere.mp4"])
    storage.update_version()
    assert storage.save_statistics(own).num_rows == 1  # counted


def test_what_others_do_at_the_same_time_is_no_error(index, clips):
    """Whoever looked at the table before another committed merges fragments, and makes indices and statistics."""
    index.add([clips["shop.mp4"]], workers=0)
    writers = [open_storage(index) for _ in range(3)]
    index.add(clips.values(), workers=0)
    index.remove([clips["sea.mp4"]])
    errors = []

    def work(storage: IndexStorage) -> None:
        try:
            storage.compact()
            storage.maintain(0)
            storage.save_statistics()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(storage,)) for storage in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and index.check() == [] and len(index) == 3


def test_whoever_comes_second_writes_again_and_at_last_gives_up():
    looks, writes = [], []

    def write(times: int):
        writes.append(1)
        if len(writes) <= times:
            raise RuntimeError("lance error: Retryable commit conflict for version 3: This Rewrite was preempted")
        return len(writes)

    assert write_again(lambda: write(2), lambda: looks.append(1)) == 3 and len(looks) == 2
    writes.clear()
    with pytest.raises(RuntimeError, match="commit conflict") as raised:
        write_again(lambda: write(99), lambda: None)
    assert is_conflict(raised.value) and len(writes) == TRIES
    with pytest.raises(RuntimeError, match="another"):
        write_again(lambda: exec('raise RuntimeError("another")'), lambda: pytest.fail("it is no conflict"))


def test_what_two_say_of_files_that_cannot_be_read_is_kept(index):
    told = []

    def change(errors):
        if not told:  # another writes between the look at the list and its change
            told.append(1)
            change_errors(index.uri, lambda errors: {**errors, "/theirs": "x"})
        return {**errors, "/ours": "y"}

    change_errors(index.uri, change)
    assert index.errors == {"/theirs": "x", "/ours": "y"}


def test_without_the_package_for_it_there_is_no_list_and_a_warning(index, clips, tmp_path, monkeypatch, caplog):
    import fsspec

    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    assert len(index.add([clips["shop.mp4"], tmp_path / "missing.mp4"], workers=0).added) == 1
    assert index.errors == {} and index.search(QUERY, top_k=1)[0].evidence == ["TESCO express"]
    told = [record.getMessage() for record in caplog.records if "errors.jsonl" in record.getMessage()]
    assert len(told) == 1 and "pip install 'tcd-hf[s3]'" in told[0]


@pytest.mark.parametrize(
    ("fault", "method", "part", "times"),
    [
        ("drop", "PUT", "/data/", 1),
        ("lose", "PUT", "/_versions/", 1),
        ("half", "GET", "videos.lance", 1000),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("lose", "PUT", "/data/", 1),
                ("half", "GET", "videos.lance", 1),
                ("slow", "PUT", "/_versions/", 1),
                ("drop", "PUT", "errors.jsonl", 1),
                ("drop", "PUT", "/data/", 1000),
                ("lose", "PUT", "/_versions/", 1000),
                ("lose", "PUT", "/data/", 1000),
                ("drop", "PUT", "errors.jsonl", 1000),
            )
        ),
    ],
)
def test_on_a_bad_line_adding_ends_whole_or_says_so_and_once_more_completes_it(
    bad_line, index, clips, tmp_path, fault, method, part, times
):
    index.add([clips["shop.mp4"]], workers=0)
    asked = Counter()

    def goes_wrong(request) -> str:
        if request.method != method or part not in request.path:
            return ""
        asked[part] += 1
        return fault if asked[part] <= times else ""

    bad_line.fault = goes_wrong
    everything = [*clips.values(), tmp_path / "missing.mp4"]
    try:
        index.add(everything, workers=0)
    except OSError as error:
        assert times == 1000 and str(error).startswith(f"The index {index.uri} cannot be reached: ")
        assert "/root/" not in str(error) and "sesame-open" not in str(error)
    assert asked[part] > 0
    bad_line.fault = lambda request: ""
    assert set(names(index)) <= set(clips) and len(names(index)) == len(set(names(index))) and index.check() == []
    report = index.add(everything, workers=0)
    assert report.replaced == [] and names(index) == sorted(clips) and index.check() == []
    assert list(index.errors) == [str(tmp_path / "missing.mp4")]
    assert index.search(QUERY, top_k=1)[0].evidence == ["TESCO express"]


@pytest.mark.parametrize("fault", ["drop", *(pytest.param(name, marks=pytest.mark.slow) for name in ("half", "slow"))])
def test_on_a_bad_line_a_search_finds_the_same_or_says_so(bad_line, index, clips, makers, fault):
    index.add(clips.values(), workers=0)
    expected = index.search(QUERY, top_k=2)
    for times in (2, 1000):
        asked = []

        def goes_wrong(request, times=times, asked=asked) -> str:
            asked.append(1)
            return fault if len(asked) <= (min(times, 2) if fault == "slow" else times) else ""

        bad_line.fault = goes_wrong
        try:
            assert VideoIndex.open(index.uri, *makers).search(QUERY, top_k=2) == expected
        except OSError as error:
            assert times == 1000 and f"The index {index.uri} cannot be reached: the connection broke off." in str(error)
    bad_line.fault = lambda request: ""
    assert index.search(QUERY, top_k=2) == expected


def test_what_is_wrong_is_said_in_words_and_nothing_secret(store, makers, monkeypatch, caplog):
    def said(uri: str) -> str:
        with pytest.raises(OSError, match="cannot be reached") as error:
            VideoIndex.open(uri, *makers)
        assert len(str(error.value)) < 300
        return str(error.value)

    assert "there is no such bucket" in said("s3://no-such-bucket/index")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "AWS_ALLOW_HTTP" in said(f"{store}/index")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "nobody answers there" in said(f"{store}/index")
    assert "sesame-open" not in caplog.text
