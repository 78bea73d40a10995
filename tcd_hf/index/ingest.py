"""Videos into an index: skip what is known, read and encode what is new, and commit every so often."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from tcd_hf.index.features import compute_features
from tcd_hf.index.progress import VideoProgress
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.schema import NonFiniteFeaturesError, row_id, rows_from
from tcd_hf.index.storage import IndexStorage, sql_list
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.reading.files import file_stamp
from tcd_hf.reading.own_texts import NO_TEXTS, OwnTexts
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, VideoFile, VideoReader, describe_error
from tcd_hf.reading.worker_pool import choose_num_workers, read_videos
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

__all__ = ["AddReport", "Ingest", "IngestEngine", "LocalEngine"]

# A commit makes a file and a version, so not after every video. What a kill costs is little: captions are in the cache.
ROWS_PER_COMMIT = 256
SECONDS_PER_COMMIT = 120
PATHS_PER_FILTER = 256
SEGMENTS_PER_BATCH = 8  # that an accelerator encodes at once
HASH_THREADS = 4


@dataclass
class AddReport:
    """What became of the videos of an `add` or a `refresh`: absolute paths, in the order given.

    Attributes:
        added (`list[str]`): not in the index before.
        unchanged (`list[str]`): in the index with the same content.
        replaced (`list[str]`): in the index with other content, which gave way.
        skipped (`list[SkippedVideo]`): those that cannot be read, and why. Rows of theirs from before stay.
        removed (`list[str]`): no longer asked for (`refresh` only).
    """

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[SkippedVideo] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


# What files must have in common to have the same rows: hashes of the file and of its texts, `None` for any texts.
Content = tuple[str, str | None]

# What reads and encodes files, at most so many, and gives all that becomes of them to an ingest.
IngestEngine = Callable[["Ingest", Iterable[VideoFile], int], None]


class Ingest:
    """One run of `add`. The caller holds the writer's lock.

    Killed at any moment, it has lost what was not yet committed, and nothing else: a commit is whole or not at all. All
    rows of a video are in one commit, so that a video is in the index or is not.

    Args:
        storage ([`IndexStorage`]): the index.
        engine (`Callable[[Ingest, Iterable[VideoFile], int], None]`): reads and encodes files, such as a
            [`LocalEngine`]; the number says how many there are at most. It calls [`keep`] with the rows of a video, or
            [`wrote`] if it has written them itself, and [`skip`] if there are none.
        on_video (`Callable[[str], None]`, *optional*): called with each path when it is done.
        on_progress (`Callable[[VideoProgress], None]`, *optional*): called after each segment.
        memory_budget (`int`, *optional*, defaults to 4 GiB): bytes of coarse vectors from which on they get an index.

    Attributes:
        known (`dict[str, dict]`): `content_hash`, `texts_hash`, `size` and `modified` of the videos of the index, by
            path.
        positions (`dict[str, int]`): where each path stands among those that are asked for.
    """

    def __init__(
        self,
        storage: IndexStorage,
        engine: IngestEngine,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[VideoProgress], None] | None = None,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
    ):
        self.storage = storage
        self.memory_budget = memory_budget
        self.on_video = on_video or (lambda path: None)
        self.on_progress = on_progress or (lambda progress: None)
        self.report = AddReport()
        self.schema = storage.videos.schema
        columns = ["path", "content_hash", "texts_hash", "size", "modified"]
        rows = storage.read(columns, where="segment = 0").to_pylist()
        self.known = {row.pop("path"): row for row in rows}
        self.positions: dict[str, int] = {}
        self.statistics = storage.load_statistics()
        self._engine = engine
        self._texts: Mapping[str, OwnTexts] | None = None
        self._given: Mapping[str, Any] = {}
        self._contents: set[Content] = set()
        self._copies: list[VideoFile] = []
        self._restamped: list[VideoFile] = []
        self._pending: list[tuple[str, pa.Table]] = []
        self._committed = time.monotonic()

    def run(
        self,
        paths: Iterable[str],
        texts: Mapping[str, OwnTexts] | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> AddReport:
        """Brings videos into the index.

        Args:
            paths (`Iterable[str]`): absolute.
            texts (`Mapping[str, OwnTexts]`, *optional*): what they come with, by path. A video of the index that is not
                named keeps what it has, as long as its content is the same. If not given, a copy has what the other
                has.
            given (`Mapping`, *optional*): what is read in place of files, see `open_video`, by path.
        """
        paths = list(dict.fromkeys(paths))
        self._texts = texts
        self._given = given or {}
        for row in self.known.values():
            self._contents.update(_contents(row))
        self.positions = {path: position for position, path in enumerate(paths)}
        unsure = [path for path in paths if not self._looks_unchanged(path)]
        try:
            self._engine(self, self._new_contents(unsure), len(unsure))
            self._commit()
            self._engine(self, self._copy_rows(), len(self._copies))
        finally:  # an error or Ctrl-C: what is finished stays
            self._commit()
        self.finish()
        for group in (self.report.added, self.report.unchanged, self.report.replaced):
            group.sort(key=self.positions.__getitem__)
        self.report.skipped.sort(key=lambda video: self.positions[video.path])
        return self.report

    def keep(self, path: str, rows: pa.Table) -> None:
        """Takes all rows of a video; they are committed before long."""
        self._pending.append((path, rows))
        self._done(self.report.replaced if path in self.known else self.report.added, path)
        due = time.monotonic() - self._committed > SECONDS_PER_COMMIT
        if due or sum(len(rows) for _, rows in self._pending) >= ROWS_PER_COMMIT:
            self._commit()

    def wrote(self, path: str) -> None:
        """Takes note of a video whose rows are written elsewhere, and committed by whoever does that."""
        self._done(self.report.replaced if path in self.known else self.report.added, path)

    def recount(self) -> None:
        """Has statistics counted anew, after rows were committed that did not go through [`keep`]."""
        self.storage.update_version()
        self.statistics = self.storage.load_statistics()

    def skip(self, video: SkippedVideo) -> None:
        """Takes note of a video that cannot be read."""
        self.report.skipped.append(video)
        self.on_video(video.path)

    def _looks_unchanged(self, path: str) -> bool:
        row = self.known.get(path)
        if row is None or path in self._given:
            return False
        try:
            unchanged = (row["size"], row["modified"]) == file_stamp(path)
            unchanged = unchanged and ((texts := self._texts_of(path)) is None or texts.digest == row["texts_hash"])
        except (OSError, ValueError):  # told when it is opened
            return False
        if unchanged:
            self._done(self.report.unchanged, path)
        return unchanged

    def _new_contents(self, paths: list[str]) -> Iterator[VideoFile]:
        """Files to be read: neither unchanged nor of the same content as others."""
        for file in _in_threads(self._look_at, paths):
            if isinstance(file, SkippedVideo):
                self.skip(file)
                continue
            row, content = self.known.get(file.path), self._content_of(file)
            if row is not None and content in _contents(row):
                if row["modified"] != file.modified:
                    self._restamped.append(file)
                self._done(self.report.unchanged, file.path)
            elif content in self._contents:
                self._copies.append(file)
            else:
                self._contents.add(content)
                yield file

    def _look_at(self, path: str) -> VideoFile | SkippedVideo:
        try:
            path.encode()  # a file name may be any bytes, a column of names is text
            return VideoFile.of(path, texts=self._texts_of(path) or NO_TEXTS, given=self._given.get(path))
        except (OSError, ValueError) as error:
            return SkippedVideo(path, describe_error(path, error))

    def _content_of(self, file: VideoFile) -> "Content":
        texts = self._texts_of(file.path)
        return file.content_hash, None if texts is None else texts.digest

    def _texts_of(self, path: str) -> OwnTexts | None:
        """What a video is to have; `None` if that is left as it is."""
        if self._texts is None:
            return None
        return self._texts.get(path, None if path in self.known else NO_TEXTS)

    def _copy_rows(self) -> Iterator[VideoFile]:
        """Gives files the rows of another with the same content; yields those for which there is none."""
        for start in range(0, len(self._copies), PATHS_PER_FILTER):
            files = self._copies[start : start + PATHS_PER_FILTER]
            hashes = {file.content_hash for file in files}
            where = f"segment = 0 AND content_hash IN {sql_list(hashes)}"
            rows = self.storage.read(["path", "content_hash", "texts_hash"], where).to_pylist()
            sources = {content: row["path"] for row in reversed(rows) for content in _contents(row)}
            for file in files:
                source = sources.get(self._content_of(file))
                if source is None:  # the other could not be read, or gave way
                    yield file
                    continue
                rows = self.storage.read(self.schema.names, f"path IN {sql_list([source])}")
                ids = [row_id(file.path, segment) for segment in rows["segment"].to_pylist()]
                values = {"id": ids, "path": [file.path] * len(ids)}
                values |= {name: [value] * len(ids) for name, value in _stamp_values(file).items()}
                for name, column in values.items():
                    number, kind = rows.schema.get_field_index(name), rows.schema.field(name)
                    rows = rows.set_column(number, kind, pa.array(column, kind.type))
                self.keep(file.path, rows)

    def _commit(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            # In the order asked for, in which rows are found that match alike.
            pending.sort(key=lambda video: self.positions[video[0]])
            added = [rows for path, rows in pending if path not in self.known]
            replaced = {path: rows for path, rows in pending if path in self.known}
            if added:
                self._write(self.storage.append, added)
            if replaced:
                for former in self.storage.read_of(replaced, ["term_text"]):
                    self.statistics.subtract(former)
                self._write(self.storage.upsert, list(replaced.values()))
            self._save_statistics()
        self.storage.update_errors(
            {video.path: video.cause for video in self.report.skipped},
            resolved=[*self.report.added, *self.report.replaced, *self.report.unchanged],
        )
        self._committed = time.monotonic()

    def _write(self, write: Callable[[pa.Table], None], tables: list[pa.Table]) -> None:
        rows = pa.concat_tables(tables)
        write(rows)
        self.statistics.add(rows)

    def finish(self) -> None:
        """Brings stamps, full-text index and statistics in step with the rows that were committed."""
        stamps = {file.path: _stamp_values(file) for file in self._restamped}
        for rows in self.storage.read_of(stamps, ["id", "path"]):
            values = [{"id": row["id"], **stamps[row["path"]]} for row in rows.to_pylist()]
            self.storage.update(pa.Table.from_pylist(values))
        self.storage.maintain(self.memory_budget)  # even if nothing was new: an earlier run may have been killed here
        self._save_statistics()

    def _save_statistics(self) -> None:
        if not self.storage.has_statistics():
            # They were added up. Of other writers' rows, which there may be on an object store, they know nothing.
            self.storage.save_statistics(None if self.storage.folder is None else self.statistics)

    def _done(self, group: list[str], path: str) -> None:
        group.append(path)
        self.on_video(path)


class LocalEngine:
    """The engine `"local"`: processes of this machine read segments, and this one encodes them.

    Args:
        model (`TCDModel`): computes features.
        reader ([`VideoReader`]): reads files, and makes the model's inputs.
        padding_side (`"right"` or `"left"`): of the tokenizer.
        num_workers (`int`, *optional*): processes that read; 0 reads in this one. By default chosen by the number of
            files, and none where there can be no other process.
        batch_size (`int`, *optional*): segments to encode at once. By default, on a CPU the frames of one are enough.
        stall_seconds (`float`, *optional*, defaults to 120), stop (`threading.Event`, *optional*): see `read_videos`.
    """

    def __init__(
        self,
        model: TCDModel,
        reader: VideoReader,
        padding_side: str,
        num_workers: int | None = None,
        batch_size: int | None = None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        stop: threading.Event | None = None,
    ):
        self.model, self.reader, self.padding_side = model, reader, padding_side
        self.num_workers = num_workers
        self.stall_seconds, self.stop = stall_seconds, stop
        self.batch_size = batch_size or (1 if model.device.type == "cpu" else SEGMENTS_PER_BATCH)

    def __call__(self, ingest: Ingest, files: Iterable[VideoFile], num_files: int) -> None:
        num_workers = choose_num_workers(num_files) if self.num_workers is None else self.num_workers
        videos = _BegunVideos(ingest)
        batch: list[ReadSegment] = []
        may_read_here = self.num_workers is None
        for read in read_videos(self.reader, files, num_workers, self.stall_seconds, self.stop, may_read_here):
            if isinstance(read, SkippedVideo):
                videos.skip(read)
                continue
            batch.append(read)
            if len(batch) == self.batch_size:
                self._encode(videos, batch)
                batch = []
        if batch:
            self._encode(videos, batch)

    def _encode(self, videos: "_BegunVideos", batch: list[ReadSegment]) -> None:
        features = compute_features(self.model, [read.inputs for read in batch], self.padding_side)
        for number, read in enumerate(batch):
            own = features.map_videos(lambda rows, number=number: rows[number : number + 1])
            try:
                videos.add(read, rows_from([read.record], own, videos.ingest.schema))
            except NonFiniteFeaturesError as error:
                videos.skip(SkippedVideo(read.record.path, describe_error(read.record.path, error)))


class _BegunVideos:
    """Rows of videos of which more are to come."""

    def __init__(self, ingest: Ingest):
        self.ingest = ingest
        self._rows: dict[str, dict[int, pa.Table]] = {}
        self._seconds: dict[str, float] = {}
        self._skipped: set[str] = set()

    def add(self, read: ReadSegment, row: pa.Table) -> None:
        record = read.record
        if record.path in self._skipped:
            return
        rows = self._rows.setdefault(record.path, {})
        rows[record.segment] = row
        seconds = self._seconds.get(record.path, 0.0) + record.end - record.start
        self._seconds[record.path] = seconds
        self.ingest.on_progress(VideoProgress(record.path, seconds, record.duration, record.size))
        if len(rows) == read.num_segments:
            del self._rows[record.path], self._seconds[record.path]
            self.ingest.keep(record.path, pa.concat_tables(rows[number] for number in sorted(rows)))

    def skip(self, video: SkippedVideo) -> None:
        self._rows.pop(video.path, None)
        if video.path not in self._skipped:
            self._skipped.add(video.path)
            self.ingest.skip(video)


def _contents(row: dict) -> tuple["Content", "Content"]:
    """The content of a video of the index, with its texts and whatever these are."""
    return (row["content_hash"], row["texts_hash"]), (row["content_hash"], None)


def _in_threads(
    look_at: Callable[[str], VideoFile | SkippedVideo], paths: list[str]
) -> Iterator[VideoFile | SkippedVideo]:
    """Files with their content hashes, in order, a few ahead of need."""
    paths_left = iter(paths)
    threads = ThreadPoolExecutor(HASH_THREADS)
    try:
        ahead = deque(threads.submit(look_at, path) for path in islice(paths_left, 2 * HASH_THREADS))
        while ahead:
            file = ahead.popleft().result()
            ahead.extend(threads.submit(look_at, path) for path in islice(paths_left, 1))
            yield file
    finally:
        threads.shutdown(cancel_futures=True)  # at a stop or Ctrl-C, those that are not begun


def _stamp_values(file: VideoFile) -> dict[str, int]:
    return {"size": file.stamp.size, "modified": file.modified}
