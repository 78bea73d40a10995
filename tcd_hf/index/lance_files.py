"""Files of LanceDB whose end tells of more than they hold: reading such a one ends the process, which no error does.

A Lance file ends with the places of two tables, how many entries these have, and its format's version. The reader asks
for memory for as many entries as it is told of, and Rust gives up where there is not so much. (Format:
lance.org/format/file.)
"""

import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

__all__ = ["impossible_files"]

# Places of the columns' metadata, of their table and of that of buffers; entries of the latter and of the former.
END = struct.Struct("<QQQIIHH4s")
ENTRY_BYTES = 16
MAGIC = b"LANC"
SINCE = (0, 3)  # the first format that ends so; the ends of others are shorter


def impossible_files(table: Path) -> Iterator[Path]:
    """The files of a table whose last bytes cannot be true of a file of their size. Of those that are too short, or no
    Lance files, LanceDB itself says so. Others may write to the table meanwhile, and remove what is past."""
    for current, _, names in os.walk(table):
        for path in (os.path.join(current, name) for name in sorted(names) if name.endswith(".lance")):
            try:
                status = os.stat(path)
                if not _may_be_whole(path, status.st_size, status.st_mtime_ns):
                    yield Path(path)
            except FileNotFoundError:  # removed since
                continue


@lru_cache(1 << 16)  # files are never written to again
def _may_be_whole(path: str, size: int, modified: int) -> bool:
    if size < END.size:
        return True
    with open(path, "rb") as file:
        file.seek(size - END.size)
        _, columns, buffers, num_buffers, num_columns, major, minor, magic = END.unpack(file.read(END.size))
    if magic != MAGIC or (major, minor) < SINCE:
        return True
    end_of_columns, end_of_buffers = columns + ENTRY_BYTES * num_columns, buffers + ENTRY_BYTES * num_buffers
    return end_of_columns <= buffers and end_of_buffers <= size - END.size
