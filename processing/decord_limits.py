"""What decord reads wrongly, or dies of: asked before it gets a file."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from .heartbeat import beat
from .packets import Packets
from .timelines import join_parts
from .video_files import Source, clock_start
from .video_streams import has_alpha, keeps_decoding_times, several_videos

__all__ = ["DECORD_MAX_TIME", "SEEKABLE", "SKIPPING", "TOO_LATE", "cut_off", "misread_by_decord", "refused_by_header"]

# decord keeps times in float32, counted from the clock's zero: until here, in seconds, they err by less than 0.25 ms.
# Files that go on longer or start their clock late (broadcasts, the time of day) are PyAV's.
DECORD_MAX_TIME = 2.0**13
ALPHA = "decord leaves out what is transparent"
TOO_LATE = "decord does not keep times as late as those of this file apart"
# Containers whose index leads to a frame reliably; the others are read from the start on, by PyAV.
SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")
# Decoders that can be told from packet to packet what to pass over; that of AV1 asks once, when it is opened.
SKIPPING = ("h264", "hevc", "mpeg4", "mpeg2video")


def refused_by_header(container, stream, source: Source) -> str | None:
    """Why a file is not for decord, by what its header says."""
    if stream.frames > source.size:
        return f"its header lies, of {stream.frames} frames in {source.size} bytes"
    if container.format.name not in SEEKABLE or _is_fragmented(container, stream):
        return f"decord can return wrong frames of such a file ({container.format.name})"
    return TOO_LATE if _late_time(container, stream) > DECORD_MAX_TIME else None


def cut_off(stream, source: Source, duration: float) -> str | None:
    """What to say of a file whose index points past its end (MP4), or that promised to last longer (Matroska) than the
    seconds that it has."""
    index = stream.index_entries
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    hours, minutes, seconds = map(float, tag.groups()) if tag else (0, 0, 0)
    promised = hours * 3600 + minutes * 60 + seconds - clock_start(stream)
    if (len(index) and index[-1].pos + index[-1].size > source.size) or promised > duration + 0.5:
        return f"it is cut off, after {duration:.1f} seconds"
    return None


def misread_by_decord(
    container, stream, source: Source, errors: tuple[type[Exception], ...]
) -> tuple[str | None, Packets | None]:
    """
    Why a file is not for decord, by its streams, times and keyframes, `None` where nothing speaks against it; and its
    packets, if all were read.

    Args:
        container, stream: opened by PyAV. They are read to the end: the file is to be a short one.
        source: the file.
        errors: what PyAV raises where the file is broken.
    """
    if several_videos(container):
        return "decord chooses for itself which video of a file it reads", None
    if has_alpha(stream):
        return ALPHA, None
    causes: list[str] = []
    try:
        packets = Packets.read(_looked_at(container, stream, errors, causes), stream, errors)
    except errors:
        return "it breaks off", None
    return next(chain(causes, _causes(container, stream, source, packets)), None), packets


def _looked_at(container, stream, errors: tuple[type[Exception], ...], causes: list[str]) -> Iterator[Any]:
    """The packets, looked at until there is a cause: which are cut off, and whether the size of the picture changes."""
    size = stream.codec_context.width, stream.codec_context.height
    told = "decord shows pictures of all sizes in that of the first, and cannot be told of a largest one"
    stream.codec_context.skip_frame = "NONKEY"  # sizes change where decoding can start anew
    for packet in container.demux(stream):
        beat()
        if packet.is_discard and not causes:
            causes.append("decord counts frames that the file's edit list cuts off")
        if not causes and _sizes(stream.codec_context, packet, errors) - {size}:
            causes.append(told)
        yield packet


def _causes(container, stream, source: Source, packets: Packets) -> Iterator[str]:
    if packets.bring_alpha:
        yield ALPHA
    is_known = np.array([time is not None for time in packets.pts], dtype=bool)
    times = np.array([time for time in packets.pts if time is not None], dtype=np.int64)
    if len(times) == 0:
        return
    # Opening what is cut off, decord ends the process once in a thousand times.
    if cause := cut_off(stream, source, (times.max() - times.min()) * float(stream.time_base)):
        yield cause
    if keeps_decoding_times(container, stream, times):
        yield "it does not say when its frames are shown"
    lasts, in_order = np.ones(len(times), dtype=np.int64), not stream.codec_context.has_b_frames
    if join_parts(times, lasts, packets.is_key[is_known], in_order) is not None:
        yield "its clock starts again in the middle"
    if packets.hold_fields:
        yield "decord takes each field of its interlaced frames for one"


def _sizes(codec, packet, errors: tuple[type[Exception], ...]) -> set[tuple[int, int]]:
    """Widths and heights of the keyframes that a packet brings out; an unknown one where it cannot be decoded, maybe
    as it is too large."""
    if not (packet.is_keyframe or packet.size == 0 or codec.name in SKIPPING):  # the last packet is empty
        return set()
    try:
        sizes = {(frame.width, frame.height) for frame in packet.decode()}
    except errors:
        return {(0, 0)}
    return sizes | {(codec.width, codec.height)}  # H.264 keeps silent of a frame that it cannot take


def _late_time(container, stream) -> float:
    """Where the file's clock ends or, with a container that counts its duration from the first frame, starts (s)."""
    microseconds = max(abs(container.start_time or 0), container.duration or 0)
    return max(microseconds / 1e6, abs(clock_start(stream)))


def _is_fragmented(container, stream) -> bool:
    """Whether an MP4 has no index of the whole: decord was seen to miss frames there."""
    return container.format.name.startswith("mov") and stream.frames < len(stream.index_entries)
