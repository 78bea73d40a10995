"""Where an index lies: LanceDB tables in a folder, with one writer at a time, or in an object store."""

import contextlib
import hashlib
import logging
import shutil
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcd_hf.index.background import index_in_background
from tcd_hf.index.conflicts import write_again
from tcd_hf.index.contents import (
    CONTENTS_FILE,
    ERRORS_FILE,
    Contents,
    change_errors,
    read_errors,
    read_stored_errors,
    write_errors,
)
from tcd_hf.index.damage import explained, in_our_words, may_be_damage, reporting
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.row_indices import (
    LARGE_TABLE,
    TEXT_COLUMN,
    bytes_in_memory,
    create_coarse_index,
    create_text_index,
    is_searchable,
)
from tcd_hf.index.schema import COARSE_COLUMN, METADATA_KEY
from tcd_hf.index.tables import FIRST_SEGMENTS, VIDEOS, IndexTables, sql_list, sql_string
from tcd_hf.index.writers import OnWait, one_at_a_time
from tcd_hf.reading.object_stores import check_store, is_address

__all__ = ["FIRST_SEGMENTS", "STATISTICS", "VIDEOS", "IndexStorage", "sql_list", "sql_string"]

logger = logging.getLogger(__name__)

STATISTICS = "lexical_statistics"
VERSION_KEY, CHECKSUM_KEY = b"videos_version", b"checksum"
MAX_FRAGMENTS = 100  # fragments from which on they are merged: that writes all rows anew, hence not after every add
# Share of the rows that a search may look through one by one, before the index is made anew: that reads all rows.
UNINDEXED_TEXTS = 0.01
UNINDEXED_VECTORS = 0.1
INDICES = {TEXT_COLUMN: create_text_index, COARSE_COLUMN: create_coarse_index}
MIN_INDEXED_VECTORS = 1000  # fewer cannot be put in clusters, and need not be
UNFINISHED = ("*.lance/*/.tmp*", "*.lance/*/*#*", ".*.part")  # files while LanceDB writes them, and while we do
ROWS_PER_BATCH = 8192


