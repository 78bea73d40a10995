"""Indexing on a local Ray cluster of two workers. It takes seconds to start, so one run must answer for much; what is
lost where something is killed is in `test_ray_kills.py`."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tcd_hf.index.ray_pools import Answer, Part, ReadingActor
from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN, IndexMismatchError
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.processing.ocr_engines import OCREngineError
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, VideoFile
from tcd_hf.reading.worker_pool import SegmentReader, Task
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor, open_storage
from tests.tcd_hf.long_clips import write_codes

pytestmark = pytest.mark.timeout(900)  # a cluster begins slowly where cores are few

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="needs the extra tcd-hf[ray]")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else all other work on this machine goes before,
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # and the memory that it takes ends workers
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # the workers import the OCR engine of the tests
    options = {"num_gpus": 1, "include_dashboard": False, "log_to_driver": False}  # a GPU by name, whatever is there
    ray.init("local", num_cpus=2, runtime_env={"env_vars": environment}, **options)
    yield
    ray.shutdown()


@pytest.fixture
def make_index(tmp_path, code_reader):
    def make(name, engine=code_reader, **options):
        options |= {"cache_dir": tmp_path / f"{name}-cache", "feature_type": "float16"}  # to be compared
        return VideoIndex.create(tmp_path / name, make_tiny_model(), make_tiny_processor(engine), **options)

    return make


def rows_of(index):
    """All columns but the time stamp, which is kept only where it had settled."""
    rows = open_storage(index).videos.to_arrow().drop_columns("modified")
    return rows.sort_by([("path", "ascending"), ("segment", "ascending")]).to_pylist()


def assert_same_rows(index, expected):
    ours, theirs = rows_of(index), rows_of(expected)
    assert [row["path"] for row in ours] == [row["path"] for row in theirs]
    numbers = [COARSE_COLUMN, FEATURES_COLUMN]
    for row, other in zip(ours, theirs, strict=True):
        for name in row:
            if name in numbers:
                np.testing.assert_allclose(row[name], other[name], atol=1e-3, err_msg=name)
            else:
                assert row[name] == other[name], name


@pytest.mark.slow
def test_two_workers_make_the_index_that_the_local_engine_makes(cluster, make_index, clips, tmp_path):
    broken, missing = tmp_path / "videos" / "broken.mp4", tmp_path / "missing.mp4"
    broken.write_bytes(b"junk")
    copy = shutil.copy(clips["shop.mp4"], tmp_path / "videos" / "copy.mp4")
    paths = [broken, *clips.values(), copy, missing]
    with_ray, local = make_index("ray"), make_index("local")
    seen, read, expected_read = [], [], []
    callbacks = {"on_video": seen.append, "on_progress": read.append}
    report = with_ray.add(paths, engine="ray", workers=2, **callbacks)
    expected = local.add(paths, workers=0, on_progress=expected_read.append)
    assert report == expected
    assert (len(report.added), len(report.skipped)) == (5, 2)
    assert sorted(seen) == sorted(map(str, paths))
    assert sorted(read) == sorted(expected_read)  # of clips of one segment
    assert with_ray.paths == local.paths
    assert_same_rows(with_ray, local)
    assert with_ray.errors == local.errors and len(with_ray.errors) == 2
    queries = ["the store TESCO express", "gate b4"]
    assert [[hit.path for hit in hits] for hits in with_ray.search(queries)] == [
        [hit.path for hit in hits] for hits in local.search(queries)
    ]
    np.testing.assert_allclose(with_ray.score(queries).lexical, local.score(queries).lexical)

    # again: what is there is not read, what has changed takes the place of what was
    shutil.copy(clips["toys.mp4"], clips["sea.mp4"])
    clips["airport.mp4"].write_bytes(b"junk")
    shutil.copy(ROOT / "tests" / "__init__.py", broken)
    report = with_ray.add(paths, engine="ray")
    assert report == local.add(paths, workers=0)
    assert (len(report.replaced), len(report.skipped)) == (1, 3)
    assert_same_rows(with_ray, local)
    assert open_storage(with_ray).load_statistics().num_rows == 5


class TellingReader(CodeReader):
    """A [`CodeReader`] that writes down which process reads, and is slow enough for others to have a share."""

    def __init__(self, texts, file):
        super().__init__(texts)
        self.file = file

    def __getstate__(self):
        return {"texts": self.texts, "file": self.file}

    def __call__(self, images):
        with open(self.file, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return super().__call__(images)


@pytest.mark.slow
def test_a_long_video_is_spread_over_workers_and_stands_together(cluster, make_index, clips, tmp_path):
    texts, noted = {code: [f"platform {code}"] for code in range(1, 13)}, tmp_path / "processes"
    long = write_codes(tmp_path / "long.mp4", *((code, 10.0) for code in texts))
    paths, options = [clips["sea.mp4"], long], {"segment_seconds": 5.0}
    with_ray = make_index("ray", TellingReader(texts, str(noted)), **options)
    local = make_index("local", CodeReader(texts), **options)
    read, expected_read = [], []
    with_ray.add(paths, engine="ray", workers=2, on_progress=read.append)
    local.add(paths, workers=0, on_progress=expected_read.append)
    assert len(set(noted.read_text().split())) == 2
    assert_same_rows(with_ray, local)
    rows = open_storage(with_ray).videos.to_arrow().to_pydict()
    assert rows["path"] == [str(clips["sea.mp4"])] + [str(long)] * 24 and rows["segment"] == [0, *range(24)]
    assert sorted(read) == sorted(expected_read)  # in seconds, as they go on
    assert open_storage(with_ray).has_statistics()


def read_nothing(images):
    raise OCREngineError("its weights are not there")


@pytest.mark.slow
def test_what_keeps_all_videos_from_being_read_is_told_in_a_line(cluster, make_index, clips):
    index = make_index("index", read_nothing)
    with pytest.raises(
        RuntimeError, match=r"A Ray worker had to give up: its weights are not there \(OCREngineError\)"
    ):
        index.add([clips["shop.mp4"]], engine="ray")
    assert len(index) == 0


@pytest.mark.slow
def test_more_workers_than_cpus_are_refused_before_they_wait_for_ever(cluster, make_index, clips):
    index = make_index("index")
    with pytest.raises(ValueError, match="3 workers need as many CPUs, but the Ray cluster has 2"):
        index.add(clips.values(), engine="ray", workers=3)
    assert len(index) == 0


@pytest.fixture
def read_part(make_index):
    """Reads files as an actor does."""

    def read(paths, engine):
        step = make_index("index", engine)._make_engine("local", 0)
        actor = ReadingActor(pickle.dumps(SegmentReader(step.reader)), stall_seconds=60)
        part = Part(7, [Task(VideoFile.of(path)) for path in paths])
        number, content = pickle.loads(actor({"part": pickle.dumps(tuple(part))})["part"])
        actor._workers.close()
        assert number == 7
        return content

    return read


def test_a_bad_file_costs_itself(read_part, clips, code_reader, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"junk")
    answers = read_part([clips["shop.mp4"], broken, clips["toys.mp4"]], code_reader)
    reads = [Answer(*answer).result.read for answer in answers]
    assert [type(read) for read in reads] == [ReadSegment, SkippedVideo, ReadSegment]
    assert "TESCO express" in [caption.text for caption in reads[0].record.captions][-1]
    assert str(broken) in reads[1].cause


def test_what_keeps_all_from_being_read_is_an_answer_too(read_part, clips):
    assert read_part([clips["shop.mp4"]], read_nothing) == "its weights are not there (OCREngineError)"


def test_without_ray_it_says_how_to_install_it(make_index, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ImportError, match=r'pip install "tcd-hf\[ray\]"'):
        make_index("index").add(clips.values(), engine="ray")
    with pytest.raises(ValueError, match="at least 1 with Ray, got 0"):
        make_index("other").add(clips.values(), engine="ray", workers=0)


def test_videos_read_in_another_way_are_refused(make_index, clips):
    pytest.importorskip("ray", reason="needs the extra tcd-hf[ray]")
    index = make_index("index")
    index.processor.ocr_fps = 1.0
    with pytest.raises(IndexMismatchError, match="settings of the captions"):
        index.add(clips.values(), engine="ray")


def test_an_engine_that_there_is_none_of_is_refused(make_index, clips):
    index = make_index("index")
    with pytest.raises(ValueError, match="engine must be one of 'local', 'ray', got 'spark'"):
        index.add(clips.values(), engine="spark")
    assert len(index) == 0


def test_nothing_else_imports_ray():
    code = "import sys, tcd_hf.index.video_index, tcd_hf.cli.main; print(*{'ray', 'lance'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
