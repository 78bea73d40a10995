"""One reader for all: it streams, reads no text twice, and keeps nothing under the name of another content."""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features

from tcd_hf.data.preparation import prepare_dataset
from tcd_hf.data.retrieval_datasets import FEATURES
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.integrations.videos import process_video
from tcd_hf.processing.video_decoders import PyAVDecoder
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.processing.window_ocr import WindowCaption, WindowOCRCaptioner
from tcd_hf.reading import video_reader
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.files import FileStamp, hash_bytes, hash_file
from tcd_hf.reading.segments import Segment
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, VideoFile, VideoReader
from tests.clips import read_code
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor
from tests.tcd_hf.long_clips import FPS, WatchedReader, write_codes

TEXTS = {code: [f"text {code}"] for code in (3, 5, 9, 17, 33)}
SEGMENT = 4.0  # seconds


@pytest.fixture
def long_clip(tmp_path):
    """20 s, five segments of a code each."""
    return write_codes(tmp_path / "long.mp4", *((code, SEGMENT) for code in TEXTS))


@pytest.fixture
def engine():
    return WatchedReader(TEXTS)


@pytest.fixture
def make_reader(tmp_path, engine):
    def make(segment_seconds=SEGMENT, engine=engine, **options):
        captioner = WindowOCRCaptioner(engine, num_windows=NUM_FRAMES)
        return VideoReader(captioner, CaptionCache(tmp_path / "cache"), segment_seconds, **options)

    return make


def read_all(reader, path) -> list[ReadSegment]:
    return list(reader(VideoFile.of(path)))


def texts_of(captions: list[WindowCaption]) -> list[str]:
    return [caption.text for caption in captions]


def test_the_cache_gives_what_it_has_and_no_entry_of_others(make_reader, long_clip):
    reader, file = make_reader(), VideoFile.of(long_clip)
    with reader.open(file) as video:
        first, second, *_ = video.segments
        assert reader.cached_captions(file.content_hash, first) is None
        _, captions = video.read(first)
    assert reader.cached_captions(file.content_hash, first) == captions
    assert reader.cached_captions(file.content_hash, second) is None
    assert reader.cached_captions(file.content_hash) is None  # the whole video was not read
    reader.cache.save(file.content_hash, reader.caption_settings, captions[1:], second)  # of too few windows
    assert reader.cached_captions(file.content_hash, second) is None


