"""Segments read in processes: the same as in this one, and no file suffers for another's."""

import logging
import os
import subprocess
import sys
import threading
import warnings
from itertools import islice
from pathlib import Path

import pytest

from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.segments import Segment
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, VideoFile, VideoReader
from tcd_hf.reading.worker_pool import Result, Task, Tasks, read_videos
from tcd_hf.reading.workers import TASKS_PER_WORKER, WorkerError
from tests.tcd_hf.conftest import NUM_FRAMES, CodeReader
from tests.tcd_hf.deadly import DeadlyReader
from tests.tcd_hf.long_clips import write_codes

TEXTS = {code: [f"text {code}"] for code in (3, 5, 9, 17, 33)}
DEADLY = 128


def make_reader(folder, engine) -> VideoReader:
    return VideoReader(WindowOCRCaptioner(engine, num_windows=NUM_FRAMES), CaptionCache(folder), segment_seconds=4.0)


def by_place(results) -> dict[tuple[str, int], object]:
    read = [result for result in results if isinstance(result, ReadSegment)]
    places = {(Path(segment.record.path).name, segment.record.segment): segment for segment in read}
    assert len(places) == len(read)
    return {
        place: (segment.record.captions, segment.record.start, segment.num_segments)
        for place, segment in places.items()
    }


class TestTasks:
    """Which segment is next."""

    FILES = tuple(VideoFile(name, name, (1, 1), True) for name in "abc")
    SEGMENTS = tuple(Segment(number, 3, 4.0 * number, 4.0 * (number + 1)) for number in range(3))

    def names(self, tasks):
        return [(task.file.path, task.segment and task.segment.number) for task in tasks]

    def test_a_video_that_was_begun_is_finished_before_others_are(self):
        tasks = Tasks(iter(self.FILES))
        a, b = islice(tasks.take(), 2)
        assert self.names([a, b]) == [("a", None), ("b", None)]
        assert list(tasks.settle(a, Result("a0", self.SEGMENTS[1:]))) == ["a0"]
        assert self.names(islice(tasks.take(), 1)) == [("a", 1)]
        assert list(tasks.settle(b, Result("b0", self.SEGMENTS[1:]))) == ["b0"]
        assert self.names(tasks.take()) == [("a", 2), ("b", 1), ("b", 2), ("c", None)]
        assert self.names(tasks.take()) == []

    def test_of_a_video_that_is_skipped_nothing_more_is_read_or_given(self):
        tasks = Tasks(iter(self.FILES))
        a = next(tasks.take())
        list(tasks.settle(a, Result("a0", self.SEGMENTS[1:])))
        in_flight = next(tasks.take())
        bad = SkippedVideo("a", "cause")
        assert self.names([in_flight]) == [("a", 1)] and list(tasks.settle(in_flight, Result(bad, []))) == [bad]
        assert list(tasks.settle(in_flight, Result("a1", []))) == []
        assert list(tasks.settle(in_flight, Result(bad, []))) == []  # told once
        assert self.names(tasks.take()) == [("b", None), ("c", None)]

    def test_what_is_read_with_care_is_read_with_care_to_its_end(self):
        tasks = Tasks(iter(self.FILES))
        careful = next(tasks.take()).with_care()
        list(tasks.settle(careful, Result("a0", self.SEGMENTS[1:])))
        assert [task.careful for task in tasks.take()] == [True, True, False, False]
        begun = Task(self.FILES[0], self.SEGMENTS[1])
        assert begun.with_care() == begun  # some of its segments are there already

    def test_files_are_taken_no_faster_than_asked_for(self):
        taken = []
        tasks = Tasks(taken.append(file.path) or file for file in self.FILES)
        a = next(tasks.take())
        assert taken == ["a"]
        list(tasks.settle(a, Result("a0", self.SEGMENTS[1:])))
        list(islice(tasks.take(), 2))
        assert taken == ["a"]


def names_of(results) -> list[str]:
    """The files that are read, and those that are skipped, in order."""
    return [
        f"skipped {Path(result.path).name}" if isinstance(result, SkippedVideo) else Path(result.record.path).name
        for result in results
    ]


def test_without_files_no_process_is_started(tmp_path):
    assert list(read_videos(make_reader(tmp_path, EndlessDeath()), [], num_workers=1)) == []


class EndlessDeath:
    """An engine that cannot even be brought to another process."""

    def __call__(self, images):
        return [[] for _ in images]

    def __reduce__(self):
        return os._exit, (7,)


def test_where_there_can_be_no_other_process_this_one_reads(tmp_path):
    clip = VideoFile.of(write_codes(tmp_path / "clip.mp4", (3, 1)))
    locked = threading.Lock()  # what cannot be pickled

    def engine(images):
        with locked:
            return CodeReader(TEXTS)(images)

    for impossible, cause in ((engine, "cannot be brought there"), (EndlessDeath(), "exit status 7")):
        reader = VideoReader(WindowOCRCaptioner(None, num_windows=NUM_FRAMES), CaptionCache(tmp_path))
        reader.captioner.engine = impossible
        with pytest.raises(WorkerError, match=cause):
            list(read_videos(reader, [clip], num_workers=1))
        with pytest.warns(UserWarning, match=f"read in this process, which a bad file can end.*{cause}") as warned:
            results = list(read_videos(reader, [clip], num_workers=1, may_read_here=True))
        assert names_of(results) == ["clip.mp4"] and len(warned) == 1


