"""Videos into an index: skip what is known, read and encode what is new, and commit every so often."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from tcd_hf.index.features import compute_features
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.schema import NonFiniteFeaturesError, rows_from, video_id
from tcd_hf.index.storage import IndexStorage, sql_list
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.reading.files import file_stamp, hash_file
from tcd_hf.reading.video_reader import ReadVideo, SkippedVideo, VideoFile, VideoReader, describe_error
from tcd_hf.reading.worker_pool import choose_num_workers, read_videos

__all__ = ["AddReport", "Ingest"]

# A commit makes a file and a version, so not after every video. What a kill costs is little: captions are in the cache.
VIDEOS_PER_COMMIT = 256
SECONDS_PER_COMMIT = 120
VIDEOS_PER_COPY = 256
VIDEOS_PER_BATCH = 8  # that an accelerator encodes at once
HASH_THREADS = 4


@dataclass
class AddReport:
    """What became of the videos of an `add` or a `refresh`: absolute paths, in the order given.

    Attributes:
        added (`list[str]`): not in the index before.
        unchanged (`list[str]`): in the index with the same content.
        replaced (`list[str]`): in the index with other content, which gave way.
        skipped (`list[SkippedVideo]`): those that cannot be read, and why. A row of theirs from before stays.
        removed (`list[str]`): no longer asked for (`refresh` only).
    """

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[SkippedVideo] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


class Ingest:
    """One run of `add`. The caller holds the writer's lock.

    Killed at any moment, it has lost what was not yet committed, and nothing else: a commit is whole or not at all, and
    a path has one row, whatever the number of runs.

    Args:
        storage ([`IndexStorage`]): the index.
        model (`TCDModel`): computes features.
        reader ([`VideoReader`]): reads files.
        on_video (`Callable[[str], None]`, *optional*): called with each path when it is done; by default a progress
            bar goes on, if there is a terminal.
        memory_budget (`int`, *optional*, defaults to 4 GiB): bytes of coarse vectors from which on they get an index.
    """

    def __init__(
        self,
        storage: IndexStorage,
        model: TCDModel,
        reader: VideoReader,
        on_video: Callable[[str], None] | None = None,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
    ):
        self.storage, self.model, self.reader = storage, model, reader
        self.memory_budget = memory_budget
        self.on_video = on_video
        self.report = AddReport()
        self.schema = storage.videos.schema
        rows = storage.read(["path", "content_hash", "size", "modified"]).to_pylist()
        self.known = {row.pop("path"): row for row in rows}
        self.contents = {row["content_hash"] for row in rows}
        self.statistics = storage.load_statistics()
        self._rank: dict[str, int] = {}
        self._copies: list[VideoFile] = []
        self._restamped: list[VideoFile] = []
        self._pending: list[tuple[str, pa.Table]] = []
        self._committed = time.monotonic()

    def run(self, paths: Iterable[str], num_workers: int | None = None) -> AddReport:
        """Brings absolute paths into the index.

        Args:
            paths (`Iterable[str]`): video files.
            num_workers (`int`, *optional*): processes that read; 0 reads in this one. By default chosen by the number
                of files to read.
        """
        from tqdm.auto import tqdm

        paths = list(dict.fromkeys(paths))
        with tqdm(
            total=len(paths), desc="Indexing", unit="files", disable=None if self.on_video is None else True
        ) as bar:
            self.on_video = self.on_video or (lambda path: bar.update())
            return self._run(paths, num_workers)

    def _run(self, paths: list[str], num_workers: int | None) -> AddReport:
        self._rank = {path: rank for rank, path in enumerate(paths)}
        unsure = [path for path in paths if not self._looks_unchanged(path)]
        if num_workers is None:
            num_workers = choose_num_workers(len(unsure))
        try:
            self._read(self._new_contents(unsure), num_workers)
            self._commit()
            self._read(self._copy_rows(), num_workers)
        finally:  # an error or Ctrl-C: what is finished stays
            self._commit()
        self._finish()
        for group in (self.report.added, self.report.unchanged, self.report.replaced):
            group.sort(key=self._rank.__getitem__)
        self.report.skipped.sort(key=lambda video: self._rank[video.path])
        return self.report

    def _looks_unchanged(self, path: str) -> bool:
        row = self.known.get(path)
        try:
            unchanged = row is not None and (row["size"], row["modified"]) == file_stamp(path)
        except (OSError, ValueError):  # told when it is opened
            return False
        if unchanged:
            self._done(self.report.unchanged, path)
        return unchanged

    def _new_contents(self, paths: list[str]) -> Iterator[VideoFile]:
        """Files to be read: neither unchanged nor of the same content as others."""
        for file in _hashed(paths):
            if isinstance(file, SkippedVideo):
                self._skip(file)
                continue
            row = self.known.get(file.path)
            if row is not None and row["content_hash"] == file.content_hash:
                if row["modified"] != file.modified:
                    self._restamped.append(file)
                self._done(self.report.unchanged, file.path)
            elif file.content_hash in self.contents:
                self._copies.append(file)
            else:
                self.contents.add(file.content_hash)
                yield file

    def _read(self, files: Iterable[VideoFile], num_workers: int) -> None:
        batch: list[ReadVideo] = []
        for video in read_videos(self.reader, files, num_workers):
            if isinstance(video, SkippedVideo):
                self._skip(video)
                continue
            batch.append(video)
            if len(batch) == batch_size(self.model):
                self._encode(batch)
                batch = []
        if batch:
            self._encode(batch)

    def _encode(self, batch: list[ReadVideo]) -> None:
        padding_side = self.reader.processor.tokenizer.padding_side
        features = compute_features(self.model, [video.inputs for video in batch], padding_side)
        for place, video in enumerate(batch):
            own = features.map_videos(lambda rows, place=place: rows[place : place + 1])
            try:
                self._add(rows_from([video.record], own, self.schema))
            except NonFiniteFeaturesError as error:
                self._skip(SkippedVideo(video.record.path, describe_error(video.record.path, error)))

    def _copy_rows(self) -> Iterator[VideoFile]:
        """Gives files the row of another with the same content; yields those for which there is none."""
        for start in range(0, len(self._copies), VIDEOS_PER_COPY):
            files = self._copies[start : start + VIDEOS_PER_COPY]
            hashes = {file.content_hash for file in files}
            rows = self.storage.read(self.schema.names, where=f"content_hash IN {sql_list(hashes)}")
            places = {content_hash: place for place, content_hash in enumerate(rows["content_hash"].to_pylist())}
            for file in files:
                if file.content_hash not in places:  # the other could not be read, or gave way
                    yield file
                    continue
                row = rows.slice(places[file.content_hash], 1)
                values = {"id": video_id(file.path), "path": file.path, **_stamp_values(file)}
                for name, value in values.items():
                    place = row.schema.get_field_index(name)
                    row = row.set_column(place, row.schema.field(name), pa.array([value], row.schema.field(name).type))
                self._add(row)

    def _add(self, row: pa.Table) -> None:
        path = row["path"][0].as_py()
        self._pending.append((path, row))
        self._done(self.report.replaced if path in self.known else self.report.added, path)
        due = time.monotonic() - self._committed > SECONDS_PER_COMMIT
        if due or len(self._pending) >= VIDEOS_PER_COMMIT:
            self._commit()

    def _commit(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            pending.sort(key=lambda row: self._rank[row[0]])  # rows that match alike are found in the order asked for
            for write, is_known in ((self.storage.append, False), (self.storage.upsert, True)):
                if group := [row for path, row in pending if (path in self.known) == is_known]:
                    rows = pa.concat_tables(group)
                    write(rows)
                    self.statistics.add(rows)
            self._save_statistics()
        self.storage.update_errors(
            {video.path: video.cause for video in self.report.skipped},
            fine=[*self.report.added, *self.report.replaced, *self.report.unchanged],
        )
        self._committed = time.monotonic()

    def _finish(self) -> None:
        for start in range(0, len(self._restamped), VIDEOS_PER_COPY):
            files = self._restamped[start : start + VIDEOS_PER_COPY]
            values = [{"id": video_id(file.path), **_stamp_values(file)} for file in files]
            self.storage.update(pa.Table.from_pylist(values))
        self.storage.maintain(self.memory_budget)  # even if nothing was new: an earlier run may have been killed here
        self._save_statistics()

    def _save_statistics(self) -> None:
        if not self.storage.has_statistics():
            # They were added up. What replaced rows had shown must be taken out of them; and of other writers' rows,
            # which there may be on an object store, they know nothing.
            recount = self.report.replaced or self.storage.folder is None
            self.storage.save_statistics(None if recount else self.statistics)

    def _skip(self, video: SkippedVideo) -> None:
        self.report.skipped.append(video)
        self.on_video(video.path)

    def _done(self, group: list[str], path: str) -> None:
        group.append(path)
        self.on_video(path)


def batch_size(model: TCDModel) -> int:
    """Videos to encode at once: on a CPU the frames of one are batch enough."""
    return 1 if model.device.type == "cpu" else VIDEOS_PER_BATCH


def _hashed(paths: list[str]) -> Iterator[VideoFile | SkippedVideo]:
    """Files with their content hashes, in order, a few ahead of need."""
    paths_left = iter(paths)
    with ThreadPoolExecutor(HASH_THREADS) as threads:
        ahead = deque(threads.submit(_hash, path) for path in islice(paths_left, 2 * HASH_THREADS))
        while ahead:
            file = ahead.popleft().result()
            ahead.extend(threads.submit(_hash, path) for path in islice(paths_left, 1))
            yield file


def _hash(path: str) -> VideoFile | SkippedVideo:
    try:
        path.encode()  # a file name may be any bytes, a column of names is text
        stamp = file_stamp(path)
        settled = stamp.settled
        return VideoFile(path, hash_file(path), stamp, settled)
    except (OSError, ValueError) as error:
        return SkippedVideo(path, describe_error(path, error))


def _stamp_values(file: VideoFile) -> dict[str, int]:
    return {"size": file.stamp.size, "modified": file.modified}
