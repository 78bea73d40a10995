"""Files that were put one behind the other, of a kind of which FFmpeg reads the first and no more."""

import io
import re
from typing import BinaryIO

__all__ = ["second_file_in"]

# The first box of an MP4, of 8 to 4095 bytes: its name alone turns up by chance.
MP4_HEAD = rb"\0\0(?:\0[\x08-\xff]|[\x01-\x0f].)ftyp"
# What of the beginning of a file marks it as one of its kind. MPEG streams, AVI, Ogg and GIF are not here: FFmpeg reads
# on into what follows; in Matroska as far as the second file.
MARKS = {
    "matroska,webm": slice(0, 4),
    "flv": slice(0, 4),
    "asf": slice(0, 16),
    "wtv": slice(0, 16),
    "apng": slice(0, 16),
    "rm": slice(0, 8),
}
PIECE = 1 << 20
LONGEST = 16  # bytes, of a mark
MOST_READ = 64 << 20  # bytes: what lies between two files is an index, or some sound


def second_file_in(file: str | BinaryIO, head: bytes, format_name: str, after: int) -> str | None:
    """
    What to say of a second file behind the first, in words; `None` where there is none.

    Args:
        file (`str` or binary file): where to look; a file object is left where it stands.
        head (`bytes`): how it begins.
        format_name (`str`): of the container, as FFmpeg names it.
        after (`int`): a byte near the end of the first: that of its last frame.
    """
    if format_name.startswith("mov") and head[4:8] == b"ftyp":
        mark = re.compile(MP4_HEAD, re.DOTALL)
    elif format_name in MARKS:
        mark = re.compile(re.escape(head[MARKS[format_name]]))
    else:
        return None
    if isinstance(file, str):
        with open(file, "rb") as stream:
            found = _find(stream, mark, after)
    else:
        place = file.tell()
        found = _find(file, mark, after)
        file.seek(place)
    if found is None:
        return None
    return f"from byte {found} on there is another file, put behind it: split them, or convert them to one"


def _find(stream: BinaryIO, mark: re.Pattern[bytes], after: int) -> int | None:
    if not 0 <= after < stream.seek(0, io.SEEK_END):  # as a broken index says
        return None
    stream.seek(after)
    place, rest = after, b""
    while place < after + MOST_READ and (piece := stream.read(PIECE)):
        if found := mark.search(rest + piece):
            return place - len(rest) + found.start()
        place, rest = place + len(piece), piece[-LONGEST:]
    return None
