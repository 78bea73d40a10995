"""Where an index lies: LanceDB tables in a folder or an object store, with one writer at a time."""

import contextlib
import copy
import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa

from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.recall import COARSE_COLUMN, TEXT_COLUMN, bytes_in_memory, create_coarse_index, create_text_index
from tcd_hf.index.schema import IndexMetadata, IndexMismatchError
from tcd_hf.reading.files import write_whole

__all__ = ["IndexStorage", "sql_list", "sql_string"]

logger = logging.getLogger(__name__)

VIDEOS, STATISTICS = "videos", "lexical_statistics"
LOCK_FILE, ERRORS_FILE = ".writer.lock", "errors.jsonl"
VERSION_KEY = b"videos_version"
MAX_FRAGMENTS = 100  # fragments from which on they are merged: that writes all rows anew, hence not after every add
# Share of the rows that a search may look through one by one, before the index is made anew: that reads all rows.
UNINDEXED_TEXTS = 0.01
UNINDEXED_VECTORS = 0.1
MIN_INDEXED_VECTORS = 1000  # fewer cannot be put in clusters, and need not be
PATHS_PER_FILTER = 1000
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
        self.folder = _local_folder(self.uri)
        self._database = None
        self.videos: Any = None
        self.metadata = cast(IndexMetadata, None)  # until it is opened

    def exists(self) -> bool:
        """Whether there is a table of videos, whoever made it."""
        return self._has_table(VIDEOS)

    def create(self, schema: pa.Schema) -> None:
        """Makes an empty table of videos. The caller holds the writer's lock."""
        self.videos = self._connect().create_table(VIDEOS, schema=schema)
        create_text_index(self.videos)
        self.metadata = IndexMetadata.from_schema(schema)

    def open(self) -> None:
        """Opens the table of videos.

        Raises:
            IndexMismatchError: there is none, or one that this release did not make.
        """
        if not self.exists():
            raise IndexMismatchError(
                f"There is no index at {self.uri}. Check the path, or make one: `VideoIndex.create(...)`, "
                "`tcd-hf index VIDEOS... --index DIR`."
            )
        self.videos = self._connect().open_table(VIDEOS)
        try:
            self.metadata = IndexMetadata.from_schema(self.videos.schema)
        except IndexMismatchError as error:
            raise IndexMismatchError(f"Cannot use the index {self.uri}: {error}") from error

    def open_table(self, name: str = VIDEOS) -> Any:
        """Another handle of a table, at its latest version for as long as it lives."""
        return self._connect().open_table(name)

    def new_handle(self) -> "IndexStorage":
        """Another handle of the table, which writes and reads without waiting for this one. Nothing is checked anew."""
        other = copy.copy(self)
        other.videos = self.open_table()
        return other

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

    def append(self, rows: pa.Table) -> None:
        """Writes rows of videos that the index does not have, in one commit: all of them or, when killed, none."""
        if self.folder is None:  # another writer may have them by now
            self.upsert(rows)
        else:
            self.videos.add(rows)  # unlike a merge, it keeps their order

    def upsert(self, rows: pa.Table) -> None:
        """Writes all rows of some videos in one commit, in place of those that these videos had."""
        self.videos.checkout_latest()
        merge = self.videos.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        # A video that has become shorter has fewer rows.
        paths = rows["path"].unique().to_pylist()
        merge.when_not_matched_by_source_delete(f"path IN {sql_list(paths)}").execute(rows)

    def update(self, values: pa.Table) -> None:
        """Changes some columns of the rows with the ids given."""
        self.videos.merge_insert("id").when_matched_update_all().execute(values)

    def delete(self, paths: Iterable[str]) -> None:
        """Removes the rows of videos."""
        for part in _parts(list(paths), PATHS_PER_FILTER):
            self.videos.delete(f"path IN {sql_list(part)}")

    def read_of(self, paths: Iterable[str], columns: Iterable[str]) -> Iterator[pa.Table]:
        """Columns of the rows of videos, some videos at a time, in the order of the table."""
        for part in _parts(list(paths), PATHS_PER_FILTER):
            yield self.read(columns, f"path IN {sql_list(part)}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the one writer's lock of a local index; a second writer waits. It ends with the process that holds it.

        On an object store there is no lock: it is for the user to have one writer at a time.
        """
        if self.folder is None:
            if self.videos is not None:
                self.videos.checkout_latest()
            yield
            return
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning("Another process is writing to the index %s; waiting until it is done.", self.uri)
            lock.acquire()
        try:
            if self.videos is not None:
                self.videos.checkout_latest()
            yield
        finally:
            lock.release()

    def maintain(self, memory_budget: int) -> None:
        """Brings the indices up to date after rows were written, and merges small fragments when there are many.

        Args:
            memory_budget (`int`): bytes of coarse vectors from which on they get an index.
        """
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
            for file in [*self.folder.glob("*.lance/*/.tmp*"), *self.folder.glob(".*.part")]:
                file.unlink(missing_ok=True)

    def load_statistics(self, videos: Any = None) -> LexicalStatistics:
        """How many rows show each term: as stored, if that was for this version of the table, else counted.

        Args:
            videos (`lancedb.table.Table`, *optional*): another handle of the table, perhaps at another version.
        """
        videos = self.videos if videos is None else videos
        stored = self._statistics_of(videos)
        return _count_terms(videos) if stored is None else LexicalStatistics.from_table(stored.to_arrow())

    def has_statistics(self) -> bool:
        """Whether the stored statistics are those of this version of the table."""
        return self._statistics_of(self.videos) is not None

    def save_statistics(self, statistics: LexicalStatistics | None = None) -> None:
        """Stores statistics of the present version of the videos; counts them if they are not given."""
        table = (statistics or _count_terms(self.videos)).to_table()
        metadata = {**table.schema.metadata, VERSION_KEY: str(self.videos.version).encode()}
        mode = "overwrite" if self._has_table(STATISTICS) else "create"
        self._connect().create_table(STATISTICS, table.replace_schema_metadata(metadata), mode=mode)

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
        own = {ERRORS_FILE, f"{VIDEOS}.lance", f"{STATISTICS}.lance"}
        names = (file.name for file in self.folder.iterdir())
        return sorted(name for name in names if name not in own and not name.startswith("."))

    def update_errors(self, causes: Mapping[str, str], resolved: Iterable[str] = ()) -> None:
        """Keeps `errors.jsonl`: one line per file that cannot be read now, `{"path": ..., "cause": ...}`.

        Args:
            causes (`dict[str, str]`): why files cannot be read, by path.
            resolved (`Iterable[str]`, *optional*): paths that can be read again, or are no longer asked for.
        """
        if self.folder is None:
            return
        file = self.folder / ERRORS_FILE
        before = self.read_errors()
        errors = {**before, **causes}
        for path in resolved:
            if path not in causes:
                errors.pop(path, None)
        if errors == before:
            return
        lines = (json.dumps({"path": path, "cause": cause}) + "\n" for path, cause in errors.items())
        write_whole(file, "".join(lines).encode())

    def read_errors(self) -> dict[str, str]:
        """The causes in `errors.jsonl`, by path."""
        if self.folder is None or not (self.folder / ERRORS_FILE).exists():
            return {}
        lines = (self.folder / ERRORS_FILE).read_text(encoding="utf-8").splitlines()
        return {error["path"]: error["cause"] for error in map(json.loads, filter(None, lines))}

    def _connect(self):
        if self._database is None:
            import lancedb

            self._database = lancedb.connect(self.uri if self.folder is None else self.folder)
        return self._database

    def _has_table(self, name: str) -> bool:
        if self.folder is not None:  # LanceDB would make the folder to look into it
            return any((self.folder / f"{name}.lance" / "_versions").glob("*.manifest"))
        return name in self._connect().list_tables(limit=1000).tables

    def _statistics_of(self, videos: Any):
        """The table of statistics, if they are those of this version of the videos."""
        if not self._has_table(STATISTICS):
            return None
        table = self.open_table(STATISTICS)
        version = int((table.schema.metadata or {}).get(VERSION_KEY, -1))
        return table if version == videos.version else None

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


def _count_terms(videos: Any) -> LexicalStatistics:
    statistics = LexicalStatistics()
    for batch in videos.search().select(["term_text"]).to_batches(ROWS_PER_BATCH):
        statistics.add(batch)
    return statistics


def _local_folder(uri: str) -> Path | None:
    if "://" not in uri:
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


def _parts(values: list, size: int) -> Iterator[list]:
    return (values[start : start + size] for start in range(0, len(values), size))
