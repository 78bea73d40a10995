"""Those who write to an index: in turns, and told in one sentence when they cannot."""

import json
import logging
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from tcd_hf.index.schema import IndexMismatchError
from tcd_hf.index.video_index import VideoIndex
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor, open_storage


@pytest.fixture
def index(tmp_path, clips, code_reader):
    index = VideoIndex.create(
        tmp_path / "index", make_tiny_model(), make_tiny_processor(code_reader), cache_dir=tmp_path / "cache"
    )
    index.add([clips["shop.mp4"]], workers=0)
    return index


HOLD = """
    import sys
    from tcd_hf.index.storage import IndexStorage
    storage = IndexStorage(sys.argv[1])
    storage.open()
    with storage.writing():
        print("locked", flush=True)
        sys.stdin.read()
"""


def test_a_waiting_writer_says_for_whom_it_waits(index, clips, start, caplog):
    holder = start(HOLD, index.uri, "some words", "of --it")
    assert holder.stdout.readline() == "locked\n"

    class Release(logging.Handler):
        def emit(self, record):
            holder.stdin.close()

    releases = Release()
    logging.getLogger("tcd_hf.index.writers").addHandler(releases)
    try:
        with caplog.at_level(logging.WARNING):
            assert index.add(clips.values(), workers=0).added
    finally:
        logging.getLogger("tcd_hf.index.writers").removeHandler(releases)
    (record,) = [record for record in caplog.records if record.name == "tcd_hf.index.writers"]
    message = record.getMessage()
    assert f"script0.py {index.uri} 'some words' 'of --it'" in message and f"process {holder.pid} on " in message
    assert index.uri in message and "waiting until it is done" in message
    assert not (Path(index.uri) / ".writer.json").exists()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"pid": "x"}', b'{"command": 1, "since": 1e99}'])
def test_whatever_is_told_of_a_writer_nobody_stumbles_over_it(index, clips, start, caplog, content):
    holder = start(HOLD, index.uri)
    assert holder.stdout.readline() == "locked\n"
    (Path(index.uri) / ".writer.json").write_bytes(content)

    class Release(logging.Handler):
        def emit(self, record):
            holder.kill()

    releases = Release()
    logging.getLogger("tcd_hf").addHandler(releases)
    try:
        with caplog.at_level(logging.WARNING):
            assert index.remove([clips["shop.mp4"]]) == 1
    finally:
        logging.getLogger("tcd_hf").removeHandler(releases)
    assert "Another process is writing to the index" in caplog.text


