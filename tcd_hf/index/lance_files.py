"""Files of LanceDB whose end tells of more than they hold: reading such a one ends the process, which no error does.

A Lance file ends with the places of two tables, how many entries these have, and its format's version. The reader asks
for memory for as many entries as it is told of, and Rust gives up where there is not so much. (Format:
lance.org/format/file.)
"""

import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["impossible_files"]

# Places of the columns' metadata, of their table and of that of buffers; entries of the latter and of the former.
END = struct.Struct("<QQQIIHH4s")
ENTRY_BYTES = 16
MAGIC = b"LANC"
SINCE = (0, 3)  # the first format that ends so; the ends of others are shorter


def impossible_files(folder: Path) -> Iterator[Path]:
    """The files below a folder whose last bytes cannot be true of a file of their size. Of those that are too short, or
    no Lance files, LanceDB itself says so."""
    return (file for file in sorted(folder.rglob("*.lance")) if file.is_file() and not _may_be_whole(file))


def _may_be_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size < END.size:
            return True
        file.seek(-END.size, 2)
        _, columns, buffers, num_buffers, num_columns, major, minor, magic = END.unpack(file.read())
    if magic != MAGIC or (major, minor) < SINCE:
        return True
    end_of_columns, end_of_buffers = columns + ENTRY_BYTES * num_columns, buffers + ENTRY_BYTES * num_buffers
    return end_of_columns <= buffers and end_of_buffers <= size - END.size
