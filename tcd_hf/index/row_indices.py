"""What LanceDB finds rows of an index by: a full-text index of their terms, an approximate one of their vectors."""

from typing import TYPE_CHECKING, Any

from tcd_hf.index.damage import may_be_damage
from tcd_hf.index.metadata import COARSE_COLUMN

if TYPE_CHECKING:
    from lancedb.table import Table

__all__ = [
    "COARSE_COLUMN",
    "LARGE_TABLE",
    "REFINE_FACTOR",
    "TEXT_COLUMN",
    "bytes_in_memory",
    "create_coarse_index",
    "create_text_index",
    "has_coarse_index",
    "is_searchable",
    "parts_to_search",
]

TEXT_COLUMN = "term_text"
# Rows from which on indices take minutes to be made, and vectors seconds to be read: both are done in the background.
LARGE_TABLE = 200_000
ROWS_PER_PART = 8192  # of the index of vectors
# Parts, of so many rows, that a search looks into. A text is far from all vectors, so that its neighbours lie in many
# parts; a query that is near to some would need fewer. Of 1.2 million rows so many find .99 of the 50 exact neighbours,
# of 12 million five times as many do; in between and beyond nothing was measured.
PARTS, OF_ROWS, GROWTH, LEAST_PARTS = 88, 1_200_000, 0.7, 20
REFINE_FACTOR = 2  # the index rounds vectors: so many times the vectors asked for are compared as they are


def create_text_index(table: "Table") -> None:
    """Makes the full-text index anew. Rows added later are found without it, one by one, until it is made again."""
    from lancedb.index import FTS

    # The column holds terms, cut and normalised: the index takes them as they are.
    plain: dict[str, Any] = dict.fromkeys(("stem", "remove_stop_words", "lower_case", "ascii_folding"), False)
    config = FTS(base_tokenizer="whitespace", max_token_length=None, **plain)
    table.create_index(TEXT_COLUMN, config=config, replace=True)


def is_searchable(table: "Table") -> bool:
    """Whether the full-text index finds a row by a term of it; there is nothing to find in an empty table."""
    from lancedb.query import MatchQuery

    rows = table.search().select([TEXT_COLUMN]).where("has_text").limit(1).to_arrow()[TEXT_COLUMN].to_pylist()
    match_query: Any = MatchQuery
    for term in rows and rows[0].split()[:1]:
        try:
            found = table.search(match_query(term, TEXT_COLUMN), query_type="fts").select(["_rowid", "_score"]).limit(1)
            return len(found.to_arrow()) == 1
        except Exception as error:
            if not may_be_damage(error):
                raise
            return False
    return True


def create_coarse_index(table: "Table") -> None:
    """Makes the approximate index of the coarse vectors anew, which is searched where they are not in memory.

    In parts, of int8: queries of texts are far from all vectors, and what they are nearest to is found so, while codes
    of products and of bits lose it, and a graph that is followed far enough takes twenty times the work to make.
    """
    from lancedb.index import IvfSq

    table.create_index(
        COARSE_COLUMN, config=IvfSq(distance_type="cosine", target_partition_size=ROWS_PER_PART), replace=True
    )


def parts_to_search(num_rows: int) -> int:
    """How many parts of the index of vectors a search looks into, of a table of so many rows."""
    return max(LEAST_PARTS, round(PARTS * (num_rows / OF_ROWS) ** GROWTH))


def has_coarse_index(table: "Table") -> bool:
    """Whether there is such an index, of however many of the rows."""
    return any(index.columns == [COARSE_COLUMN] for index in table.list_indices())


def bytes_in_memory(num_rows: int, dim: int) -> int:
    """What the coarse vectors of so many rows take: `Recall` holds them in float32 and in float16."""
    return num_rows * dim * (4 + 2)
