"""Mending an index whose files are damaged: what can still be read stays, what follows from it is made anew."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tcd_hf.index.contents import CONTENTS_FILE, Contents, read_errors, write_errors
from tcd_hf.index.damage import may_be_damage
from tcd_hf.index.lance_files import impossible_files
from tcd_hf.index.row_indices import COARSE_COLUMN, create_coarse_index, create_text_index
from tcd_hf.index.schema import METADATA_KEY, IndexDamagedError, IndexMetadata, table_schema
from tcd_hf.index.storage import STATISTICS, VIDEOS, IndexStorage
from tcd_hf.index.verification import ROWS_PER_BLOCK, find_damaged_rows, has_all_segments

__all__ = ["DAMAGED", "RepairReport", "Rescued", "is_begun", "remake", "rescue"]

DAMAGED = ".damaged"  # the folder, in that of the index, of files that were given up
RESCUED = "rescued"  # the table that rows are copied to
COMPLETE = "rescued_whole"  # its name once all are there, until it takes the place of the other
LARGEST_NUMBER = 2**64 - 1


@dataclass
class RepairReport:
    """What became of a damaged index.

    Attributes:
        kept (`int`): videos whose rows were whole.
        restored_version (`int`, *optional*): the former version that was brought back, if one was.
        read_again (`list[str]`): paths of the videos whose rows were lost and made anew from the files.
        lost (`list[str]`): those whose rows were lost and whose files are not there, or cannot be read.
        nameless (`int`): rows that were lost and do not tell of which video they were, where `videos.jsonl` is older:
            add the videos again, those that are there are not read anew.
        without_own_texts (`list[str]`): those of `read_again` that had been given texts, which have to be given again.
        remade (`list[str]`): what else was damaged and made anew: `"full-text index"`, `"statistics"`, ...
        set_aside (`str`, *optional*): the folder of files that were given up; delete it when nothing is missing.
    """

    kept: int = 0
    restored_version: int | None = None
    read_again: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    nameless: int = 0
    without_own_texts: list[str] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    set_aside: str | None = None


class Rescued(NamedTuple):
    """What was saved of the table of an index.

    Attributes:
        wanted (`dict[str, bool]`): the videos that it had, and whether they had been given texts of their own.
        removed (`list[str]`): videos that a former version brought back, and that had been removed since.
        restored_version (`int`, *optional*): that version.
        nameless (`int`): damaged rows that nothing tells the video of.
    """

    wanted: dict[str, bool]
    removed: list[str]
    restored_version: int | None = None
    nameless: int = 0


def rescue(storage: IndexStorage) -> Rescued:
    """Brings the table of videos into a state in which all its rows are whole, and opens it. The caller holds the
    writer's lock.

    If rows of the latest version are damaged, that is the newest former version all of whose rows are whole; or, if
    more videos are whole in the latest one, a new table of these. Files that are given up are kept, see `DAMAGED`.

    Args:
        storage ([`IndexStorage`]): the index, in a folder, perhaps not opened.

    Raises:
        IndexMismatchError: it is of another release.
        IndexDamagedError: nothing of it can be read.
    """
    folder = _folder_of(storage)
    _finish_swap(folder)
    for table in folder.glob("*.lance"):
        for file in list(impossible_files(table)):
            _set_aside(file, folder)  # of one that is gone there is an error; one that is there ends this process
    contents = Contents.read(folder)
    told = contents.videos or {}
    if not _open_newest(storage):
        schema = _schema_told_by(contents)
        if schema is None:
            raise IndexDamagedError(
                f"Nothing of the index {storage.uri} can be read any more: make it anew in another folder. Text that "
                "was read in its videos is taken from the cache."
            )
        _set_aside(folder / f"{VIDEOS}.lance", folder)
        storage.create(schema)
        contents.write(folder)  # which that took for another's: for whoever goes on when this is killed
        return Rescued(dict(told), [])
    latest = storage.videos.version
    damaged = find_damaged_rows(storage.videos)
    readable = _rows_of_videos(storage.videos, damaged.row_ids)
    in_latest = _whole(readable)
    # The list is written at the end of a run, the table all the while: what an older one leaves out is no less wanted.
    is_current = bool(told) and contents.version is not None and contents.version >= latest
    wanted = dict(told) if is_current else {**dict.fromkeys([*readable, *damaged.paths], False), **told}
    nameless = 0 if is_current else len(damaged.nameless)
    if not damaged.row_ids and set(wanted).issubset(in_latest):
        return Rescued(wanted, [])
    for version in _former_versions(storage.videos):
        in_former = _videos_if_whole(storage.videos, version, damaged.row_ids)
        if in_former is None:
            continue
        if len(in_former.intersection(wanted)) >= len(set(in_latest).intersection(wanted)):
            storage.videos.restore()
            storage.update_version()
            return Rescued(wanted, sorted(in_former.difference(wanted)) if is_current else [], version, nameless)
        break
    storage.videos.checkout(latest)
    if damaged.row_ids:
        metadata = (storage.videos.schema.metadata or {})[METADATA_KEY].decode()
        Contents(metadata, wanted, latest).write(folder)  # for whoever goes on when this is killed
        _copy(storage, [row for rows in in_latest.values() for row in rows])
    else:
        storage.update_version()
    return Rescued(wanted, [], nameless=nameless)


def is_begun(folder: Path) -> bool:
    """Whether a repair was killed before the table that it had made was in its place."""
    return (folder / f"{COMPLETE}.lance").exists()


def remake(storage: IndexStorage) -> None:
    """Makes anew what follows from the rows. The caller holds the writer's lock."""
    folder = _folder_of(storage)
    create_text_index(storage.videos)
    for index in storage.videos.list_indices():
        if index.columns == [COARSE_COLUMN]:
            create_coarse_index(storage.videos)
    shutil.rmtree(folder / f"{STATISTICS}.lance", ignore_errors=True)
    storage.save_statistics()
    write_errors(folder, read_errors(folder))
    (folder / CONTENTS_FILE).unlink(missing_ok=True)
    storage.save_contents()