class IndexStorage(IndexTables):
    """An index where it lies: its tables, the locks of those who write to them, what is made from the rows, and the
    lists beside them. Arguments and attributes are those of [`IndexTables`]."""

    @contextlib.contextmanager
    def writing(
        self,
        new: bool = False,
        on_wait: OnWait | None = None,
        stop: threading.Event | None = None,
        lists: bool = True,
    ) -> Iterator[None]:
        """Holds the one writer's lock of a local index; a second writer waits for its turn. It ends with the process
        that holds it.

        On an object store there is no lock: of two that commit at once the second does it once more, see
        [`write_again`].

        Args:
            new (`bool`, *optional*, defaults to `False`): make the folder, for an index that is not there yet.
            on_wait, stop: see [`one_at_a_time`].
            lists (`bool`, *optional*, defaults to `True`): tell what is written in `videos.jsonl` too, which takes the
                longer the larger the index is.

        Raises:
            IndexMismatchError: the folder is gone.
            PermissionError: it may not be written.
            StoppedWaiting: it was told to stop.
        """
        if self.folder is None:
            if self.videos is not None:
                self.update_version()
                with reporting(self, "table of videos"):
                    self.set_key()
            yield
            return
        if new:
            self._make_folder(self.folder)
        else:
            self._check_there()
        with self._turn("writer", on_wait, stop):
            if self.videos is not None:
                self.update_version()
            try:
                yield
            finally:
                if lists:
                    with contextlib.suppress(Exception):  # a courtesy to those who will repair it
                        self.save_contents()

    @contextlib.contextmanager
    def adding(self, on_wait: OnWait | None = None, stop: threading.Event | None = None) -> Iterator[None]:
        """Holds the lock of those who add videos to a local index, one run at a time: others write meanwhile. Arguments
        and errors are those of [`~IndexStorage.writing`], which comes second where both are held."""
        self._check_there()
        with self._turn("adder", on_wait, stop):
            yield

    @contextlib.contextmanager
    def indexing(self, on_wait: OnWait | None = None, stop: threading.Event | None = None) -> Iterator[None]:
        """Holds the lock of those who make indices of a large local index beside others. Arguments and errors are those
        of [`~IndexStorage.writing`], which comes second where both are held."""
        self._check_there()
        with self._turn("indexer", on_wait, stop):
            yield

    @contextlib.contextmanager
    def _turn(self, role: str, on_wait: OnWait | None, stop: threading.Event | None) -> Iterator[None]:
        """Holds a lock of a local index; on an object store there is none."""
        with contextlib.ExitStack() as turn:
            if self.folder is not None:
                with reporting(self, "lock"):
                    turn.enter_context(one_at_a_time(self.folder, self.uri, role, on_wait, stop))
            yield

    def save_contents(self) -> None:
        """Tells once more, in `videos.jsonl`, what the index is made of, see [`Contents`]. The caller holds the lock.

        It says for which version of the table that is, so that what did not change is not read again.
        """
        if self.folder is None or self.videos is None or not self.exists():
            return
        metadata = (self.videos.schema.metadata or {})[METADATA_KEY].decode()
        self.update_version()
        if Contents.read(self.folder).version != self.videos.version:
            rows = self.read(["path", "texts_hash"], FIRST_SEGMENTS).to_pylist()
            videos = {row["path"]: bool(row["texts_hash"]) for row in rows}
            Contents(metadata, videos, self.videos.version).write(self.folder)

    @in_our_words("rows")
    def maintain(self, memory_budget: int) -> None:
        """Brings the indices up to date after rows were written, and merges small fragments when there are many. Those
        of a large table are made by another process, see [`index_in_background`]: rows that they lack are found
        without them, which takes longer.

        Args:
            memory_budget (`int`): bytes of coarse vectors from which on they get an index.
        """
        is_damaged = not is_searchable(self.videos)
        if is_damaged:
            self.tell(f"The full-text index of {self.uri} is damaged; it is made anew.")
        if self.videos.stats()["fragment_stats"]["num_fragments"] > MAX_FRAGMENTS:
            self.committed(self.videos.optimize)
        due = list(dict.fromkeys([TEXT_COLUMN] * is_damaged + self._due_indices(memory_budget)))
        # Not on a store, where nothing says that another is at it.
        if due and self.folder is not None and self.videos.count_rows() >= LARGE_TABLE:
            index_in_background(self, due)
        else:
            self._make_indices(due)

    @in_our_words("rows")
    def make_due_indices(self, memory_budget: int) -> None:
        """Makes the indices that [`~IndexStorage.maintain`] would, of a large table, too. The caller holds the locks of
        an indexer and of a writer."""
        self.update_version()
        self._make_indices(self._due_indices(memory_budget))

    @in_our_words("rows")
    def index_beside_others(self, column: str) -> None:
        """Makes the index of a column while others read and write, and has the statistics hold for the version that it
        makes. The lock of a writer is held for a moment at the end."""
        self._make_indices([column])
        version = self.videos.version
        with self.writing():
            stored = self._statistics_of(self.videos, version - 1)
            if self.videos.version == version and stored is not None:
                self.save_statistics(stored)

    def _make_indices(self, columns: Iterable[str]) -> None:
        for column in columns:
            self.committed(partial(INDICES[column], self.videos))

    def _due_indices(self, memory_budget: int) -> list[str]:
        """Columns whose index lacks so many rows that it is to be made anew."""
        num_rows = self.videos.count_rows()
        is_large = num_rows >= LARGE_TABLE or bytes_in_memory(num_rows, self.metadata.dim) > memory_budget
        due = [TEXT_COLUMN] if self._unindexed_share(TEXT_COLUMN) > UNINDEXED_TEXTS else []
        if is_large and num_rows >= MIN_INDEXED_VECTORS and self._unindexed_share(COARSE_COLUMN) > UNINDEXED_VECTORS:
            due.append(COARSE_COLUMN)
        return due

    @in_our_words("rows")
    def compact(self) -> None:
        """Merges fragments, and frees what belongs to no present row. The caller holds the locks of an indexer, whose
        unfinished files would go, too, and of a writer."""
        for table in [self.videos, *([self.open_table(STATISTICS)] if self._has_table(STATISTICS) else [])]:
            if self.folder is None:  # others may be writing or reading: what is younger than a week stays
                write_again(table.optimize, table.checkout_latest)
                continue
            with warnings.catch_warnings():  # that readers of older versions fail: ours look for the latest one
                warnings.simplefilter("ignore", UserWarning)
                table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        if self.folder is not None:  # files that a killed process was writing; nobody else writes now
            for file in [path for pattern in UNFINISHED for path in self.folder.glob(pattern)]:
                file.unlink(missing_ok=True)

    def load_statistics(self, videos: Any = None) -> LexicalStatistics:
        """How many rows show each term: as stored, if that was for this version of the table, else counted.

        Args:
            videos (`lancedb.table.Table`, *optional*): another handle of the table, perhaps at another version.
        """
        videos = self.videos if videos is None else videos
        return self._statistics_of(videos) or self._count_terms(videos)

    def has_statistics(self) -> bool:
        """Whether the stored statistics are those of this version of the table."""
        return self._statistics_of(self.videos) is not None

    def statistics_are_damaged(self) -> bool:
        """Whether statistics are stored for this version of the table that its rows do not have."""
        try:
            stored = self._read_statistics(self.videos.version)
        except Exception as error:
            if not may_be_damage(error):
                raise
            return True
        if stored is None:
            return False
        counted = self._count_terms(self.videos)
        return stored.to_table() != counted.to_table() or stored.num_rows != counted.num_rows

    @in_our_words("statistics")
    def save_statistics(self, statistics: LexicalStatistics | None = None) -> LexicalStatistics:
        """Stores statistics for the present version of the videos, and gives them.

        Args:
            statistics ([`LexicalStatistics`], *optional*): what was added up by the one who wrote. They are counted
                anew if they are not given, or do not tell of all commits: on an object store another may have written,
                too. In a folder only the one who holds its lock changes rows.
        """
        self._check_there()
        if statistics is None or (self.folder is None and statistics.version != self.version):
            statistics = self._count_terms(self.videos)
        statistics.version = self.version
        table = statistics.to_table()
        version = str(self.videos.version).encode()
        metadata = {**table.schema.metadata, VERSION_KEY: version, CHECKSUM_KEY: _digest(table, version)}
        table = table.replace_schema_metadata(metadata)
        try:
            write_again(lambda: self._replace_statistics(table), lambda: None)
        except (OSError, RuntimeError, ValueError):
            if self.folder is None or not self._has_table(STATISTICS):
                raise
            shutil.rmtree(self.folder / f"{STATISTICS}.lance")  # damaged: it cannot even be overwritten
            self._replace_statistics(table)
        return statistics

    def _replace_statistics(self, table: pa.Table) -> None:
        mode = "overwrite" if self._has_table(STATISTICS) else "create"
        self._connect().create_table(STATISTICS, table, mode=mode)

    def bytes_on_disk(self) -> int | None:
        """Size of all files; `None` on an object store."""
        if self.folder is None:
            return None
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def foreign_files(self) -> list[str]:
        """Names in the folder that are not of an index, hidden ones aside; its own, if it is a file."""
        if self.folder is None or not self.folder.exists():
            return []
        if not self.folder.is_dir():
            return [self.folder.name]
        own = {ERRORS_FILE, CONTENTS_FILE, f"{VIDEOS}.lance", f"{STATISTICS}.lance"}
        names = (file.name for file in self.folder.iterdir())
        return sorted(name for name in names if name not in own and not name.startswith("."))

    @in_our_words(ERRORS_FILE)
    def update_errors(self, causes: Mapping[str, str], resolved: Iterable[str] = ()) -> None:
        """Keeps `errors.jsonl`: one line per file that cannot be read now, `{"path": ..., "cause": ...}`.

        Args:
            causes (`dict[str, str]`): why files cannot be read, by path.
            resolved (`Iterable[str]`, *optional*): paths that can be read again, or are no longer asked for.
        """
        resolved = set(resolved).difference(causes)

        def change(errors: dict[str, str]) -> dict[str, str]:
            return {path: cause for path, cause in {**errors, **causes}.items() if path not in resolved}

        if self._keeps_lists():
            change_errors(self.uri, change)
        elif self.folder is not None and (after := change(before := self.read_errors())) != before:
            write_errors(self.folder, after)

    @in_our_words(ERRORS_FILE)
    def read_errors(self) -> dict[str, str]:
        """The causes in `errors.jsonl`, by path."""
        if self.folder is not None:
            return read_errors(self.folder)
        return read_stored_errors(self.uri)[0] if self._keeps_lists() else {}

    def _keeps_lists(self) -> bool:
        """Whether lists can be kept on the object store that the index is on."""
        if not is_address(self.uri):
            return False
        try:
            check_store(self.uri)
        except ImportError as error:
            self.tell(f"The index {self.uri} has no {ERRORS_FILE}, which names what cannot be read: {error}")
            return False
        return True

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(f"No index can be made at {self.uri}: a part of this path is a file.") from error
        except OSError as error:
            raise explained(error, self, "folder") from error

    @in_our_words("statistics")
    def _statistics_of(self, videos: Any, version: int | None = None) -> LexicalStatistics | None:
        """The stored statistics, if they are those of this version of the videos, or of another one, and whole."""
        try:
            return self._read_statistics(videos.version if version is None else version)
        except Exception as error:  # of whatever reads or decodes them
            if not may_be_damage(error):
                raise
            self.tell(f"The statistics of the index {self.uri} are damaged; its texts are counted anew.")
            return None

    def _read_statistics(self, videos_version: int) -> LexicalStatistics | None:
        """The stored statistics, if they are those of this version; else whatever damaged files make LanceDB raise."""
        if not self._has_table(STATISTICS):
            return None
        version = str(videos_version).encode()
        self._check_files(STATISTICS)
        table = self._connect().open_table(STATISTICS)
        if (table.schema.metadata or {}).get(VERSION_KEY) != version:
            return None
        stored = table.to_arrow()
        metadata = stored.schema.metadata or {}
        if b"num_rows" not in metadata or metadata.get(CHECKSUM_KEY, b"") not in (b"", _digest(stored, version)):
            raise ValueError("Their checksum is another.")
        statistics = LexicalStatistics.from_table(stored)
        statistics.version = videos_version
        return statistics

    @in_our_words("rows")
    def _count_terms(self, videos: Any) -> LexicalStatistics:
        statistics = LexicalStatistics(videos.version)
        for batch in videos.search().select(["term_text"]).to_batches(ROWS_PER_BATCH):
            statistics.add(batch)
        return statistics

    def _unindexed_share(self, column: str) -> float:
        """Share of the rows that the index of a column does not have: all of them, where there is none."""
        names = [index.name for index in self.videos.list_indices() if index.columns == [column]]
        num_rows = self.videos.count_rows()
        if not names or not num_rows:
            return 0.0 if names else 1.0
        return self.videos.index_stats(names[0]).num_unindexed_rows / num_rows


def _digest(statistics: pa.Table, version: bytes) -> bytes:
    digest = hashlib.blake2b(statistics.schema.metadata[b"num_rows"] + b" " + version, digest_size=8)
    for column in statistics.columns:
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest().encode()
