"""Single frames of clips, however long these are."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tcd_hf.app.library import Clip
from tcd_hf.processing.video_files import ANY_PIXELS, Source, lasting_backend, open_container, upright_pixels
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.video_streams import keeps_decoding_times

__all__ = ["frames_at"]

SOUGHT_SECONDS = 120.0  # from which duration on a frame is sought: of shorter files all packets are soon read
TOLERANCE = 1e-3  # seconds: times in links have three decimals
SHORTER = 0.5  # seconds by which a file says to be shorter than it is where its clock starts again in the middle


def frames_at(clip: Clip, times: Sequence[float], max_side: int) -> Iterator[np.ndarray]:
    """Yields the frames that are on screen at some times, as [`open_video`] gives them.

    That reads the times of all frames first, and so the whole file. In a long one each frame is sought: the file is
    read from the key frame before it on. Frames may be of any size: whoever indexed the clip has allowed it.

    Args:
        clip ([`Clip`]): the clip.
        times (`Sequence[float]`): seconds.
        max_side (`int`): most pixels of the longer side; frames are never enlarged.

    Yields:
        `np.ndarray`, RGB uint8 `(height, width, 3)`.

    Raises:
        VideoReadError: the file is lost or broken.
    """
    found = [_seek(clip, seconds) for seconds in times] if clip.duration >= SOUGHT_SECONDS else [None]
    sought = [frame for frame in found if frame is not None]
    if len(sought) == len(found):
        for frame in sought:
            with open_video(frame[None]) as picture:
                yield from picture.iter_frames_at([0.0], max_side)
    else:
        with open_video(clip.path, backend=lasting_backend(), num_threads=1, max_pixels=ANY_PIXELS) as video:
            yield from video.iter_frames_at(times, max_side)


def _seek(clip: Clip, seconds: float) -> np.ndarray | None:
    """The frame, by PyAV; `None` where that is not installed, or the file cannot be sought in."""
    try:
        from av.error import FFmpegError
    except ImportError:
        return None
    try:
        container, stream = open_container(Source.locate(clip.path, ANY_PIXELS))
        with container:
            if stream.start_time is None or not _keeps_time(container, stream, clip.duration):
                return None
            wanted = stream.start_time + int((seconds + TOLERANCE) / stream.time_base)
            container.seek(wanted, stream=stream)
            shown = _last_frame_before(container, stream, wanted)
            if shown is None:
                return None
            return upright_pixels(shown)
    except (FFmpegError, OSError, ValueError):
        return None


def _keeps_time(container: Any, stream: Any, duration: float) -> bool:
    """Whether the times of a file are those of its video: of one clock, and those of showing."""
    says = container.duration / 1e6 if container.duration else duration
    return says >= duration - SHORTER and not keeps_decoding_times(container, stream, np.array([]))


def _last_frame_before(container: Any, stream: Any, wanted: int) -> Any:
    """The last frame that appears at or before a time, in ticks of the stream, from where the container stands."""
    stream.codec_context.thread_count = 1
    shown = None
    for packet in container.demux(stream):
        for frame in packet.decode():
            if frame.pts is None or (frame.pts > wanted and shown is None):
                return None
            if frame.pts > wanted:
                return shown
            shown = frame
    return shown