def test_two_writers_that_write_again_and_again_take_turns(index, start, tmp_path):
    code = """
        import sys, time
        from tcd_hf.index.storage import IndexStorage
        storage = IndexStorage(sys.argv[1])
        storage.open()
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(8):
            with storage.writing():
                with open(sys.argv[2], "a") as turns:
                    turns.write(sys.argv[3])
                time.sleep(0.2)
    """
    turns = tmp_path / "turns"
    writers = [start(code, index.uri, turns, name) for name in "AB"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.wait(120) == 0, writer.stderr.read()
    taken = turns.read_text()
    assert sorted(taken) == sorted("AB" * 8)
    # The first may write twice before the other has come, and whoever is left over writes alone.
    together = taken[taken.index("B" if taken[0] == "A" else "A") - 1 :][:12]
    assert all(one != other for one, other in pairwise(together)), taken


ADD_ALONGSIDE = """
    import sys
    from tcd_hf.index import ingest
    from tcd_hf.index.video_index import VideoIndex
    from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor
    ingest.ROWS_PER_COMMIT = 2
    folder, *paths = sys.argv[1:]
    makers = make_tiny_model(), make_tiny_processor(CodeReader({1: ["TESCO express"], 2: ["Gate B4"]}))
    index = VideoIndex.open(folder + "/index", *makers, cache_dir=folder + "/cache")
    print("ready", flush=True)
    sys.stdin.readline()
    index.add(paths, workers=0, alongside=True, on_video=lambda path: print(path, flush=True))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whoever_else_writes_and_whoever_is_killed_each_video_is_there_once(tmp_path, start):
    """Two add the same clips from both ends, one of them is killed; a third removes and compacts meanwhile."""
    engine = CodeReader({1: ["TESCO express"], 2: ["Gate B4"]})
    index = VideoIndex.create(
        tmp_path / "index", make_tiny_model(), make_tiny_processor(engine), cache_dir=tmp_path / "cache"
    )
    paths = [str(write_clip(tmp_path / f"{n:02d}.mp4", [coded_frame(n)] * 6, fps=5)) for n in range(1, 13)]
    gone = str(write_clip(tmp_path / "gone.mp4", [coded_frame(99)] * 6, fps=5))
    index.add([gone], workers=0)
    forth, back = (start(ADD_ALONGSIDE, tmp_path, *order) for order in (paths, paths[::-1]))
    for adder in (forth, back):
        assert adder.stdout.readline() == "ready\n"
    for adder in (forth, back):
        adder.stdin.write("go\n")
        adder.stdin.flush()
    for _ in range(3):
        assert forth.stdout.readline().strip() in paths
    assert index.remove([gone]) == 1
    forth.kill()
    index.compact()
    output, errors = back.communicate(timeout=300)
    assert back.returncode == 0 and len(output.splitlines()) == len(paths), errors
    again = start(ADD_ALONGSIDE, tmp_path, *paths)
    output, errors = again.communicate("go\n", timeout=300)
    assert again.returncode == 0 and len(output.splitlines()) == len(paths) + 1, errors
    assert sorted(index.read(["path"])["path"].to_pylist()) == paths
    assert index.check() == [] and index.errors == {}
    storage = open_storage(index)
    stored = storage.load_statistics().to_table()
    assert (
        storage.has_statistics() and not storage.statistics_are_damaged() and storage.load_statistics().num_rows == 12
    )
    storage.save_statistics()  # counts
    assert stored == storage.load_statistics().to_table()


class TestAFolderThatIsGone:
    def test_adding_makes_no_shell(self, index, clips, tmp_path):
        shutil.move(index.uri, tmp_path / "elsewhere")
        for use in (
            lambda: index.add(clips.values(), workers=0),
            lambda: index.remove([clips["shop.mp4"]]),
            index.compact,
            index.stats,
            lambda: index.search("tesco"),
            lambda: len(index),
            index.check,
        ):
            with pytest.raises(IndexMismatchError, match=r"^There is no index at .*/index any more: it was moved"):
                use()
        assert not Path(index.uri).exists()
        shutil.move(tmp_path / "elsewhere", index.uri)
        assert len(index.add(clips.values(), workers=0).added) == 3

    def test_while_videos_are_read(self, index, clips, tmp_path):
        def remove(path):
            shutil.rmtree(index.uri, ignore_errors=True)

        with pytest.raises(IndexMismatchError, match=r"^There is no index at .*/index any more"):
            index.add(clips.values(), workers=0, on_video=remove)
        assert not (Path(index.uri) / "videos.lance").exists()


LIMITED = """
    import os, resource, sys
    from pathlib import Path
    from tcd_hf.index.video_index import VideoIndex
    from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor
    folder, kind, first, *videos = sys.argv[1:]
    makers = make_tiny_model(), make_tiny_processor(CodeReader({1: ["TESCO express"]}))
    index = VideoIndex.create(folder + "/index", *makers, cache_dir=folder + "/cache")
    index.add([first], workers=0, on_video=print)
    index.search("tesco")
    os.chmod(folder, 0o777)
    for path in Path(folder).rglob("*"):
        os.chmod(path, 0o777 if "cache" in str(path) else 0o555 if path.is_dir() else 0o444)
    if kind == "read-only" and os.getuid() == 0:  # whom no file denies anything
        os.setuid(65534)
    if kind == "full":
        for path in Path(folder).rglob("*"):
            os.chmod(path, 0o777)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
    uses = [lambda: index.add(videos, workers=0, on_video=print), lambda: index.remove([first])]
    uses += [lambda: VideoIndex.repair(folder + "/index", workers=0)]
    uses += [lambda: VideoIndex.create(folder + "/index/videos.lance/another", *makers)]
    for use in uses[: 1 if kind == "full" else 4]:  # to remove a video takes little room
        try:
            use()
            print("no error")
        except Exception as error:
            print("error", type(error).__name__, str(error).replace(chr(10), " "))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("found", index.search("tesco")[0].evidence, len(index))
"""


@pytest.fixture
def open_folder(clips):
    """A folder that another user may enter, too, which those of pytest are not."""
    folder = Path("/var/tmp" if Path("/var/tmp").is_dir() else "/tmp") / f"tcd-hf-test-{os.getpid()}"
    folder.mkdir()
    yield folder, [shutil.copy(clip, folder) for clip in clips.values()]
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="rights and limits are those of POSIX")
@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [("read-only", "PermissionError", "may not be written"), ("full", "OSError", "cannot be written: File too large")],
)
def test_what_cannot_be_written_is_told_in_one_sentence(open_folder, start, kind, name, said):
    folder, videos = open_folder
    process = start(LIMITED, folder, kind, *videos)
    output, errors = process.communicate(timeout=200)
    lines = [line for line in output.splitlines() if line.startswith(("error", "no error", "found"))]
    assert process.returncode == 0 and len(lines) == (2 if kind == "full" else 5), (output, errors)
    for line in lines[:-1]:
        assert line.startswith(f"error {name} The index {folder}/index") and said in line, lines
        assert "lance" not in line.replace(".lance", "").lower() and "os error" not in line
    assert lines[-1] == "found ['TESCO express'] 1"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colour": "red"}, "tells 'colour', which this release of tcd-hf does not know"),
        ({"shapes": None}, "not as this release of tcd-hf writes it"),
        ({"shapes": {"coarse": "x"}}, "not as this release of tcd-hf writes it"),
        ({"dim": "16"}, "not as this release of tcd-hf writes it"),
        ({"model_name": 3}, "not as this release of tcd-hf writes it"),
        ({"reading": ["x"]}, "not as this release of tcd-hf writes it"),
        ([1], "was not made by tcd-hf"),
        ("3", "was not made by tcd-hf"),
        (None, "was not made by tcd-hf"),
    ],
)
def test_metadata_of_other_shapes_is_refused(index, tmp_path, change, told):
    import lancedb

    schema = open_storage(index).videos.schema
    values = {**json.loads(schema.metadata[b"tcd_hf"]), **change} if isinstance(change, dict) else change
    other = schema.with_metadata({b"tcd_hf": json.dumps(values).encode()})
    lancedb.connect(tmp_path / "other").create_table("videos", schema=other)
    with pytest.raises(IndexMismatchError) as error:
        VideoIndex.open(tmp_path / "other")
    assert str(error.value).startswith(f"Cannot use the index {tmp_path}/other: its ") and told in str(error.value)


def test_metadata_that_is_not_what_was_written_is_damage(index, tmp_path):
    import lancedb

    from tcd_hf import IndexDamagedError

    schema = open_storage(index).videos.schema
    changed = schema.metadata[b"tcd_hf"].replace(b'"dim": 16', b'"dim": 17')
    for name, metadata, columns in (
        ("checksum", {**schema.metadata, b"tcd_hf": changed}, list(schema)),
        ("columns", {b"tcd_hf": changed}, list(schema)),  # of a release that wrote no checksum of it
    ):
        lancedb.connect(tmp_path / name).create_table("videos", schema=pa.schema(columns, metadata=metadata))
        with pytest.raises(IndexDamagedError, match=f"The index {tmp_path}/{name} is damaged: its .* --repair"):
            VideoIndex.open(tmp_path / name)
