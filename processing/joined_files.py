"""Files that were put one behind the other, of a kind of which FFmpeg reads the first and no more."""

import io
from typing import BinaryIO

__all__ = ["second_file_in"]

# What of the beginning of a file marks it as one of its kind. MPEG streams, AVI, Ogg and GIF are not here: FFmpeg reads
# on into what follows; in Matroska as far as the second file.
MARKS = {
    "mov,mp4,m4a,3gp,3g2,mj2": slice(4, 8),
    "matroska,webm": slice(0, 4),
    "flv": slice(0, 4),
    "asf": slice(0, 16),
    "wtv": slice(0, 16),
    "apng": slice(0, 16),
    "rm": slice(0, 8),
}
PIECE = 1 << 20
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
    mark = head[MARKS[format_name]] if format_name in MARKS else b""
    if not mark or (format_name.startswith("mov") and mark != b"ftyp"):
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


def _find(stream: BinaryIO, mark: bytes, after: int) -> int | None:
    if not 0 <= after < stream.seek(0, io.SEEK_END):  # as a broken index says
        return None
    stream.seek(after)
    place, rest = after, b""
    while place < after + MOST_READ and (piece := stream.read(PIECE)):
        if (found := (rest + piece).find(mark)) >= 0:
            return place - len(rest) + found
        place, rest = place + len(piece), piece[-len(mark) :]
    return None
