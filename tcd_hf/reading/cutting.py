"""A part of a video as a file of its own, without decoding it."""

import errno
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tcd_hf.processing.video_decoders import SEEKABLE, PyAVDecoder, open_decoder
from tcd_hf.processing.video_files import Source, VideoReadError, clock_start, open_container
from tcd_hf.reading.object_stores import file_at

__all__ = ["Cut", "cut_out"]

BEFORE = (0, 2, 10, 60, math.inf)  # seconds to go back further, where a seek came out behind the time asked for
EXACT = 1e-6  # seconds, for rounding
SOUND_BEHIND = 2.0  # seconds by which the sound of a time may come after its frames in a file
UNWRITABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class Cut(NamedTuple):
    """A file that was cut out.

    Attributes:
        file (`Path`): MP4, or Matroska where the codec does not go into MP4.
        offset (`float`): seconds of the file before the part that was asked for.
    """

    file: Path
    offset: float


def cut_out(video: str | os.PathLike, start: float, end: float, target: Path) -> Cut:
    """Writes a part of a video, as it is encoded, with its sound.

    The file begins with the key frame before `start`, as players need it: it contains the part, and is longer by less
    than one group of pictures.

    Args:
        video (`str | os.PathLike`): file, or its address in an object store. Of MP4, Matroska and AVI only what is
            needed is read there; of others all, up to twice.
        start, end (`float`): seconds of the video.
        target (`Path`): the file to write, without its ending; its folder must be there. One that is there is replaced.

    Raises:
        VideoReadError: the video cannot be read, or has nothing there.
        OSError: the file cannot be written.
        ImportError: the package for the object store is missing.
    """
    from av.error import FFmpegError

    for ending, container_format in ((".mp4", "mp4"), (".mkv", "matroska")):
        file, part = target.with_name(target.name + ending), target.with_name(f".{target.name}{ending}")
        try:
            offset = _remux(video, start, end, part, container_format)
        except VideoReadError:
            part.unlink(missing_ok=True)
            raise
        except (FFmpegError, ValueError) as error:  # the codec does not go into it
            part.unlink(missing_ok=True)
            number = getattr(error, "errno", None)
            if number in UNWRITABLE:
                raise OSError(number, os.strerror(number), os.fspath(file)) from error
            cause = f"it cannot be cut ({error})"
            continue
        os.replace(part, file)
        return Cut(file, offset)
    raise VideoReadError(os.fspath(video), cause, "Convert it to H.264, or play it where it is")


def _remux(video: str | os.PathLike, start: float, end: float, file: Path, container_format: str) -> float:
    """Returns the seconds from the key frame to the start."""
    with file_at(video) as opened:
        return _remux_opened(os.fspath(video), opened, start, end, file, container_format)


def _remux_opened(name: str, opened: Any, start: float, end: float, file: Path, container_format: str) -> float:
    import av

    container, stream = open_container(Source.locate(opened))
    with container, av.open(str(file), "w", format=container_format) as output:
        streams = [stream, *container.streams.audio[:1]]
        copies = {each.index: output.add_stream_from_template(each) for each in streams}
        clock_zero = clock_start(stream)
        shifts = _shifts(name, container, end)
        begin = None
        last: dict[int, int] = {}  # decoding time of each stream
        for packet in _packets(container, stream, streams, clock_zero + start, clock_zero + end, shifts):
            if begin is None:
                begin = _time(packet.pts, packet)  # a key frame of the video
            if packet.stream is not stream and _time(packet.pts + (packet.duration or 0), packet) <= begin:
                continue  # sound of before
            ticks = round(begin / packet.time_base)
            packet.pts -= ticks
            # Where the clock starts again, what is decoded before it is shown is ahead of what was there.
            before, decoded = last.get(packet.stream.index), packet.dts - ticks
            packet.dts = decoded if before is None else max(decoded, before + 1)
            if packet.pts < packet.dts:
                continue
            last[packet.stream.index] = packet.dts
            packet.stream = copies[packet.stream.index]
            output.mux(packet)
    if begin is None:
        raise VideoReadError(name, f"it shows nothing between {start:.1f} and {end:.1f} s", "Check the times")
    return max(0.0, start - (begin - clock_zero))  # the first frame of a file is also what is shown before it


