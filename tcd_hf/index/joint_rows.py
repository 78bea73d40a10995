"""The rows of several indexes as those of one, to be read."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from tcd_hf.index.metadata import IndexMetadata, IndexMismatchError
from tcd_hf.index.storage import FIRST_SEGMENTS, IndexStorage

__all__ = ["JointRows", "open_alike", "place_of"]

pc: Any = pyarrow.compute  # makes its functions when it is imported

# What a score depends on, and what must therefore be the same: of the metadata of an index, and in words.
ALIKE = {
    "model_fingerprint": "another model, or other weights or dtype",
    "tokenizer_fingerprint": "another tokenizer or `max_length`, or other prefixes of texts",
    "num_frames": "another number of frames per segment",
    "segment_seconds": "segments of another length",
}


def open_alike(places: Iterable[str | os.PathLike]) -> list[IndexStorage]:
    """Opens several indexes whose scores compare; one that is named twice counts once.

    Raises:
        ValueError: no place is given.
        IndexMismatchError: one was made otherwise than the first; names both, and says what to do. And all else as of
            [`~IndexStorage.open`].
    """
    different: dict[str, IndexStorage] = {}
    for storage in map(IndexStorage, places):
        different.setdefault(place_of(storage), storage)
    if not different:
        raise ValueError("No index is named: give at least one place.")
    storages = list(different.values())
    for storage in storages:
        storage.open()
    first, *others = storages
    for other in others:
        _check_alike(first, other)
    return storages


def _check_alike(first: IndexStorage, other: IndexStorage) -> None:
    for name, told in ALIKE.items():
        ours, theirs = getattr(first.metadata, name), getattr(other.metadata, name)
        if ours != theirs:
            raise IndexMismatchError(
                f"The index {other.uri} was made with {told} ({theirs}) than {first.uri} ({ours}), so that their "
                f"scores do not compare. Search it by itself, or make it anew as {first.uri} was made: text that was "
                "read in videos is taken from the cache."
            )


def place_of(storage: IndexStorage) -> str:
    """What is the same for all ways to write the place of an index."""
    return storage.uri.rstrip("/") if storage.folder is None else os.path.realpath(storage.folder)


class JointRows:
    """What a [`StoredIndex`] reads of its storage, of several: the rows of the first, then those of the second, and so
    on. Those of a video that several have are the first one's.

    Args:
        storages (`Sequence[IndexStorage]`): the indexes, opened, at least one.
    """

    def __init__(self, storages: Sequence[IndexStorage]):
        self._storages = list(storages)
        self._hidden: tuple[list[Any], list[pa.Array]] = [], []  # for these commits, the paths

    @property
    def uri(self) -> str:
        """Where they are."""
        return ", ".join(storage.uri for storage in self._storages)

    @property
    def metadata(self) -> IndexMetadata:
        """What the first is made by, and the others in what matters for a search, see [`open_alike`]."""
        return self._storages[0].metadata

    @property
    def version(self) -> int:
        """A number that grows with every change of one of them."""
        return sum(storage.version for storage in self._storages)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns that all have, of the same type: not those of features kept in other ways."""
        first, *others = [storage.videos.schema for storage in self._storages]
        return [field.name for field in first if all(field in list(other) for other in others)]

    def update_version(self) -> "JointRows":
        """Goes on to what was committed last; gives itself."""
        for storage in self._storages:
            storage.update_version()
        return self

    def count(self, where: str | None = None) -> int:
        """Number of the rows, all or those a filter lets through."""
        if not any(map(len, self._paths_hidden())):
            return sum(storage.count(where) for storage in self._storages)
        return len(self.read(["path"], where))

    def read(self, columns: Iterable[str], where: str | None = None, limit: int | None = None) -> pa.Table:
        """Columns of the rows; see [`IndexStorage.read`]."""
        columns, tables = list(columns), []
        for storage, hidden in zip(self._storages, self._paths_hidden(), strict=True):
            left = None if limit is None else limit - sum(map(len, tables))
            if left == 0 and tables:  # for LanceDB no limit
                break
            if len(hidden):
                rows = storage.read(dict.fromkeys([*columns, "path"]), where)
                rows = rows.filter(pc.invert(pc.is_in(rows["path"], value_set=hidden)))
                tables.append(rows.slice(0, left).select(columns))
            else:
                tables.append(storage.read(columns, where, left))
        return pa.concat_tables(tables)

    def read_errors(self) -> dict[str, str]:
        """Why files could not be read, by path."""
        errors: dict[str, str] = {}
        for storage in reversed(self._storages):
            errors.update(storage.read_errors())
        return errors

    def bytes_on_disk(self) -> int | None:
        """Size of all files; `None` where one of them is on an object store."""
        sizes = [storage.bytes_on_disk() for storage in self._storages]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def _paths_hidden(self) -> list[pa.Array]:
        """For each index the paths of its videos that one before it has, too; found anew after a change."""
        commits = [storage.commit for storage in self._storages]
        known, hidden = self._hidden  # one look: other threads may replace it meanwhile
        if known != commits:
            paths = [storage.read(["path"], FIRST_SEGMENTS)["path"].combine_chunks() for storage in self._storages]
            hidden = [
                own.filter(pc.is_in(own, value_set=pa.chunked_array(paths[:place], pa.string()).combine_chunks()))
                for place, own in enumerate(paths)
            ]
            self._hidden = commits, hidden
        return hidden
