"""Video whose pictures are fields, each in a packet of its own, as broadcasters send it.

No encoder here makes such H.264: every macroblock is sent as it is (I_PCM), grey, a stream that can be written down in
some lines. HEVC is that of x265.
"""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

START = b"\0\0\0\1"
DELIMITER = START + b"\x09\x10"  # begins a picture
I_SLICE, I_PCM = 7, 25
GREY = bytes([128]) * 128  # both colors of a macroblock


class Bits:
    """The bits of a unit: numbers of a given length, and Exp-Golomb codes."""

    def __init__(self):
        self.bits: list[int] = []

    def put(self, *codes: int | tuple[int, int]) -> "Bits":
        """Numbers as Exp-Golomb codes; pairs `(length, number)` as they are."""
        for code in codes:
            length, number = code if isinstance(code, tuple) else (2 * (code + 1).bit_length() - 1, code + 1)
            self.bits += [(number >> place) & 1 for place in reversed(range(length))]
        return self

    def align(self) -> "Bits":
        self.bits += [0] * (-len(self.bits) % 8)
        return self

    def raw(self, content: bytes) -> "Bits":
        self.bits += np.unpackbits(np.frombuffer(content, np.uint8)).tolist()
        return self

    def unit(self, kind: int) -> bytes:
        """The unit, in which no three bytes look like the start of one."""
        content, zeros = bytearray(), 0
        for byte in np.packbits(self.put((1, 1)).align().bits).tobytes():
            if zeros >= 2 and byte <= 3:
                content.append(3)
                zeros = 0
            content.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return START + bytes([kind]) + bytes(content)


def write_fields(path: str | os.PathLike, frames: Sequence[np.ndarray], fps: int) -> Path:
    """Writes frames, sides multiples of 16 and 32, as pairs of fields: into a container, or bare as `.h264`."""
    path = Path(path)
    height, width = frames[0].shape[:2]
    flag = (1, 0)
    sizes = width // 16 - 1, height // 32 - 1
    sequence = Bits().put((8, 77), (8, 0), (8, 30), 0, 0, 2, 1, flag, *sizes, flag, flag, (1, 1), flag, flag)
    picture = Bits().put(0, 0, flag, flag, 0, 0, 0, flag, (2, 0), 0, 0, 0, flag, flag, flag)
    headers = sequence.unit(0x67) + picture.unit(0x68)
    stream = b"".join(
        DELIMITER + headers + _field(luma[0::2], number, 0) + DELIMITER + _field(luma[1::2], number, 1)
        for number, luma in enumerate(np.clip(frame[..., 0], 16, 235) for frame in frames)
    )
    bare = path.with_suffix(".h264")
    bare.write_bytes(stream)
    if path != bare:
        _put_into_container(bare, path, 2 * fps)
        bare.unlink()
    return path


def _field(luma: np.ndarray, number: int, bottom: int) -> bytes:
    bits = Bits().put(0, I_SLICE, 0, (4, 0), (1, 1), (1, bottom))
    bits.put((1, 0)) if bottom else bits.put(number % 2, (2, 0))
    bits.put(0)
    for row in range(0, luma.shape[0], 16):
        for column in range(0, luma.shape[1], 16):
            block = np.ascontiguousarray(luma[row : row + 16, column : column + 16])
            bits.put(I_PCM).align().raw(block.tobytes() + GREY)
    return bits.unit(0x61 if bottom else 0x65)


def _put_into_container(bare: Path, path: Path, fields_per_second: int) -> None:
    with av.open(str(bare)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        packets = (packet for packet in source.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            packet.time_base = Fraction(1, fields_per_second)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.stream = stream
            container.mux(packet)


def write_hevc_fields(
    path: str | os.PathLike, frames: Sequence[np.ndarray], fps: int, bottom_first: bool = False
) -> Path:
    """Writes frames as pairs of fields, without loss but for the colors."""
    order = "bff" if bottom_first else "tff"
    parameters = f"interlace={order}:keyint=16:lossless=1:log-level=none"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=2 * fps, options={"x265-params": parameters})
        height, stream.width = frames[0].shape[:2]
        stream.height, stream.pix_fmt = height // 2, "yuv420p"
        for frame in frames:
            for first_line in (1, 0) if bottom_first else (0, 1):
                lines = np.ascontiguousarray(frame[first_line::2])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(lines, format="rgb24")))
        container.mux(stream.encode())
    return Path(path)