def _shifts(name: str, container, end: float) -> Any:
    """What to add to the times of the packets of a video whose clock starts again in the middle, see [`PyAVDecoder`].

    All its packets are read to know; not of files with an index, as long as this reaches to `end`.
    """
    indexed = container.format.name in SEEKABLE and (not container.duration or container.duration / 1e6 >= end - 1)
    if indexed:
        return None
    with file_at(name) as opened:  # once more: the container stands somewhere in its own
        decoder = open_decoder(PyAVDecoder, Source.locate(opened), 1)
        decoder.close()
    if decoder.shifts is not None and container.format.name in SEEKABLE:  # Matroska, which keeps no decoding times
        cause = "its clock starts again in the middle, so that it cannot be cut"
        raise VideoReadError(name, cause, "Join its parts anew, for example with mkvmerge")
    return decoder.shifts


def _on_one_axis(packets: Iterator[Any], stream, shifts: Any) -> Iterator[Any]:
    """Packets with times that go on where the clock starts again; those of sound by the video around them."""
    numbers, ticks = itertools.count(), 0
    for packet in packets:
        if packet.stream.index == stream.index and packet.size:
            ticks = int(shifts[min(next(numbers), len(shifts) - 1)])
        added = round(ticks * stream.time_base / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + added
        packet.dts = None if packet.dts is None else packet.dts + added
        yield packet


def _packets(container, stream, streams: list, start: float, end: float, shifts: Any) -> Iterator[Any]:
    """Packets from the last key frame before `start` until `end`, seconds of the file's clock."""
    packets, head = _begin(container, stream, streams, start, shifts)
    latest = max((packet.pts for packet in head if packet.stream.index == stream.index), default=0)
    yield from _with_decoding_times(head)  # whoever takes them changes their times
    all_shown = False
    for packet in packets:
        decoded = _time(packet.pts if packet.dts is None else packet.dts, packet)
        if packet.stream.index != stream.index:
            if packet.dts is not None and decoded <= end:
                yield packet
            elif all_shown:
                return
        elif all_shown or (decoded > end and decoded >= _time(latest, packet)):
            all_shown = True
            if len(streams) == 1 or decoded > end + SOUND_BEHIND:
                return
        elif packet.dts is not None and (decoded <= end or packet.pts < latest):
            if decoded <= end:  # after it only what is shown between the frames that are there already
                latest = max(latest, packet.pts)
            yield packet


def _begin(container, stream, streams: list, start: float, shifts: Any) -> tuple[Iterator[Any], list[Any]]:
    """All packets after a seek, and of these the first ones: from the last key frame before `start` until something
    after it shows that it was the last."""
    can_seek = container.format.name in SEEKABLE and shifts is None
    for before in BEFORE if can_seek else (math.inf,):
        if can_seek:  # in others a seek may come out anywhere
            time = max(0.0, start - before)
            container.seek(int(time / stream.time_base), stream=stream)
        found = container.demux(streams)
        found = found if shifts is None else _on_one_axis(found, stream, shifts)
        packets = (packet for packet in found if packet.pts is not None)
        head: list[Any] = []
        for packet in packets:
            is_video = packet.stream.index == stream.index
            if is_video and packet.is_keyframe and (_time(packet.pts, packet) <= start or not head):
                head = []
            if head or (is_video and packet.is_keyframe):
                head.append(packet)
                if is_video and packet.dts is not None and _time(packet.pts, packet) > start:
                    break
        # A seek goes by decoding times, some of which lie before those of showing.
        if head and _time(head[0].pts, head[0]) <= start + EXACT:
            break
    return packets, head


def _with_decoding_times(packets: list[Any]) -> Iterator[Any]:
    """Matroska keeps none, and those after a seek are not known at once: they are set before the first known one."""
    following: dict[int, Any] = {}
    for packet in reversed(packets):
        after = following.get(packet.stream.index)
        if packet.dts is None:
            duration = packet.duration or 1
            packet.dts = packet.pts if after is None else min(packet.pts, after.dts - duration)
        following[packet.stream.index] = packet
    yield from packets


def _time(ticks: int, packet) -> float:
    return float(ticks * packet.time_base)
