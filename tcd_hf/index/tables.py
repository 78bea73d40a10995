"""The tables of an index in a folder or an object store: rows of videos, read and written."""

import copy
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import pyarrow as pa

from tcd_hf.index.conflicts import write_again
from tcd_hf.index.contents import CONTENTS_FILE, Contents
from tcd_hf.index.damage import advice, gone_error, in_our_words
from tcd_hf.index.lance_files import impossible_files
from tcd_hf.index.row_indices import create_text_index
from tcd_hf.index.schema import METADATA_KEY, IndexDamagedError, IndexMetadata, IndexMismatchError
from tcd_hf.reading.files import local_folder

__all__ = ["FIRST_SEGMENTS", "VIDEOS", "IndexTables", "sql_list", "sql_string"]

logger = logging.getLogger(__name__)

VIDEOS = "videos"
FIRST_SEGMENTS = "segment = 0"  # the rows that count videos
PATHS_PER_FILTER = 1000
PRIMARY_KEY = b"lance-schema:unenforced-primary-key"  # how the metadata of a column begins that is one

Result = TypeVar("Result")
Tables = TypeVar("Tables", bound="IndexTables")


class IndexTables:
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
        self._place: int | None = None  # of the files that were read, in the file system
        self.videos: Any = None
        self.metadata = cast(IndexMetadata, None)  # until it is opened

    @in_our_words("table of videos")
    def exists(self) -> bool:
        """Whether there is a table of videos, whoever made it."""
        return self._has_table(VIDEOS)

    @in_our_words("table of videos")
    def create(self, schema: pa.Schema) -> bool:
        """Makes an empty table of videos. The caller holds the writer's lock.

        Returns:
            `bool`: whether it was made; on an object store, which has no lock, another may have been quicker.
        """
        if self.folder is not None:
            (self.folder / CONTENTS_FILE).unlink(missing_ok=True)  # of another that was here
        try:
            self.videos = self._connect().create_table(VIDEOS, schema=schema)
        except ValueError as error:
            if self.folder is not None or "already exists" not in str(error):
                raise
            return False
        self._place = self._find_place()
        self.metadata = IndexMetadata.from_schema(schema)
        self.set_key()
        self.committed(lambda: create_text_index(self.videos))
        return True

    def set_key(self) -> None:
        """Has LanceDB know, on an object store, that there is one row of an id: only then does it notice that another
        has inserted the same rows meanwhile, and does not write them twice. An index of before is told here, too."""

        def write() -> None:
            if not self._has_key():
                self.videos.set_unenforced_primary_key("id")

        if self.folder is None:
            self.committed(write)

    def _has_key(self) -> bool:
        return any(name.startswith(PRIMARY_KEY) for name in self.videos.schema.field("id").metadata or ())

    def committed(self, write: Callable[[], Result]) -> Result:
        """Writes to the table of videos; once more whenever another has committed meanwhile, as on an object store, or
        an indexer in the background."""
        return write_again(write, self.videos.checkout_latest)

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
        self._place = self._find_place()
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
        """Another handle of a table, at its latest version for as long as it lives.

        Raises:
            IndexDamagedError: it cannot be read.
        """
        self._check_files(name)
        return self._connect().open_table(name)

    def _check_files(self, name: str) -> None:
        """Refuses a table with a file that LanceDB could not even fail to read, see [`impossible_files`]."""
        if self.folder is not None:
            for file in impossible_files(self.folder / f"{name}.lance"):
                told = f"The index {self.uri} is damaged: {file.relative_to(self.folder)} tells of more than it holds."
                raise IndexDamagedError(f"{told} {advice(self.uri)}")

    def create_rows(self, name: str, rows: pa.RecordBatchReader) -> None:
        """Makes another table of rows."""
        self._connect().create_table(name, rows, mode="create")

    def disconnect(self) -> None:
        """Forgets what was read of the files; after [`~IndexStorage.open`] they are read anew."""
        self._database = self.videos = None

    def new_handle(self: Tables) -> Tables:
        """Another handle of the table, which writes and reads without waiting for this one. Nothing is checked anew."""
        other = copy.copy(self)
        other.videos = self.open_table()
        return other

    @in_our_words("table of videos (a file in `_versions`)")
    def update_version(self: Tables) -> Tables:
        """Goes on to the version that was committed last; gives this storage."""
        place = self._find_place()
        if place not in (None, self._place):  # a repair has put another table there: what is known of files is past
            self._database = None
            self.videos, self._place = self.open_table(), place
        else:
            self.videos.checkout_latest()
        return self

    @property
    def version(self) -> int:
        """Version of the table of videos at hand: it grows with every commit."""
        return self.videos.version

    @property
    def column_names(self) -> list[str]:
        """Names of the columns of the table of videos."""
        return self.videos.schema.names

    @property
    def commit(self) -> tuple[int | None, int]:
        """What tells one state of the table from all others."""
        return self._place, self.version

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
        merge = merge.when_not_matched_by_source_delete(f"path IN {sql_list(paths)}")
        self.committed(lambda: merge.execute(rows))

    @in_our_words("rows")
    def update(self, values: pa.Table) -> None:
        """Changes some columns of the rows with the ids given."""
        self._check_there()
        values = values.cast(pa.schema([self.videos.schema.field(name) for name in values.column_names]))
        self.committed(lambda: self.videos.merge_insert("id").when_matched_update_all().execute(values))

    @in_our_words("rows")
    def delete(self, paths: Iterable[str]) -> int:
        """Removes the rows of videos; gives the number of commits."""
        self._check_there()
        parts = list(_parts(list(paths), PATHS_PER_FILTER))
        for part in parts:
            where = f"path IN {sql_list(part)}"
            self.committed(lambda where=where: self.videos.delete(where))
        return len(parts)

    def read_of(self, paths: Iterable[str], columns: Iterable[str]) -> Iterator[pa.Table]:
        """Columns of the rows of videos, some videos at a time, in the order of the table."""
        for part in _parts(list(paths), PATHS_PER_FILTER):
            yield self.read(columns, f"path IN {sql_list(part)}")

    def tell(self, message: str) -> None:
        """Warns of what is made anew, once."""
        if message not in self._told:
            self._told.add(message)
            logger.warning(message)

    def _check_there(self) -> None:
        """Refuses to write where no index is any more: LanceDB would make a new one, without what it held."""
        if self.folder is not None and not self.exists():
            raise gone_error(self.uri)

    def _find_place(self) -> int | None:
        """What tells one folder of the table from another at the same path; `None` on an object store."""
        table = None if self.folder is None else self.folder / f"{VIDEOS}.lance"
        return table.stat().st_ino if table is not None and table.exists() else None

    def _connect(self):
        if self._database is None:
            import lancedb

            self._database = lancedb.connect(self.uri if self.folder is None else self.folder)
        return self._database

    def _has_table(self, name: str) -> bool:
        if self.folder is not None:  # LanceDB would make the folder to look into it
            return any((self.folder / f"{name}.lance" / "_versions").glob("*.manifest"))
        return name in self._connect().list_tables(limit=1000).tables


def sql_string(value: str) -> str:
    """A string in a filter."""
    return "'" + value.replace("'", "''") + "'"


def sql_list(values: Iterable[str]) -> str:
    """Strings as a list in a filter."""
    return "(" + ", ".join(map(sql_string, values)) + ")"


def _parts(values: list, size: int) -> Iterator[list]:
    return (values[start : start + size] for start in range(0, len(values), size))