def test_a_death_costs_one_file_and_so_does_a_stall(tmp_path):
    """One file after the other, in one process."""
    files = [VideoFile.of(write_codes(tmp_path / f"{code}.mp4", (code, 1))) for code in (3, 128, 5, 256, 9)]
    reader = make_reader(tmp_path / "cache", DeadlyReader(aborts_at=128, hangs_at=256))
    results = list(read_videos(reader, files, num_workers=1, stall_seconds=20.0))
    assert sorted(names_of(results)) == sorted(["3.mp4", "5.mp4", "9.mp4", "skipped 128.mp4", "skipped 256.mp4"])
    causes = {Path(result.path).name: result.cause for result in results if isinstance(result, SkippedVideo)}
    assert "the process that read it died (SIGABRT)" in causes["128.mp4"]
    assert "neither a frame nor a text: no sign of it for 20 s" in causes["256.mp4"]
    assert "--stall-seconds of `tcd-hf`" in causes["256.mp4"]
    texts = {Path(read.record.path).name: read.record.captions[0].text for read in results if hasattr(read, "record")}
    assert texts == {f"{code}.mp4": f"code {code}" for code in (3, 5, 9)}


def test_pyav_reads_what_brings_decord_down(tmp_path, monkeypatch):
    """A decoder that dies, in the place of decord's: a module of that name, found first."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "decord.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    clip = VideoFile.of(write_codes(tmp_path / "clip.mp4", (3, 2), (5, 4)))
    (first, second) = read_videos(make_reader(tmp_path / "cache", CodeReader(TEXTS)), [clip], num_workers=1)
    assert [read.record.captions[-1].text for read in (first, second)] == ["text 5", "text 5"]
    reader = VideoReader(WindowOCRCaptioner(None), CaptionCache(tmp_path), backend="decord")
    (skipped,) = read_videos(reader, [clip], num_workers=1)
    assert "SIGABRT" in skipped.cause


def test_a_reading_is_stopped(tmp_path):
    files = [VideoFile.of(write_codes(tmp_path / f"{code}.mp4", (code, 1))) for code in TEXTS]
    for num_workers in (0, 1):
        stop = threading.Event()
        reading = read_videos(make_reader(tmp_path / "c", CodeReader(TEXTS)), files, num_workers, stop=stop)
        first = next(reading)
        stop.set()
        assert names_of([first, *reading]) == ["3.mp4"]


def test_where_it_is_stopped_before_it_begins_nothing_is_asked_for(tmp_path):
    stop = threading.Event()
    stop.set()
    files = iter([VideoFile("gone.mp4", "", (1, 1), True)])
    assert list(read_videos(make_reader(tmp_path, EndlessDeath()), files, num_workers=1, stop=stop)) == []
    assert len(list(files)) == 1


def test_what_processes_warn_of_is_told_here(tmp_path, caplog):
    clip = VideoFile.of(write_codes(tmp_path / "clip.mp4", (3, 1)))

    def engine(images):
        logging.getLogger("tests").warning("read %d", len(images))
        warnings.warn("an engine complains", stacklevel=1)
        return [[] for _ in images]

    with pytest.warns(UserWarning, match="an engine complains"):
        list(read_videos(make_reader(tmp_path / "cache", engine), [clip], num_workers=1))
    assert any(record.name == "tests" and record.getMessage().startswith("read ") for record in caplog.records)


def test_a_process_that_reads_does_not_wait_for_what_it_does_not_need():
    code = "import sys, tcd_hf.reading.worker_pool; print({'torch', 'transformers', 'lancedb'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_nothing_is_decoded_where_only_the_text_is_wanted_and_it_is_there(tmp_path):
    clip = VideoFile.of(write_codes(tmp_path / "clip.mp4", (3, 2), (5, 4)))
    reader = make_reader(tmp_path / "cache", CodeReader(TEXTS))
    first = list(read_videos(reader, [clip], num_workers=0))
    reader.captioner.read = None  # whatever decodes goes through it
    again = list(read_videos(reader, [clip], num_workers=0))
    assert [read.record for read in again] == [read.record for read in first] and len(first) == 2


@pytest.mark.slow
def test_two_processes_read_what_this_one_reads_and_a_death_costs_one_file(tmp_path):
    engine = DeadlyReader(aborts_at=DEADLY, texts=TEXTS)
    paths = [
        write_codes(tmp_path / "long.mp4", *((code, 4) for code in TEXTS)),
        write_codes(tmp_path / "deadly.mp4", (3, 4), (DEADLY, 4), (5, 4)),
        *(write_codes(tmp_path / f"{code}.mp4", (code, 2)) for code in (3, 5, 9, 17)),
        write_codes(tmp_path / "two.mp4", (9, 4), (17, 4)),
    ]
    taken = []
    files = (taken.append(path) or VideoFile.of(path) for path in paths)
    reading = read_videos(make_reader(tmp_path / "cache", engine), files, num_workers=2)
    results = [next(reading)]
    assert len(taken) <= TASKS_PER_WORKER * 2
    results += reading
    (skipped,) = (result for result in results if isinstance(result, SkippedVideo))
    assert skipped.path == str(paths[1]) and "the process that read it died" in skipped.cause
    ours = {place: value for place, value in by_place(results).items() if place[0] != "deadly.mp4"}
    fine = [VideoFile.of(path) for path in paths if path != paths[1]]
    alone = by_place(read_videos(make_reader(tmp_path / "other cache", engine), fine, num_workers=0))
    assert ours == alone and len(alone) == 5 + 4 + 2
    after = results.index(skipped)
    assert all(result.record.path != skipped.path for result in results[after + 1 :])