class TestSegments:
    def test_they_are_read_in_order_with_times_of_the_whole_video(self, make_reader, long_clip):
        segments = read_all(make_reader(), long_clip)
        assert [segment.num_segments for segment in segments] == [5] * 5
        for number, (code, segment) in enumerate(zip(TEXTS, segments, strict=True)):
            record, start = segment.record, number * SEGMENT
            assert (record.segment, record.start, record.end) == (number, start, start + SEGMENT)
            assert (record.path, record.duration, record.fps) == (str(long_clip), 20.0, FPS)
            assert (record.content_hash, record.size) == (hash_file(long_clip), long_clip.stat().st_size)
            assert texts_of(record.captions) == [f"text {code}"] * NUM_FRAMES
            for window, caption in enumerate(record.captions):
                assert (caption.start, caption.end) == pytest.approx((start + window, start + window + 1))
                (track,) = caption.tracks
                assert (track.start, track.end) == pytest.approx((start + window, start + window + 1))
                assert start <= track.box_time <= start + SEGMENT

    def test_a_segment_is_read_as_a_file_of_its_own_would_be(self, make_reader, long_clip, tmp_path):
        cut = write_codes(tmp_path / "cut.mp4", (5, SEGMENT))
        (alone,) = read_all(make_reader(), cut)
        within = read_all(make_reader(), long_clip)[1]
        for caption, other in zip(within.record.captions, alone.record.captions, strict=True):
            shifted = other.shifted(SEGMENT)
            assert (caption.text, caption.start, caption.end) == (
                shifted.text,
                pytest.approx(shifted.start),
                pytest.approx(shifted.end),
            )

    def test_frames_are_those_at_the_centres_of_its_windows(self, make_reader, long_clip):
        with make_reader().open(VideoFile.of(long_clip)) as video:
            for code, segment in zip(TEXTS, video.segments, strict=True):
                frames, _ = video.read(segment)
                assert [read_code(frame) for frame in frames] == [code] * NUM_FRAMES
            frames, captions = video.read(video.whole)
        assert [read_code(frame) for frame in frames] == [3, 5, 17, 33]  # at 2.5, 7.5, 12.5 and 17.5 s
        assert texts_of(captions)[0] == "text 3 text 5"

    @pytest.mark.parametrize("seconds", [None, 20.0, 30.0])
    def test_a_short_video_is_one(self, make_reader, long_clip, seconds):
        (segment,) = read_all(make_reader(seconds), long_clip)
        assert (segment.record.segment, segment.record.start, segment.record.end) == (0, 0.0, 20.0)
        assert segment.num_segments == 1

    @pytest.mark.parametrize("backend", ["pyav", "decord"])
    def test_they_come_one_by_one(self, make_reader, long_clip, engine, backend, monkeypatch):
        decoded, read = [], PyAVDecoder.read
        monkeypatch.setattr(PyAVDecoder, "read", lambda self, index: decoded.append(index) or read(self, index))
        segments = make_reader(backend=backend)(VideoFile.of(long_clip))
        for number, code in enumerate(TEXTS):
            assert next(segments).record.segment == number
            assert engine.codes[-1] == code and set(engine.codes) == set(list(TEXTS)[: number + 1])
            if backend == "pyav":
                assert number * SEGMENT * FPS <= max(decoded) < (number + 1) * SEGMENT * FPS
        assert list(segments) == []

    def test_what_was_read_before_a_bad_end_is_given_and_the_end_told(self, make_reader, long_clip, engine):
        def fail(code):
            if code == 17:
                raise ValueError("cannot read this")

        engine.on_code = fail
        *read, last = make_reader()(VideoFile.of(long_clip))
        assert [segment.record.segment for segment in read] == [0, 1, 2]
        assert isinstance(last, SkippedVideo) and "cannot read this" in last.cause


class TestCache:
    def entries(self, tmp_path) -> list[Path]:
        return sorted((tmp_path / "cache").rglob("*.json"))

    def test_each_segment_has_an_entry_and_none_is_read_twice(self, make_reader, long_clip, engine, tmp_path):
        first = read_all(make_reader(), long_clip)
        digest, settings = hash_file(long_clip), make_reader().caption_settings
        folder = tmp_path / "cache" / "captions-1" / digest[:2]
        names = [f"{digest}-{settings}-{number:05d}-of-00005.json" for number in range(5)]
        assert self.entries(tmp_path) == [folder / name for name in names]
        read = len(engine.codes)
        again = read_all(make_reader(), long_clip)
        assert len(engine.codes) == read
        assert [segment.record for segment in again] == [segment.record for segment in first]
        (folder / names[2]).unlink()
        assert [segment.record for segment in read_all(make_reader(), long_clip)] == [one.record for one in first]
        assert set(engine.codes[read:]) == {list(TEXTS)[2]}

    def test_pieces_of_other_lengths_are_others(self, make_reader, long_clip, tmp_path):
        for seconds, count in ((4.0, 5), (5.0, 5 + 4), (None, 5 + 4 + 1)):
            read_all(make_reader(seconds), long_clip)
            assert len(self.entries(tmp_path)) == count

    def test_a_video_in_one_piece_has_the_name_it_has_always_had(self, make_reader, long_clip, tmp_path):
        digest = hash_file(long_clip)
        for seconds in (30.0, None):
            reader = make_reader(seconds)
            read_all(reader, long_clip)
            name = f"{digest}-{reader.caption_settings}.json"
            assert self.entries(tmp_path) == [tmp_path / "cache" / "captions-1" / digest[:2] / name]
        whole = Segment(0, 1, 0.0, 20.0)
        assert reader.cache.load(digest, reader.caption_settings, whole) == reader.cache.load(
            digest, reader.caption_settings
        )

    def test_a_run_that_is_killed_has_lost_the_segment_it_was_at(self, make_reader, long_clip, engine):
        def interrupt(code):
            if code == 17:
                raise KeyboardInterrupt

        engine.on_code, read = interrupt, []
        with pytest.raises(KeyboardInterrupt):
            read.extend(make_reader()(VideoFile.of(long_clip)))
        assert set(engine.codes) == {3, 5, 9, 17}
        again = WatchedReader(TEXTS)
        segments = read_all(make_reader(engine=again), long_clip)
        assert set(again.codes) == {17, 33}
        assert [texts_of(segment.record.captions) for segment in segments] == [
            [f"text {code}"] * NUM_FRAMES for code in TEXTS
        ]

    def test_bytes_share_the_entries_of_files_and_arrays_have_none(self, make_reader, long_clip, engine, tmp_path):
        reader = make_reader(None)
        frames, captions = reader.read(long_clip)
        read = len(engine.codes)
        others, again = reader.read(long_clip.read_bytes())
        assert again == captions and len(engine.codes) == read
        np.testing.assert_array_equal(np.stack(others), np.stack(frames))
        reader.read(np.zeros((8, 48, 64, 3), np.uint8), fps=2.0)
        assert len(self.entries(tmp_path)) == 1


