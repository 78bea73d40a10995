"""Damage that knows where a container keeps its numbers."""

import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "avi",
    "matroska",
    "mp4_boxes",
    "mp4_counts",
    "mp4_pictures",
    "mp4_size",
    "mp4_tables",
    "mp4_times",
    "ts_packets",
]

ODD_NUMBERS = (0, 1, 2, 0x7FFF, 0xFFFF, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
ODD_SIZES = (0, 1, 15, 8192, 16000, 32768, 65535)  # of pictures, pixels
TS_PACKET = 188


def _with(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


# MP4 ------------------------------------------------------------------------------------------------------------------
class Box(NamedTuple):
    """A box of an MP4: its kind, and where it begins, its content begins, and it ends."""

    kind: bytes
    begin: int
    body: int
    end: int


MP4_FOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"moof", b"traf", b"mvex", b"dinf"}
# Where the number of entries stands in a table's body, where the first entry does, and the numbers of each.
MP4_TABLES = {
    b"stts": (4, 8, 2),
    b"stsc": (4, 8, 3),
    b"stsz": (8, 12, 1),
    b"stco": (4, 8, 1),
    b"stss": (4, 8, 1),
    b"ctts": (4, 8, 2),
    b"stsd": (4, 8, 2),
    b"trun": (4, 8, 2),
}
MP4_TIMES = {b"mvhd": (12, 16), b"mdhd": (12, 16), b"tkhd": (20,), b"elst": (4, 8, 12), b"tfdt": (4,), b"mehd": (4,)}


def _boxes(content: bytes, begin: int = 0, end: int | None = None) -> Iterator[Box]:
    end = len(content) if end is None else end
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, begin)
        if size < 8 or begin + size > end:
            return
        yield Box(kind, begin, begin + 8, begin + size)
        if kind in MP4_FOLDERS:
            yield from _boxes(content, begin + 8, begin + size)
        begin += size


def _odd_u32(rng: random.Random, near: int) -> bytes:
    return struct.pack(">I", rng.choice([*ODD_NUMBERS, near + 1, near * 1000 % 2**32, rng.randrange(2**32)]))


