"""Where an index lies: LanceDB tables in a folder or an object store, with one writer at a time."""

import contextlib
import copy
import hashlib
import logging
import os
import shutil
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from tcd_hf.index.contents import CONTENTS_FILE, ERRORS_FILE, Contents, read_errors, write_errors
from tcd_hf.index.damage import advice, explained, gone_error, in_our_words, may_be_damage, reporting
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.recall import (
    COARSE_COLUMN,
    TEXT_COLUMN,
    bytes_in_memory,
    create_coarse_index,
    create_text_index,
    is_searchable,
)
from tcd_hf.index.schema import METADATA_KEY, IndexDamagedError, IndexMetadata, IndexMismatchError
from tcd_hf.index.writers import OnWait, one_at_a_time
from tcd_hf.reading.files import local_folder

__all__ = ["STATISTICS", "VIDEOS", "IndexStorage", "sql_list", "sql_string"]

logger = logging.getLogger(__name__)

VIDEOS, STATISTICS = "videos", "lexical_statistics"
VERSION_KEY, CHECKSUM_KEY = b"videos_version", b"checksum"
MAX_FRAGMENTS = 100  # fragments from which on they are merged: that writes all rows anew, hence not after every add
# Share of the rows that a search may look through one by one, before the index is made anew: that reads all rows.
UNINDEXED_TEXTS = 0.01
UNINDEXED_VECTORS = 0.1
MIN_INDEXED_VECTORS = 1000  # fewer cannot be put in clusters, and need not be
PATHS_PER_FILTER = 1000
UNFINISHED = ("*.lance/*/.tmp*", "*.lance/*/*#*", ".*.part")  # files while LanceDB writes them, and while we do
ROWS_PER_BATCH = 8192


