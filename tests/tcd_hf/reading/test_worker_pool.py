"""Segments read in processes: the same as in this one, and no file suffers for another's."""

import os
import signal
from pathlib import Path

import pytest

from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.segments import Segment
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, VideoFile, VideoReader
from tcd_hf.reading.worker_pool import TASKS_PER_WORKER, Result, Tasks, read_videos
from tests.tcd_hf.conftest import NUM_FRAMES, CodeReader
from tests.tcd_hf.long_clips import write_codes

TEXTS = {code: [f"text {code}"] for code in (3, 5, 9, 17, 33)}
DEADLY = 128


class DeadlyReader(CodeReader):
    """Ends the process at a code, as a crash in a decoder does."""

    def __call__(self, images):
        readings = super().__call__(images)
        if any(reading.text == "death" for image in readings for reading in image):
            os.kill(os.getpid(), signal.SIGKILL)
        return readings


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
        assert self.names(tasks.take(2)) == [("a", None), ("b", None)]
        assert list(tasks.settle(Result(self.FILES[0], "a0", self.SEGMENTS[1:]))) == ["a0"]
        assert self.names(tasks.take(1)) == [("a", 1)]
        assert list(tasks.settle(Result(self.FILES[1], "b0", self.SEGMENTS[1:]))) == ["b0"]
        assert self.names(tasks.take(9)) == [("a", 2), ("b", 1), ("b", 2), ("c", None)]
        assert self.names(tasks.take(9)) == []

    def test_of_a_video_that_is_skipped_nothing_more_is_read_or_given(self):
        tasks = Tasks(iter(self.FILES))
        list(tasks.take(1))
        list(tasks.settle(Result(self.FILES[0], "a0", self.SEGMENTS[1:])))
        in_flight = self.names(tasks.take(1))
        bad = SkippedVideo("a", "cause")
        assert in_flight == [("a", 1)] and list(tasks.settle(Result(self.FILES[0], bad, []))) == [bad]
        assert list(tasks.settle(Result(self.FILES[0], "a1", []))) == []
        assert list(tasks.settle(Result(self.FILES[0], bad, []))) == []  # told once
        assert self.names(tasks.take(9)) == [("b", None), ("c", None)]

    def test_files_are_taken_no_faster_than_asked_for(self):
        taken = []
        tasks = Tasks(taken.append(file.path) or file for file in self.FILES)
        assert self.names(tasks.take(1)) == [("a", None)] and taken == ["a"]
        list(tasks.settle(Result(self.FILES[0], "a0", self.SEGMENTS[1:])))
        list(tasks.take(2))
        assert taken == ["a"]


@pytest.mark.slow
def test_two_processes_read_what_this_one_reads_and_a_death_costs_one_file(tmp_path):
    engine = DeadlyReader({**TEXTS, DEADLY: ["death"]})
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
