"""Whether an index is what was written: all of its rows, and what was made from them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from tcd_hf.index.caption_vectors import CAPTION_VECTORS_COLUMN
from tcd_hf.index.contents import CONTENTS_FILE, ERRORS_FILE, Contents, read_lines
from tcd_hf.index.damage import Damage, may_be_damage
from tcd_hf.index.lexical import TEXT_SCHEMA
from tcd_hf.index.row_indices import has_coarse_index, is_searchable
from tcd_hf.index.schema import VERIFIED_COLUMNS, IndexMetadata, are_whole, row_id

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

    from tcd_hf.index.storage import IndexStorage

__all__ = [
    "DamagedRows",
    "find_damage",
    "find_damage_of_indices",
    "find_damage_of_lists",
    "find_damaged_rows",
    "has_all_segments",
]

Answer = TypeVar("Answer")
ROWS_PER_BLOCK = 256  # whose features are in memory at once
FRAGMENT_BITS = 32  # of a row id, for the place of the row in its fragment: the file that holds it
FRAGMENT_MASK = (1 << FRAGMENT_BITS) - 1
MAX_PLACES = 3  # that a sentence names
OF_A_FILE = ("duration", "fps", "size", "modified")  # in no checksum, and the same in all rows of a file
READ_OFF = ("has_text", "sources", "caption_text", *(field.name for field in TEXT_SCHEMA))
COLUMNS = list(dict.fromkeys([*VERIFIED_COLUMNS, *READ_OFF, *OF_A_FILE]))  # and caption vectors, where there are such
MAX_TERMS = 200  # by which the full-text index is tried


class DamagedRows(NamedTuple):
    """Rows that are not what was written.

    Attributes:
        row_ids (`set[int]`): theirs.
        paths (`tuple[str, ...]`): of their videos, as far as these can be read.
        nameless (`tuple[int, ...]`): ids of those of which the path cannot be read.
    """

    row_ids: set[int]
    paths: tuple[str, ...]
    nameless: tuple[int, ...]


def find_damaged_rows(table: "Table", row_ids: Iterable[int] | None = None) -> DamagedRows:
    """Reads rows of a table, and verifies them.

    Args:
        table (`lancedb.table.Table`): of segments of videos.
        row_ids (`Iterable[int]`, *optional*): of the rows; all by default.
    """
    asked: list[int] = list(row_ids or [])
    if row_ids is None:
        asked = table.search().select(["_rowid"]).to_arrow()["_rowid"].to_pylist()
    damaged: set[int] = set()
    for _, of_fragment in groupby(asked, lambda row: row >> FRAGMENT_BITS):
        for block in _blocks(list(of_fragment)):
            damaged.update(_damaged(table, block))
    if row_ids is None and not damaged:
        damaged.update(_at_odds(table, asked))
    path_of = {row: _path_of(table, row) for row in sorted(damaged)}
    paths = {path for path in path_of.values() if path is not None}
    return DamagedRows(damaged, tuple(sorted(paths)), tuple(row for row, path in path_of.items() if path is None))


def find_damage(storage: "IndexStorage") -> list[Damage]:
    """All that is damaged in an index that could be opened; empty if nothing is.

    Args:
        storage ([`IndexStorage`]): the index, at its latest version.
    """
    table = storage.videos
    rows = find_damaged_rows(table)
    found: list[Damage] = []
    if rows.row_ids:
        named = f", of {', '.join(rows.paths)}" if rows.paths else ""
        if rows.nameless:
            named += f"; of {len(rows.nameless)} the path of the video cannot be read ({_places(rows.nameless)})"
        found.append(Damage("rows", f"{len(rows.row_ids)} rows are not what was written{named}.", rows.paths))
    else:  # what is made from the rows can be told only by whole ones
        found += find_damage_of_indices(storage)
    if storage.folder is not None:
        found += find_damage_of_lists(storage.folder)
        if not rows.row_ids:
            found += _of_contents(storage)
    return found


def find_damage_of_indices(storage: "IndexStorage") -> Iterator[Damage]:
    """What is damaged of that which is made from the rows, all of which are whole."""
    table = storage.videos
    if not is_searchable(table) or not _finds_all_terms(table):
        yield Damage("full-text index", "It does not find what the rows say.")
    if not _finds_vectors(table):
        yield Damage("vector index", "It does not find the vectors of the rows.")
    if storage.statistics_are_damaged():
        yield Damage("statistics", "They are not those of the rows.")


def find_damage_of_lists(folder: Path) -> Iterator[Damage]:
    """What is damaged of the lists that lie beside the tables."""
    _, num_damaged = read_lines(folder / ERRORS_FILE, "path", "cause")
    if num_damaged:
        yield Damage(ERRORS_FILE, f"{num_damaged} lines cannot be read.")
    if (folder / CONTENTS_FILE).exists() and Contents.read(folder).videos is None:
        yield Damage(CONTENTS_FILE, "It cannot be read.")


def _of_contents(storage: "IndexStorage") -> Iterator[Damage]:
    """Rows of which nothing is there any more."""
    assert storage.folder is not None
    contents = Contents.read(storage.folder)
    if contents.videos is not None and contents.version == storage.videos.version:
        present = set(storage.read(["path"], "segment = 0")["path"].to_pylist())
        if lost := tuple(sorted(set(contents.videos).difference(present))):
            yield Damage("rows", f"The rows of {len(lost)} videos are gone: {', '.join(lost)}.", lost)


def _blocks(row_ids: list[int]) -> Iterator[list[int]]:
    return (row_ids[start : start + ROWS_PER_BLOCK] for start in range(0, len(row_ids), ROWS_PER_BLOCK))


def _damaged(table: "Table", row_ids: Sequence[int]) -> list[int]:
    """Those of some rows of one fragment that are not whole."""
    bad = _judge(table, row_ids)
    if bad is not None:
        return bad
    ends_and_middle = {row_ids[0], row_ids[len(row_ids) // 2], row_ids[-1]}
    if all(_judge(table, [row]) is None for row in ends_and_middle):  # else each would be tried, for minutes
        return list(row_ids)
    half = len(row_ids) // 2
    return [*_damaged(table, row_ids[:half]), *_damaged(table, row_ids[half:])]


def _judge(table: "Table", row_ids: Sequence[int]) -> list[int] | None:
    """Those of some rows that are not whole; `None` if they cannot be read together."""
    metadata = IndexMetadata.from_schema(table.schema)
    columns = [*COLUMNS, CAPTION_VECTORS_COLUMN] if metadata.has_caption_vectors else COLUMNS

    def damaged() -> list[int]:
        rows: pa.Table = table.take_row_ids(list(row_ids)).select(columns).with_row_id().to_arrow()
        pairs = zip(rows["_rowid"].to_pylist(), are_whole(rows, metadata), strict=True)
        whole = {row for row, is_whole in pairs if is_whole}
        return [row for row in row_ids if row not in whole]

    return _unless_damaged(damaged)


def _at_odds(table: "Table", row_ids: list[int]) -> Iterator[int]:
    """Whole rows of files that say different things of the file, or do not reach from its begin to its end."""
    files: dict[str, list[dict[str, Any]]] = {}
    for block in _blocks(row_ids):
        rows = table.take_row_ids(block).select(["path", "segment", "start", "end", *OF_A_FILE]).with_row_id()
        for row in rows.to_arrow().to_pylist():
            files.setdefault(row["path"], []).append(row)
    for rows in files.values():
        if len({tuple(row[name] for name in OF_A_FILE) for row in rows}) > 1 or not has_all_segments(rows):
            yield from (row["_rowid"] for row in rows)


def has_all_segments(rows: list[dict[str, Any]]) -> bool:
    """Whether rows of a file, with `segment`, `end` and `duration`, are all that it has: the last one ends with it."""
    last = max(rows, key=lambda row: row["segment"])
    is_last = math.isclose(last["end"], last["duration"], rel_tol=1e-6)
    return is_last and sorted(row["segment"] for row in rows) == list(range(len(rows)))


def _path_of(table: "Table", row: int) -> str | None:
    """The path of a row, if it can be read and its id says that it is right."""

    def path() -> str | None:
        values = table.take_row_ids([row]).select(["id", "path", "segment"]).to_arrow().to_pylist()[0]
        return values["path"] if row_id(values["path"], values["segment"]) == values["id"] else None

    return _unless_damaged(path)


def _places(row_ids: Sequence[int]) -> str:
    """Where in the table some rows stand, the first few of them."""
    places = [f"row {row & FRAGMENT_MASK} of fragment {row >> FRAGMENT_BITS}" for row in row_ids[:MAX_PLACES]]
    others = len(row_ids) - len(places)
    return ", ".join(places) + (f" and {others} others" if others else "")


def _finds_all_terms(table: "Table") -> bool:
    """Whether the full-text index finds as many rows for a term as have it: tried for some, evenly chosen ones."""
    from lancedb.query import MatchQuery

    match_query: Any = MatchQuery
    texts = [set(text.split()) for text in table.search().select(["term_text"]).to_arrow()["term_text"].to_pylist()]
    counts: dict[str, int] = {}
    for terms in texts:
        for term in terms:
            counts[term] = counts.get(term, 0) + 1
    terms = sorted(counts)

    def finds(term: str) -> bool:
        search = table.search(match_query(term, "term_text"), query_type="fts").select(["_rowid", "_score"])
        return len(search.limit(len(texts)).to_arrow()) == counts[term]

    return _unless_damaged(lambda: all(map(finds, terms[:: len(terms) // MAX_TERMS + 1]))) or False


def _finds_vectors(table: "Table") -> bool:
    """Whether the index of vectors, if there is one, finds some rows by their own."""
    if not has_coarse_index(table):
        return True
    rows = table.search().select(["_rowid", "coarse"]).limit(10).to_arrow().to_pylist()

    def finds(row: dict[str, Any]) -> bool:
        vector = np.array(row["coarse"], np.float32)
        search: Any = table.search(vector, vector_column_name="coarse", query_type="vector")
        search = search.distance_type("cosine").refine_factor(2).select(["_rowid", "_distance"]).limit(10)
        return search.to_arrow()["_distance"].to_numpy().min() < 1e-3

    return _unless_damaged(lambda: all(map(finds, rows))) or False


def _unless_damaged(read: Callable[[], Answer]) -> Answer | None:
    """What is read of an index; `None` if it is so damaged that it says nothing."""
    try:
        return read()
    except Exception as error:
        if not may_be_damage(error):
            raise
        return None