class IndexStorage:
    """The tables of one index and what lies beside them.

    Args:
        uri (`str | os.PathLike`): a folder, as a path or a `file://` URI; any other URI goes to LanceDB as it is
            (`s3://`, `gs://`, `az://`, ...).

    Raises:
        ValueError: a URI of LanceDB that names no place for files, `db://` or `memory://`.

    Attributes:
        folder (`Path`, *optional*): the folder, `None` on an object store.
        videos (`lancedb.table.Table`): one row per segment of a video; there once it was created or opened.
        metadata ([`IndexMetadata`]): its metadata, likewise.
    """

    def __init__(self, uri: str | os.PathLike):
        # LanceDB reads it when it is imported; its log of ordinary work would go to the user's terminal.
        os.environ.setdefault("LANCEDB_LOG", "error")
        self.uri = os.fspath(uri)
        if self.uri.startswith(("db://", "memory://")):
            raise ValueError(f"{self.uri} keeps no files: give a folder, or an object store such as s3://bucket/path.")
        self.folder = local_folder(self.uri)
        self._database = None
        self._told: set[str] = set()
        self.videos: Any = None
        self.metadata = cast(IndexMetadata, None)  # until it is opened

    @in_our_words("table of videos")
    def exists(self) -> bool:
        """Whether there is a table of videos, whoever made it."""
        return self._has_table(VIDEOS)

    @in_our_words("table of videos")
    def create(self, schema: pa.Schema) -> None:
        """Makes an empty table of videos. The caller holds the writer's lock."""
        if self.folder is not None:
            (self.folder / CONTENTS_FILE).unlink(missing_ok=True)  # of another that was here
        self.videos = self._connect().create_table(VIDEOS, schema=schema)
        create_text_index(self.videos)
        self.metadata = IndexMetadata.from_schema(schema)

    @in_our_words("table of videos (a file in `_versions`)")
    def open(self) -> None:
        """Opens the table of videos.

        Raises:
            IndexMismatchError: there is none, or one that this release did not make.
            IndexDamagedError: it cannot be read.
        """
        if not self.exists():
            raise IndexMismatchError(
                f"There is no index at {self.uri}. Check the path, or make one: `VideoIndex.create(...)`, "
                "`tcd-hf index VIDEOS... --index DIR`."
            )
        self.videos = self.open_table()
        try:
            self.metadata = IndexMetadata.from_schema(self.videos.schema)
        except IndexMismatchError as error:
            told = None if self.folder is None else Contents.read(self.folder).metadata
            if told not in (None, (self.videos.schema.metadata or {}).get(METADATA_KEY, b"").decode(errors="replace")):
                raise IndexDamagedError(f"The index {self.uri} is damaged: {error} {advice(self.uri)}") from error
            raise IndexMismatchError(f"Cannot use the index {self.uri}: {error}") from error
        except IndexDamagedError as error:
            raise IndexDamagedError(f"The index {self.uri} is damaged: {error} {advice(self.uri)}") from error

    @in_our_words("table of videos (a file in `_versions`)")
    def open_table(self, name: str = VIDEOS) -> Any:
        """Another handle of a table, at its latest version for as long as it lives."""
        return self._connect().open_table(name)

    def create_rows(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Makes another table of rows."""
        self._connect().create_table(name, rows, mode="create")

    def disconnect(self) -> None:
        """Forgets what was read of the files; after [`~IndexStorage.open`] they are read anew."""
        self._database = self.videos = None

    def new_handle(self) -> "IndexStorage":
        """Another handle of the table, which writes and reads without waiting for this one. Nothing is checked anew."""
        other = copy.copy(self)
        other.videos = self.open_table()
        return other

    @in_our_words("table of videos (a file in `_versions`)")
    def update_version(self) -> "IndexStorage":
        """Goes on to the version that was committed last; gives this storage."""
        self.videos.checkout_latest()
        return self

    @in_our_words("table of videos (a file in `_versions`)")
    def count(self, where: str | None = None) -> int:
        """Number of the rows, all or those a filter lets through."""
        return self.videos.count_rows(where)

    @in_our_words("rows")
    def read(self, columns: Iterable[str], where: str | None = None, limit: int | None = None) -> pa.Table:
        """Columns of the videos' rows, all or those a filter lets through, in the order of the table.

        Args:
            columns (`Iterable[str]`): their names.
            where (`str`, *optional*): a filter in SQL.
            limit (`int`, *optional*): rows at most, the first ones.
        """
        query = self.videos.search().select(list(columns))
        query = query if where is None else query.where(where)
        return (query if limit is None else query.limit(limit)).to_arrow()

    @in_our_words("table of videos")
    def append(self, rows: pa.Table) -> None:
        """Writes rows of videos that the index does not have, in one commit: all of them or, when killed, none."""
        self._check_there()
        if self.folder is None:  # another writer may have them by now
            self.upsert(rows)
        else:
            self.videos.add(rows)  # unlike a merge, it keeps their order

    @in_our_words("rows")
    def upsert(self, rows: pa.Table) -> None:
        """Writes all rows of some videos in one commit, in place of those that these videos had."""
        self._check_there()
        self.videos.checkout_latest()
        merge = self.videos.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        # A video that has become shorter has fewer rows.
        paths = rows["path"].unique().to_pylist()
        merge.when_not_matched_by_source_delete(f"path IN {sql_list(paths)}").execute(rows)

    @in_our_words("rows")
    def update(self, values: pa.Table) -> None:
        """Changes some columns of the rows with the ids given."""
        self._check_there()
        self.videos.merge_insert("id").when_matched_update_all().execute(values)

    @in_our_words("rows")
    def delete(self, paths: Iterable[str]) -> None:
        """Removes the rows of videos."""
        self._check_there()
        for part in _parts(list(paths), PATHS_PER_FILTER):
            self.videos.delete(f"path IN {sql_list(part)}")

    def read_of(self, paths: Iterable[str], columns: Iterable[str]) -> Iterator[pa.Table]:
        """Columns of the rows of videos, some videos at a time, in the order of the table."""
        for part in _parts(list(paths), PATHS_PER_FILTER):
            yield self.read(columns, f"path IN {sql_list(part)}")

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

        On an object store there is no lock: it is for the user to have one writer at a time.

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
            yield
            return
        with contextlib.ExitStack() as turn:
            if new:
                self._make_folder(self.folder)
            else:
                self._check_there()
            with reporting(self, "lock"):
                turn.enter_context(one_at_a_time(self.folder, self.uri, "writer", on_wait, stop))
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
        with contextlib.ExitStack() as turn:
            if self.folder is not None:
                self._check_there()
                with reporting(self, "lock"):
                    turn.enter_context(one_at_a_time(self.folder, self.uri, "adder", on_wait, stop))
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
            rows = self.read(["path", "texts_hash"], "segment = 0").to_pylist()
            videos = {row["path"]: bool(row["texts_hash"]) for row in rows}
            Contents(metadata, videos, self.videos.version).write(self.folder)

    @in_our_words("rows")
    def maintain(self, memory_budget: int) -> None:
        """Brings the indices up to date after rows were written, and merges small fragments when there are many.

        Args:
            memory_budget (`int`): bytes of coarse vectors from which on they get an index.
        """
        if not is_searchable(self.videos):
            self.tell(f"The full-text index of {self.uri} is damaged; it is made anew.")
            create_text_index(self.videos)
        if self.videos.stats()["fragment_stats"]["num_fragments"] > MAX_FRAGMENTS:
            self.videos.optimize()
        if self._unindexed_share(TEXT_COLUMN) > UNINDEXED_TEXTS:
            create_text_index(self.videos)
        num_vectors = self.videos.count_rows()
        too_many = (
            bytes_in_memory(num_vectors, self.metadata.dim) > memory_budget and num_vectors >= MIN_INDEXED_VECTORS
        )
        if too_many and self._unindexed_share(COARSE_COLUMN) > UNINDEXED_VECTORS:
            create_coarse_index(self.videos)

    @in_our_words("rows")
    def compact(self) -> None:
        """Merges fragments, and frees what belongs to no present row. The caller holds the writer's lock."""
        for table in [self.videos, *([self.open_table(STATISTICS)] if self._has_table(STATISTICS) else [])]:
            if self.folder is None:  # others may be writing or reading: what is younger than a week stays
                table.optimize()
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
        stored = self._statistics_of(videos)
        return self._count_terms(videos) if stored is None else stored

    def has_statistics(self) -> bool:
        """Whether the stored statistics are those of this version of the table."""
        return self._statistics_of(self.videos) is not None

    def statistics_are_damaged(self) -> bool:
        """Whether statistics are stored for this version of the table that its rows do not have."""
        try:
            stored = self._read_statistics(self.videos)
        except Exception as error:
            if not may_be_damage(error):
                raise
            return True
        if stored is None:
            return False
        counted = self._count_terms(self.videos)
        return stored.to_table() != counted.to_table() or stored.num_rows != counted.num_rows

    @in_our_words("statistics")
    def save_statistics(self, statistics: LexicalStatistics | None = None) -> None:
        """Stores statistics of the present version of the videos; counts them if they are not given."""
        self._check_there()
        table = (statistics or self._count_terms(self.videos)).to_table()
        version = str(self.videos.version).encode()
        metadata = {**table.schema.metadata, VERSION_KEY: version, CHECKSUM_KEY: _digest(table, version)}
        table = table.replace_schema_metadata(metadata)
        mode = "overwrite" if self._has_table(STATISTICS) else "create"
        try:
            self._connect().create_table(STATISTICS, table, mode=mode)
        except (OSError, RuntimeError, ValueError):
            if self.folder is None or mode == "create":
                raise
            shutil.rmtree(self.folder / f"{STATISTICS}.lance")  # damaged: it cannot even be overwritten
            self._connect().create_table(STATISTICS, table, mode="create")

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
        if self.folder is None:
            return
        before = self.read_errors()
        errors = {**before, **causes}
        for path in resolved:
            if path not in causes:
                errors.pop(path, None)
        if errors != before:
            write_errors(self.folder, errors)

    @in_our_words(ERRORS_FILE)
    def read_errors(self) -> dict[str, str]:
        """The causes in `errors.jsonl`, by path."""
        return {} if self.folder is None else read_errors(self.folder)

    def tell(self, message: str) -> None:
        """Warns of what is made anew, once."""
        if message not in self._told:
            self._told.add(message)
            logger.warning(message)

    def _check_there(self) -> None:
        """Refuses to write where no index is any more: LanceDB would make a new one, without what it held."""
        if self.folder is not None and not self.exists():
            raise gone_error(self.uri)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(f"No index can be made at {self.uri}: a part of this path is a file.") from error
        except OSError as error:
            raise explained(error, self, "folder") from error

    def _connect(self):
        if self._database is None:
            import lancedb

            self._database = lancedb.connect(self.uri if self.folder is None else self.folder)
        return self._database

    def _has_table(self, name: str) -> bool:
        if self.folder is not None:  # LanceDB would make the folder to look into it
            return any((self.folder / f"{name}.lance" / "_versions").glob("*.manifest"))
        return name in self._connect().list_tables(limit=1000).tables

    @in_our_words("statistics")
    def _statistics_of(self, videos: Any) -> LexicalStatistics | None:
        """The stored statistics, if they are those of this version of the videos, and whole."""
        try:
            return self._read_statistics(videos)
        except Exception as error:  # of whatever reads or decodes them
            if not may_be_damage(error):
                raise
            self.tell(f"The statistics of the index {self.uri} are damaged; its texts are counted anew.")
            return None

    def _read_statistics(self, videos: Any) -> LexicalStatistics | None:
        """The stored statistics, if they are those of this version; else whatever damaged files make LanceDB raise."""
        if not self._has_table(STATISTICS):
            return None
        version = str(videos.version).encode()
        table = self._connect().open_table(STATISTICS)
        if (table.schema.metadata or {}).get(VERSION_KEY) != version:
            return None
        stored = table.to_arrow()
        if stored.schema.metadata.get(CHECKSUM_KEY, b"") not in (b"", _digest(stored, version)):
            raise ValueError("Their checksum is another.")
        return LexicalStatistics.from_table(stored)

    @in_our_words("rows")
    def _count_terms(self, videos: Any) -> LexicalStatistics:
        statistics = LexicalStatistics()
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


def sql_string(value: str) -> str:
    """A string in a filter."""
    return "'" + value.replace("'", "''") + "'"


def sql_list(values: Iterable[str]) -> str:
    """Strings as a list in a filter."""
    return "(" + ", ".join(map(sql_string, values)) + ")"


def _digest(statistics: pa.Table, version: bytes) -> bytes:
    digest = hashlib.blake2b(statistics.schema.metadata[b"num_rows"] + b" " + version, digest_size=8)
    for column in statistics.columns:
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest().encode()


def _parts(values: list, size: int) -> Iterator[list]:
    return (values[start : start + size] for start in range(0, len(values), size))
