"""Files that were put one behind the other, of a kind of which FFmpeg reads the first and no more."""

import io
import math
import re
from typing import BinaryIO

from .heartbeat import beat

__all__ = ["REMARKS", "is_ogg_header", "second_file_in", "tell_second_file"]

# The first box of an MP4, of 8 to 4095 bytes: its name alone turns up by chance.
# Frames of JPEG 2000 begin with such a box, too.
MP4_HEAD = rb"\0\0(?:\0[\x08-\xff]|[\x01-\x0f].)ftyp(?!jp)"
# What of the beginning of a file marks it as one of its kind. MPEG streams, AVI, Ogg and GIF are not here: FFmpeg reads
# on into what follows; in Matroska as far as the second file.
MARKS = {
    "matroska,webm": slice(0, 4),
    "flv": slice(0, 4),
    "asf": slice(0, 16),
    "wtv": slice(0, 16),
    "apng": slice(0, 16),
    "rm": slice(0, 8),
    "swf": slice(0, 4),
    "webp": slice(0, 4),
}
# Here FFmpeg takes the second file for frames of the first.
RUN_INTO = {
    "mxf": bytes.fromhex("060e2b34020501010d0102010102"),
    "nut": b"nut/multimedia container\0",
    "ivf": b"DKIF\0\0\x20\0",
}
# Of Ogg, for the decoder and not for it.
SETTINGS, REMARKS = (b"\x80theora", b"\x82theora"), (b"\x81theora", b"OVP80")
PIECE = 1 << 20
LONGEST = 32  # bytes, as long as a mark or longer
MOST_READ = 64 << 20  # bytes: what lies between two files is an index, or some sound


def second_file_in(file: str | BinaryIO, head: bytes, format_name: str, after: int | None = None) -> int | None:
    """
    The byte at which a second file begins behind the first; `None` where none is found.

    Args:
        file (`str` or binary file): where to look; a file object is left where it stands.
        head (`bytes`): how it begins.
        format_name (`str`): of the container, as FFmpeg names it.
        after (`int`, *optional*): a byte near the end of the first: that of its last frame. Without it only those
            containers are searched, from the start on, of which FFmpeg takes the second file for frames of the first.
    """
    if format_name in RUN_INTO:
        mark = re.compile(re.escape(RUN_INTO[format_name]))
    elif after is None:
        return None
    elif format_name.startswith("mov") and head[4:8] == b"ftyp":
        mark = re.compile(MP4_HEAD, re.DOTALL)
    elif format_name in MARKS:
        mark = re.compile(re.escape(head[MARKS[format_name]]))
    else:
        return None
    after, most = (1, math.inf) if after is None else (after, MOST_READ)
    if isinstance(file, str):
        with open(file, "rb") as stream:
            return _find(stream, mark, after, most)
    place = file.tell()
    found = _find(file, mark, after, most)
    file.seek(place)
    return found


def is_ogg_header(packet, codec: str, kinds: tuple[bytes, ...] = SETTINGS + REMARKS) -> bool:
    """Whether a packet of PyAV is what the next file of an Ogg begins with, which FFmpeg takes for frames.

    Args:
        packet: of a stream of video.
        codec (`str`): its name.
        kinds (`tuple[bytes, ...]`): what a header that is meant begins with; frames never begin so.
    """
    return codec in ("theora", "vp8") and packet.size > 0 and bytes(memoryview(packet)[:7]).startswith(kinds)


def tell_second_file(place: int | None) -> str | None:
    """What to say of what [`second_file_in`] found, in words."""
    if place is None:
        return None
    return f"from byte {place} on there is another file, put behind it: split them, or convert them to one"


def _find(stream: BinaryIO, mark: re.Pattern[bytes], after: int, most: float) -> int | None:
    if not 0 <= after < stream.seek(0, io.SEEK_END):  # as a broken index says
        return None
    stream.seek(after)
    place, rest = after, b""
    while place < after + most and (piece := stream.read(PIECE)):
        beat()
        if found := mark.search(rest + piece):
            return place - len(rest) + found.start()
        place, rest = place + len(piece), piece[-LONGEST:]
    return None
