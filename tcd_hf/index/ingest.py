"""Videos into an index: skip what is known, read and encode what is new, and commit every so often."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.progress import VideoProgress
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.schema import row_id
from tcd_hf.index.storage import IndexStorage, sql_list
from tcd_hf.index.writers import OnWait, StoppedWaiting
from tcd_hf.processing.video_files import MAX_PIXELS
from tcd_hf.reading.files import FileStamp, stamps_of
from tcd_hf.reading.hashing import hashed_files
from tcd_hf.reading.left_out import LeftOut
from tcd_hf.reading.own_texts import NO_TEXTS, OwnTexts
from tcd_hf.reading.video_reader import SkippedVideo, VideoFile

__all__ = ["AddReport", "Ingest", "IngestEngine"]

# A commit makes a file and a version, so not after every video. What a kill costs is little: captions are in the cache.
ROWS_PER_COMMIT = 256
SECONDS_PER_COMMIT = 120
PATHS_PER_FILTER = 256


@dataclass
class AddReport:
    """What became of the videos of an `add` or a `refresh`: absolute paths, in the order given.

    Attributes:
        added (`list[str]`): not in the index before.
        unchanged (`list[str]`): in the index with the same content.
        replaced (`list[str]`): in the index with other content, which gave way.
        skipped (`list[SkippedVideo]`): those that cannot be read, and why. Rows of theirs from before stay.
        removed (`list[str]`): no longer asked for (`refresh` only).
        left_out (`list[LeftOut]`): what else is in folders that were given, such as pictures, see [`LeftOut`].
    """

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    skipped: list[SkippedVideo] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


# What files must have in common to have the same rows: hashes of the file and of its texts, `None` for any texts.
Content = tuple[str, str | None]

# What reads and encodes files, at most so many, and gives all that becomes of them to an ingest.
IngestEngine = Callable[["Ingest", Iterable[VideoFile], int], None]


class Ingest:
    """One run of `add`. It holds the writer's lock while it writes, not while it reads, so that others can write
    meanwhile: what they have written of a video by then counts as if it had been there before.

    Killed at any moment, it has lost what was not yet committed, and nothing else: a commit is whole or not at all. All
    rows of a video are in one commit, so that a video is in the index or is not.

    Args:
        storage ([`IndexStorage`]): the index.
        engine (`Callable[[Ingest, Iterable[VideoFile], int], None]`): reads and encodes files, such as a
            [`LocalEngine`]; the number says how many there are at most. It calls [`keep`] with the rows of a video, and
            [`skip`] if there are none.
        on_video (`Callable[[str], None]`, *optional*): called with each path when it is done.
        on_progress (`Callable[[VideoProgress], None]`, *optional*): called after each segment.
        memory_budget (`int`, *optional*, defaults to 4 GiB): bytes of coarse vectors from which on they get an index.
        on_wait (`Callable[[str | None], None]`, *optional*): see `OnWait`.
        stop (`threading.Event`, *optional*): once it is set, files are no longer hashed, nor is the lock waited for.
        holds_lock (`bool`, *optional*, defaults to `False`): whether the caller holds the writer's lock all the while.
        max_pixels (`int`, *optional*, defaults to 2^26): that frames may have which are given in place of files.

    Attributes:
        known (`dict[str, dict]`): `content_hash`, `texts_hash`, `size` and `modified` of the videos of the index, by
            path, as they were in the beginning.
        positions (`dict[str, int]`): where each path stands among those that are asked for.
    """

    def __init__(
        self,
        storage: IndexStorage,
        engine: IngestEngine,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[VideoProgress], None] | None = None,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        on_wait: OnWait | None = None,
        stop: threading.Event | None = None,
        holds_lock: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        self.storage = storage
        self.memory_budget = memory_budget
        self.on_video = on_video or (lambda path: None)
        self.on_progress = on_progress or (lambda progress: None)
        self.report = AddReport()
        self.schema = storage.videos.schema
        self.known: dict[str, dict] = {}
        self.positions: dict[str, int] = {}
        self.statistics = LexicalStatistics()
        self._engine = engine
        self._on_wait, self._holds_lock, self._max_pixels = on_wait, holds_lock, max_pixels
        self._stop = stop or threading.Event()
        self._texts: Mapping[str, OwnTexts] | None = None
        self._given: Mapping[str, Any] = {}
        self._contents: set[Content] = set()
        self._copies: list[VideoFile] = []
        self._restamped: list[VideoFile] = []
        self._pending: list[tuple[str, pa.Table]] = []
        self._version: tuple | None = None  # of the table, when it was looked at last
        self._others_wrote = False
        self._committed, self._rows_since = time.monotonic(), 0

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
        self.positions = {path: position for position, path in enumerate(paths)}
        try:
            self._bring_in(paths)
        except StoppedWaiting:
            self._forget_pending()
        for group in (self.report.added, self.report.unchanged, self.report.replaced):
            group.sort(key=self.positions.__getitem__)
        self.report.skipped.sort(key=lambda video: self.positions[video.path])
        return self.report

    def keep(self, path: str, rows: pa.Table) -> None:
        """Takes all rows of a video; they are committed before long."""
        self._take(path, rows)
        self.commit_if_due()

    def commit_if_due(self) -> None:
        """Commits what was taken once it is much or some of it is old. An engine asks after each segment, too: the next
        video may take hours."""
        is_old = self._rows_since > 0 and time.monotonic() - self._committed > SECONDS_PER_COMMIT
        if is_old or self._rows_since >= ROWS_PER_COMMIT:
            with self._turn():
                self._commit()

    def write_now(self) -> None:
        """Commits the rows that were taken, and what follows from them in its own time."""
        if self._pending:
            with self._turn():
                self._write_pending()

    def recount(self) -> None:
        """Has statistics counted anew, after rows may have been committed or not."""
        self.storage.update_version()
        self.statistics = self.storage.load_statistics()

    def skip(self, video: SkippedVideo) -> None:
        """Takes note of a video that cannot be read."""
        self.report.skipped.append(video)
        self.on_video(video.path)

    def _bring_in(self, paths: list[str]) -> None:
        with self._turn():  # whoever may not write is told so before hours of reading
            self._look()
        stamps = zip(paths, stamps_of(paths), strict=True)
        unsure = [path for path, stamp in stamps if not self._looks_unchanged(path, stamp)]
        try:
            self._engine(self, self._new_contents(unsure), len(unsure))
            without_copy = self._write_copies()
            self._engine(self, iter(without_copy), len(without_copy))
        except BaseException:  # Ctrl-C too: what is finished stays, unless another writes and it is told not to wait
            with suppress(StoppedWaiting), self._turn(lists=True):
                self.recount()  # of a write that was broken off nobody knows whether the table has it
                self._commit()
            raise
        with self._turn(lists=True):
            self._commit()
            self.finish()

    @contextmanager
    def _turn(self, lists: bool = False) -> Iterator[None]:
        """Holds the writer's lock, at the latest version of the table."""
        if self._holds_lock:
            yield
            return
        with self.storage.writing(on_wait=self._on_wait, stop=self._stop, lists=lists):
            if self._version not in (None, self.storage.commit):
                self._others_wrote = True
                self.statistics = self.storage.load_statistics()
            try:
                yield
            finally:
                self._version = self.storage.commit

    def _look(self) -> None:
        """Finds out what the index has."""
        rows = self.storage.read(["path", "content_hash", "texts_hash", "size", "modified"], where="segment = 0")
        self.known = {row.pop("path"): row for row in rows.to_pylist()}
        self.statistics = self.storage.load_statistics()
        for row in self.known.values():
            self._contents.update(_contents(row))

    def _looks_unchanged(self, path: str, stamp: FileStamp | None) -> bool:
        """Whether a file is in the index as it is; what has no stamp is told when it is opened."""
        row = self.known.get(path)
        if row is None or path in self._given or stamp is None:
            return False
        unchanged = (row["size"], row["modified"]) == stamp
        unchanged = unchanged and ((texts := self._texts_of(path)) is None or texts.digest == row["texts_hash"])
        if unchanged:
            self._done(self.report.unchanged, path)
        return unchanged

    def _new_contents(self, paths: list[str]) -> Iterator[VideoFile]:
        """Files to be read: neither unchanged nor of the same content as others."""
        for file in hashed_files(paths, self._look_at, self._stop):
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

    def _look_at(self, path: str, is_over: Callable[[], bool]) -> VideoFile:
        texts, given = self._texts_of(path) or NO_TEXTS, self._given.get(path)
        return VideoFile.of(path, texts=texts, given=given, is_over=is_over, max_pixels=self._max_pixels)

    def _content_of(self, file: VideoFile) -> "Content":
        texts = self._texts_of(file.path)
        return file.content_hash, None if texts is None else texts.digest

    def _texts_of(self, path: str) -> OwnTexts | None:
        """What a video is to have; `None` if that is left as it is."""
        if self._texts is None:
            return None
        return self._texts.get(path, None if path in self.known else NO_TEXTS)

    def _write_copies(self) -> list[VideoFile]:
        """Gives files the rows of another with the same content; returns those for which there is none."""
        without = []
        if not self._copies:
            return without
        with self._turn():
            self._commit()
            for start in range(0, len(self._copies), PATHS_PER_FILTER):
                files = self._copies[start : start + PATHS_PER_FILTER]
                hashes = {file.content_hash for file in files}
                where = f"segment = 0 AND content_hash IN {sql_list(hashes)}"
                rows = self.storage.read(["path", "content_hash", "texts_hash"], where).to_pylist()
                sources = {content: row["path"] for row in reversed(rows) for content in _contents(row)}
                for file in files:
                    source = sources.get(self._content_of(file))
                    if source is None:  # the other could not be read, or gave way
                        without.append(file)
                    else:
                        self._take(file.path, self._copy(source, file))
                        if self._rows_since >= ROWS_PER_COMMIT:
                            self._commit()
        return without

    def _copy(self, source: str, file: VideoFile) -> pa.Table:
        """The rows of a video for another file of the same content."""
        rows = self.storage.read(self.schema.names, f"path IN {sql_list([source])}")
        ids = [row_id(file.path, segment) for segment in rows["segment"].to_pylist()]
        values = {"id": ids, "path": [file.path] * len(ids)}
        values |= {name: [value] * len(ids) for name, value in _stamp_values(file).items()}
        for name, column in values.items():
            number, kind = rows.schema.get_field_index(name), rows.schema.field(name)
            rows = rows.set_column(number, kind, pa.array(column, kind.type))
        return rows

    def _take(self, path: str, rows: pa.Table) -> None:
        self._pending.append((path, rows))
        self._rows_since += len(rows)
        self._done(self.report.replaced if path in self.known else self.report.added, path)

    def _commit(self) -> None:
        """Writes the rows that were taken and what follows from them. The lock is held."""
        self._write_pending()
        if self._rows_since:
            self._save_statistics()
        self.storage.update_errors(
            {video.path: video.cause for video in self.report.skipped},
            resolved=[*self.report.added, *self.report.replaced, *self.report.unchanged],
        )
        self._committed, self._rows_since = time.monotonic(), 0

    def _write_pending(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        # In the order asked for, in which rows are found that match alike.
        pending.sort(key=lambda video: self.positions[video[0]])
        present = self._present([path for path, _ in pending])
        added, replaced = [], {}
        for path, rows in pending:
            row = present.get(path)
            if row is None:
                added.append(rows)
            elif self._others_wrote and self._has_same(path, row, rows):
                self._was_quicker(path)
            else:
                replaced[path] = rows
        if added:
            self._write(self.storage.append, added)
        if replaced:
            former = list(self.storage.read_of(replaced, ["term_text"]))
            self._write(self.storage.upsert, list(replaced.values()))
            for rows in former:
                self.statistics.subtract(rows)

    def _present(self, paths: list[str]) -> dict[str, dict]:
        """What the index has of videos now."""
        if not self._others_wrote:
            return self.known
        tables = self.storage.read_of(paths, ["path", "segment", "content_hash", "texts_hash"])
        return {row.pop("path"): row for rows in tables for row in rows.to_pylist()}

    def _has_same(self, path: str, present: dict, rows: pa.Table) -> bool:
        """Whether another has written what was to be written of a video."""
        any_texts = self._texts is None or path not in self._texts  # a video that is not named keeps what it has
        names = ["content_hash"] if any_texts else ["content_hash", "texts_hash"]
        return all(present[name] == rows[name][0].as_py() for name in names)

    def _was_quicker(self, path: str) -> None:
        """Another has written the same of a video while it was read."""
        (self.report.replaced if path in self.known else self.report.added).remove(path)
        self.report.unchanged.append(path)

    def _forget_pending(self) -> None:
        """Leaves out what cannot be written, as it was told to stop while another wrote."""
        for path, _ in self._pending:
            (self.report.replaced if path in self.known else self.report.added).remove(path)
        self._pending = []

    def _write(self, write: Callable[[pa.Table], None], tables: list[pa.Table]) -> None:
        rows = pa.concat_tables(tables)
        write(rows)
        self.statistics.add(rows)
        self.statistics.version += 1

    def finish(self) -> None:
        """Brings stamps, full-text index and statistics in step with the rows that were committed."""
        restamped = {file.path: file for file in self._restamped}
        for rows in self.storage.read_of(restamped, ["id", "path", "content_hash"]):
            values = [
                {"id": row["id"], **_stamp_values(restamped[row["path"]])}
                for row in rows.to_pylist()
                if row["content_hash"] == restamped[row["path"]].content_hash
            ]
            if values:
                self.storage.update(pa.Table.from_pylist(values))
                self.statistics.version += 1
        self.storage.maintain(self.memory_budget)  # even if nothing was new: an earlier run may have been killed here
        self._save_statistics()

    def _save_statistics(self) -> None:
        if not self.storage.has_statistics():
            self.statistics = self.storage.save_statistics(self.statistics)

    def _done(self, group: list[str], path: str) -> None:
        group.append(path)
        self.on_video(path)


def _contents(row: dict) -> tuple["Content", "Content"]:
    """The content of a video of the index, with its texts and whatever these are."""
    return (row["content_hash"], row["texts_hash"]), (row["content_hash"], None)


def _stamp_values(file: VideoFile) -> dict[str, int]:
    return {"size": file.size, "modified": file.modified}