def _folder_of(storage: IndexStorage) -> Path:
    assert storage.folder is not None
    return storage.folder


def _open_newest(storage: IndexStorage) -> bool:
    """Opens the newest version that can be read; the files that describe newer ones are set aside."""
    folder = _folder_of(storage)
    versions = folder / f"{VIDEOS}.lance" / "_versions"
    while storage.exists():
        try:
            storage.open()
            return True
        except IndexDamagedError:
            _set_aside(max(versions.glob("*.manifest"), key=_version_of), folder)
            (versions / "latest_version_hint.json").unlink(missing_ok=True)
            storage.disconnect()  # what it remembers of the files is past
    return False


def _version_of(manifest: Path) -> int:
    """LanceDB names a version by how far it is from the largest number, so that the newest one is listed first."""
    number = int(manifest.stem) if manifest.stem.isdigit() else 0
    return LARGEST_NUMBER - number if number > LARGEST_NUMBER // 2 else number


def _set_aside(path: Path, folder: Path) -> None:
    """Moves a file or folder of the index in a folder to where nobody looks for it: it may hold what somebody can
    still read."""
    if path.exists():
        aside = folder / DAMAGED
        aside.mkdir(exist_ok=True)
        shutil.move(path, aside / f"{time.time_ns()}-{path.name}")


def _schema_told_by(contents: Contents) -> pa.Schema | None:
    """The schema of a table, by what is told of it beside it."""
    try:
        values = json.loads(contents.metadata or "")
        return table_schema(IndexMetadata(**{**values, "shapes": {k: tuple(v) for k, v in values["shapes"].items()}}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _rows_of_videos(table: Any, damaged: set[int]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each video that are whole, in the order of the table."""
    ids = [row for row in table.search().select(["_rowid"]).to_arrow()["_rowid"].to_pylist() if row not in damaged]
    videos: dict[str, list[dict[str, Any]]] = {}
    for start in range(0, len(ids), ROWS_PER_BLOCK):
        block = table.take_row_ids(ids[start : start + ROWS_PER_BLOCK])
        for row in block.select(["path", "segment", "start", "end", "duration"]).with_row_id().to_arrow().to_pylist():
            videos.setdefault(row["path"], []).append(row)
    return videos


def _whole(videos: dict[str, list[dict[str, Any]]]) -> dict[str, list[int]]:
    """The row ids of the videos of which all rows are there."""
    return {path: [row["_rowid"] for row in rows] for path, rows in videos.items() if has_all_segments(rows)}


def _former_versions(table: Any) -> list[int]:
    latest = table.version
    return sorted((known["version"] for known in table.list_versions() if known["version"] < latest), reverse=True)


def _videos_if_whole(table: Any, version: int, damaged: set[int]) -> set[str] | None:
    """The videos of a former version, which is then checked out; `None` if it is damaged too.

    Args:
        table (`lancedb.table.Table`): of segments of videos.
        version (`int`): of it.
        damaged (`set[int]`): ids of rows of the latest version, which are likely to be as damaged in this one.
    """
    try:
        table.checkout(version)
        ids = table.search().select(["_rowid"]).to_arrow()["_rowid"].to_pylist()
        suspects = [row for row in ids if row in damaged]
        if (suspects and find_damaged_rows(table, suspects).row_ids) or find_damaged_rows(table).row_ids:
            return None
        return set(_whole(_rows_of_videos(table, set())))
    except Exception as error:
        if not may_be_damage(error):
            raise
        return None


def _finish_swap(folder: Path) -> None:
    """Puts a complete copy where there is no table any more. Where there still is one, others may have written to it
    since: it is copied anew."""
    copy, table = folder / f"{COMPLETE}.lance", folder / f"{VIDEOS}.lance"
    if table.exists():
        shutil.rmtree(copy, ignore_errors=True)
    elif copy.exists():
        copy.rename(table)


def _copy(storage: IndexStorage, row_ids: list[int]) -> None:
    """Makes a new table of some rows, and puts it in the place of the present one."""
    folder, table = _folder_of(storage), storage.videos
    schema = table.schema

    def blocks() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(row_ids), ROWS_PER_BLOCK):
            rows = table.take_row_ids(row_ids[start : start + ROWS_PER_BLOCK]).select(schema.names).to_arrow()
            yield from rows.cast(schema).to_batches()

    shutil.rmtree(folder / f"{RESCUED}.lance", ignore_errors=True)  # of a repair that was killed
    storage.create_rows(RESCUED, pa.RecordBatchReader.from_batches(schema, blocks()))
    (folder / f"{RESCUED}.lance").rename(folder / f"{COMPLETE}.lance")
    _set_aside(folder / f"{VIDEOS}.lance", folder)
    _finish_swap(folder)
    storage.disconnect()
    storage.open()
    create_text_index(storage.videos)