def replace_by_another(path: Path, other: bytes) -> None:
    """As a program does that writes a file and moves it to its place."""
    (path.parent / "new").write_bytes(other)
    os.replace(path.parent / "new", path)


def replace_by_one_of_the_same_size(path: Path, other: bytes) -> None:
    replace_by_another(path, same_size(other, path))


def replace_by_one_of_the_same_date(path: Path, other: bytes) -> None:
    status = path.stat()
    replace_by_one_of_the_same_size(path, other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def overwrite(path: Path, other: bytes) -> None:
    """In place, with the date set back."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(same_size(other, path))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def same_size(other: bytes, path: Path) -> bytes:
    return other.ljust(path.stat().st_size, b"\0")


WAYS = [
    replace_by_another,
    replace_by_one_of_the_same_size,
    replace_by_one_of_the_same_date,
    overwrite,
]
MOMENTS = ["before the hash", "before it is opened", "before it is read", "while it is read", "after it was read"]


class Race:
    """A video, and another that takes its place at a moment of reading, once.

    Attributes:
        path (`Path`): of the video, of codes 3, 5, 9; the other one is of codes 17, 33, 17.
        texts (`dict[str, set[str]]`): what may be read in a content, by its hash.
    """

    def __init__(self, tmp_path, monkeypatch, way, moment):
        first = write_codes(tmp_path / "first.mp4", (3, SEGMENT), (5, SEGMENT), (9, SEGMENT)).read_bytes()
        other = write_codes(tmp_path / "other.mp4", (17, SEGMENT), (33, SEGMENT), (17, SEGMENT)).read_bytes()
        size = max(len(first), len(other)) + 64  # what follows an MP4's boxes is ignored
        self.path = tmp_path / "video.mp4"
        self.path.write_bytes(first.ljust(size, b"\0"))
        self._way, self._other, self._size, self.happened = way, other, size, False
        self.first_hash = hash_file(self.path)
        self.texts = {self.first_hash: {3, 5, 9}}
        for content in (other, other.ljust(size, b"\0")):
            self.texts[hash_bytes(content)] = {17, 33}
        hooks = {
            "before the hash": (video_reader, "hash_file", True),
            "before it is opened": (video_reader, "open_video", True),
            "before it is read": (video_reader, "open_video", False),
            "while it is read": None,
            "after it was read": (WindowOCRCaptioner, "read", False),
        }
        self.engine = WatchedReader(TEXTS)
        if hooks[moment] is None:
            self.engine.on_code = lambda code: self.happen()
        else:
            self._hook(monkeypatch, *hooks[moment])

    def happen(self) -> None:
        if not self.happened:
            self.happened = True
            self._way(self.path, self._other)

    def check(self, folder: Path) -> None:
        """No captions in the cache are of another content than their name says."""
        assert self.happened
        for entry in folder.rglob("*.json"):
            read = {caption["text"] for caption in json.loads(entry.read_text())} - {""}
            allowed = {f"text {code}" for code in self.texts[entry.name.split("-")[0]]}
            assert read and {word for text in read for word in text.replace(" text", "\ntext").split("\n")} <= allowed

    def codes_of_the_present(self) -> set[int]:
        return self.texts[hash_file(self.path)]

    def _hook(self, monkeypatch, owner, name: str, before: bool) -> None:
        real = getattr(owner, name)

        def hooked(*args, **options):
            if before:
                self.happen()
                return real(*args, **options)
            result = real(*args, **options)
            self.happen()
            return result

        monkeypatch.setattr(owner, name, hooked)


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request):
    return request.param


@pytest.fixture(params=MOMENTS)
def race(tmp_path, monkeypatch, way, request):
    # The clock of the file system may stand still meanwhile: no stamp shows a change that keeps the size.
    ticks = {"now": time.time_ns() + 3_600_000_000_000}
    monkeypatch.setattr(video_reader, "file_stamp", lambda path: FileStamp(os.path.getsize(path), ticks["now"]))
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    return Race(tmp_path, monkeypatch, way, request.param)


class TestFileThatIsReplaced:
    """Whatever becomes of a file while it is read, no captions come under the hash of another content."""

    def test_in_an_index(self, race, tmp_path):
        index = VideoIndex.create(
            tmp_path / "index", make_tiny_model(), make_tiny_processor(race.engine), segment_seconds=SEGMENT
        )
        index.add([race.path], workers=0)
        for _ in range(2):
            race.check(tmp_path / "cache")
            rows = index.read(["content_hash", "captions"]).to_pylist()
            for row in rows:
                shown = {caption["text"] for caption in row["captions"]}
                assert shown <= {f"text {code}" for code in race.texts[row["content_hash"]]}
            index.add([race.path], workers=0)  # now it keeps still
        assert len(rows) == 3 and {row["content_hash"] for row in rows} == {hash_file(race.path)}

    def test_in_a_data_set_that_is_prepared(self, race, tmp_path):
        row = {"video_id": "v", "video": str(race.path), "captions": ["c"], "query_types": [None], "ocr": None}
        processor = make_tiny_processor(race.engine)
        for _ in range(2):
            dataset = Dataset.from_list([row], Features(FEATURES))
            report = prepare_dataset(dataset, processor, tmp_path / "out", "train", num_proc=0)
            assert report.num_videos + len(report.bad_videos) == 1
            assert all("changed while it was read" in cause for cause in report.bad_videos.values())
            race.check(tmp_path / "cache")
            shutil.rmtree(tmp_path / "out")  # the stamp is made to stand still here
        assert report.num_videos == 1

    def test_in_another_library(self, race, tmp_path):
        processor = make_tiny_processor(race.engine)
        with contextlib.suppress(VideoReadError):
            process_video(processor, race.path)
        race.check(tmp_path / "cache")
        read = process_video(processor, race.path)
        captions = [f"text {code}" for code in race.codes_of_the_present()]
        race.check(tmp_path / "cache")
        own = [entry for entry in (tmp_path / "cache").rglob("*.json") if entry.name.startswith(hash_file(race.path))]
        assert len(own) == 1 and any(text in own[0].read_text() for text in captions) and bool(read["ocr_mask"].all())


def test_a_stamp_that_shows_the_change_is_enough(tmp_path, make_reader, long_clip, monkeypatch):
    """Then a file is hashed once."""
    monkeypatch.setattr("tcd_hf.reading.files.SETTLING_NANOSECONDS", -1)
    hashed, hash_it = [], video_reader.hash_file
    monkeypatch.setattr(video_reader, "hash_file", lambda path, *_: hashed.append(path) or hash_it(path))
    read = WindowOCRCaptioner.read
    assert len(read_all(make_reader(), long_clip)) == 5 and len(hashed) == 1

    def read_and_touch(self, video, *args, **options):
        result = read(self, video, *args, **options)
        os.utime(long_clip, ns=(0, long_clip.stat().st_mtime_ns))  # changes nothing but the time of status change
        time.sleep(0.02)
        os.utime(long_clip, ns=(0, long_clip.stat().st_mtime_ns))
        return result

    monkeypatch.setattr(WindowOCRCaptioner, "read", read_and_touch)
    (skipped,) = read_all(make_reader(process_frames=lambda *frames: {}), long_clip)
    assert "changed while it was read" in skipped.cause