def mp4_tables(rng: random.Random, content: bytes) -> bytes:
    """A table says that it has more entries than it has, or fewer, or an entry is changed."""
    box = rng.choice([box for box in _boxes(content) if box.kind in MP4_TABLES])
    count_at, first, width = MP4_TABLES[box.kind]
    place = box.body + count_at
    (count,) = struct.unpack_from(">I", content, place)
    if rng.random() < 0.5 and box.body + first + 4 <= box.end:
        place = box.body + first + 4 * rng.randrange(max(1, min(count * width, (box.end - box.body - first) // 4)))
    return _with(content, place, _odd_u32(rng, count))


def mp4_counts(rng: random.Random, content: bytes) -> bytes:
    """A table says that it is much longer than it is, or that its first entry stands for very many samples."""
    box = rng.choice([box for box in _boxes(content) if box.kind in (b"stts", b"ctts", b"stsc", b"stsz", b"stco")])
    count_at, first, width = MP4_TABLES[box.kind]
    at = first if width == 2 else rng.choice([count_at, first])
    return _with(content, box.body + at, struct.pack(">I", rng.choice([10**6, 10**8, 2**31 - 1, 2**31, 2**32 - 1])))


def mp4_boxes(rng: random.Random, content: bytes) -> bytes:
    """A box says that it is longer or shorter than it is, or is of another kind, or is missing."""
    box = rng.choice([box for box in _boxes(content) if box.kind != b"ftyp"])
    what = rng.randrange(4)
    if what == 0:
        return content[: box.begin] + content[box.end :]
    if what == 1:
        return _with(content, box.begin + 4, rng.choice([b"free", b"moov", b"mdat", b"trak", b"\0\0\0\0"]))
    size = box.end - box.begin
    return _with(content, box.begin, struct.pack(">I", rng.choice([0, 1, 7, 8, size - 1, size + 8, 2**31, 2**32 - 1])))


def mp4_times(rng: random.Random, content: bytes) -> bytes:
    """Durations, time scales and edit lists that cannot be."""
    box = rng.choice([box for box in _boxes(content) if box.kind in MP4_TIMES])
    return _with(content, box.body + rng.choice(MP4_TIMES[box.kind]), _odd_u32(rng, 1000))


def mp4_size(rng: random.Random, content: bytes) -> bytes:
    """Another size of pictures in the track's head, in that of the codec, or other settings of the codec."""
    box = rng.choice([box for box in _boxes(content) if box.kind in (b"tkhd", b"stsd")])
    if box.kind == b"tkhd":
        return _with(content, box.end - 8, struct.pack(">HHHH", rng.choice(ODD_SIZES), 0, rng.choice(ODD_SIZES), 0))
    entry = box.body + 8
    if rng.random() < 0.5:
        return _with(content, entry + 32, struct.pack(">HH", rng.choice(ODD_SIZES), rng.choice(ODD_SIZES)))
    place = rng.randrange(min(entry + 86, box.end - 1), box.end)
    return _with(content, place, bytes([content[place] ^ 1 << rng.randrange(8)]))


def mp4_pictures(content: bytes) -> tuple[int, int]:
    """Where the largest `mdat` begins and ends: that is where pictures are."""
    box = max((box for box in _boxes(content) if box.kind == b"mdat"), key=lambda box: box.end - box.body)
    return box.body, box.end


# Matroska -------------------------------------------------------------------------------------------------------------
class Element(NamedTuple):
    """An element of a Matroska file: its number, and where its size, its body and what follows it begin."""

    number: int
    size: int
    body: int
    end: int


MATROSKA_FOLDERS = {0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x1549A966, 0x1F43B675, 0x1C53BB6B, 0x114D9B74, 0xA0, 0xBB}


def _elements(content: bytes, begin: int = 0, end: int | None = None) -> Iterator[Element]:
    end = len(content) if end is None else end
    while begin < end:
        size_at = begin + _vint_length(content[begin])
        if size_at >= end:
            return
        length = _vint_length(content[size_at])
        number = int.from_bytes(content[begin:size_at], "big")
        size = int.from_bytes(content[size_at : size_at + length], "big") & (1 << 7 * length) - 1
        body = size_at + length
        after = end if size == (1 << 7 * length) - 1 else min(end, body + size)  # unknown: to the end
        yield Element(number, size_at, body, after)
        if number in MATROSKA_FOLDERS:
            yield from _elements(content, body, after)
        begin = after


def _vint_length(first: int) -> int:
    return 9 - first.bit_length() if first else 8


def matroska(rng: random.Random, content: bytes) -> bytes:
    """An element says that it is longer or shorter than it is, or a number in one is another."""
    element = rng.choice(list(_elements(content)))
    if rng.random() < 0.5:
        length = element.body - element.size
        most = (1 << 7 * length) - 1
        size = rng.choice([0, 1, most - 1, most, (element.end - element.body + 1) % most, most // 2])
        return _with(content, element.size, (size | 1 << 7 * length).to_bytes(length, "big"))
    length = min(8, max(1, element.end - element.body))
    return _with(content, element.body, rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)]))


# AVI ------------------------------------------------------------------------------------------------------------------
def _chunks(content: bytes, begin: int = 0, end: int | None = None) -> Iterator[Box]:
    end = len(content) if end is None else end
    while begin + 8 <= end:
        kind, size = struct.unpack_from("<4sI", content, begin)
        after = min(end, begin + 8 + size)
        yield Box(kind, begin, begin + 8, after)
        if kind in (b"RIFF", b"LIST"):
            yield from _chunks(content, begin + 12, after)
        begin = after + size % 2


def avi(rng: random.Random, content: bytes) -> bytes:
    """A number in the heads or in the index is another, or a chunk's length is."""
    chunks = list(_chunks(content))
    tables = [chunk for chunk in chunks if chunk.kind in (b"avih", b"strh", b"strf", b"idx1", b"indx")]
    odd = struct.pack("<I", rng.choice([*ODD_NUMBERS, rng.randrange(2**32)]))
    if rng.random() < 0.3:
        return _with(content, rng.choice(chunks).begin + 4, odd)
    chunk = rng.choice(tables)
    return _with(content, chunk.body + 4 * rng.randrange(max(1, (chunk.end - chunk.body) // 4)), odd)


# MPEG transport streams -----------------------------------------------------------------------------------------------
def ts_packets(rng: random.Random, content: bytes) -> bytes:
    """Packets are lost, stand in another order or twice, belong to others, or begin elsewhere."""
    packets = [content[place : place + TS_PACKET] for place in range(0, len(content), TS_PACKET)]
    what = rng.randrange(5)
    if what == 0:
        share = rng.choice([0.02, 0.2, 0.6])
        packets = [packet for packet in packets if rng.random() > share]
    elif what == 1:
        rng.shuffle(packets)
    elif what == 2:
        packets = [packet for packet in packets for _ in range(rng.choice([1, 1, 2]))]
    elif what == 3:
        for number in rng.sample(range(len(packets)), len(packets) // 5):
            packets[number] = _with(packets[number], 1, rng.randbytes(3))  # flags, stream and counter
    else:
        for number in rng.sample(range(len(packets)), 3):
            packets[number] = packets[number][rng.randrange(1, TS_PACKET) :]
    return b"".join(packets)
