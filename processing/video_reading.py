"""
Reads frames at given times from anything that is a video: files, bytes, arrays, lists of images.

`decord` decodes short files on disk; PyAV long ones, those in memory, and those that decord cannot be trusted with or
fails at. Both give the same frames bit for bit: the frame for a time is the one on screen at that time, turned upright
by the file's rotation metadata, and reduced by one resize path that knows nothing of the reader. One full-size frame is
held at a time.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from PIL import Image

from .heartbeat import beat
from .picture_files import ImageDecoder, PictureDecoder, TorchcodecDecoder, is_webp
from .video_decoders import (
    DecodeError,
    Decoder,
    DecordDecoder,
    LeftToPyAV,
    PyAVDecoder,
    open_decoder,
)
from .video_files import COPY_AGAIN, MAX_PIXELS, Source, VideoReadError, has_pyav
from .video_inputs import VideoInput, unwrap

__all__ = ["Video", "VideoReadError", "open_video", "opened_video"]


def open_video(
    video: "VideoInput | Video",
    fps: float | None = None,
    backend: str = "auto",
    num_threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> "Video":
    """
    Opens a video for reading frames at given times.

    Args:
        video (`str`, `os.PathLike`, `bytes`, binary file, `np.ndarray`, `torch.Tensor`, list of frames, `dict`,
            `torchcodec.decoders.VideoDecoder` or [`Video`]):
            What to read. Arrays and tensors are RGB, `(frames, height, width, 3)` or `(frames, 3, height, width)`,
            uint8 or floats in [0, 1]; frames are such without the first dimension, or PIL images. A dictionary is what
            the `Video` column of datasets holds, `{"path": ..., "bytes": ...}`, or `{"array": frames, "video_metadata":
            {"fps": ...}}`. A file object is read from its start and left open. A [`Video`] is returned as it is.
            Nothing is downloaded.
        fps (`float`, *optional*):
            Frames per second of an array or a list of frames, 1.0 by default: a frame counts as a second. Files and
            decoders have their own and refuse it.
        backend (`str`, *optional*, defaults to `"auto"`):
            `"decord"` or `"pyav"` use that reader and no other, but PyAV stands in for decord, with its times, for
            files in memory, which decord dies of where they are damaged, and for long ones: it decodes ahead into
            memory as far as a file goes, where not all frames would fit in 256 MiB. `"auto"` takes decord, and PyAV
            where decord is not installed, cannot be trusted with the file or fails, even half-way. Animated WebP is
            Pillow's, whatever is asked.
        num_threads (`int`, *optional*, defaults to 0):
            Decoding threads; 0 leaves it to the reader, which takes all cores. Use 1 in worker processes, as in
            `datasets.map(num_proc=...)`.
        max_pixels (`int`, *optional*, defaults to 2^26):
            Pixels that a frame may have, width times height: one of 2^26 takes 200 MB, and some more while it is
            decoded. Files and images with larger ones are refused, if need be half-way; arrays are in memory already.

    Returns:
        [`Video`], a context manager.

    Raises:
        `VideoReadError` (a `ValueError`): the file is missing, empty, broken, no regular file or no video, its frames
            are too large, or its file object fails; or it is an address (`https://`).
        `ValueError`: an array of another shape, dtype or range, `fps`, `num_threads` or `max_pixels` out of range, an
            unknown `backend`.
        `TypeError`: `video` is none of the types above; `fps`, `num_threads` or `max_pixels` is no number.
        `ImportError`: the reader asked for is not installed, or with `"auto"` none is.
    """
    if isinstance(video, Video):
        return video
    if backend not in ("auto", "decord", "pyav"):
        raise ValueError(f"`backend` must be 'auto', 'decord' or 'pyav', got {backend!r}.")
    for name, value in (("num_threads", num_threads), ("max_pixels", max_pixels)):
        if not isinstance(value, Integral):
            raise TypeError(f"`{name}` must be a whole number, got {value!r}.")
    if fps is not None and not isinstance(fps, Real):
        raise TypeError(f"`fps` must be a number of frames per second, got {fps!r}.")
    if num_threads < 0:
        raise ValueError(f"`num_threads` must be 0 (the reader decides) or more, got {num_threads}.")
    if max_pixels < 1:
        raise ValueError(f"`max_pixels` must be 1 or more, got {max_pixels}.")
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"`fps` must be positive, got {fps}.")
    given, own_fps = unwrap(video)
    if _is_frames(given):
        name = "<array>" if isinstance(given, np.ndarray) else "<images>"
        return Video(name, ImageDecoder(given, own_fps or fps, max_pixels))
    source = None if hasattr(given, "get_frame_played_at") else Source.locate(given, max_pixels)
    if fps is not None:
        name = source.name if source else type(given).__name__
        raise ValueError(f"`fps` is for arrays and lists of frames; {name!r} has its own, leave it out.")
    if source is None:
        return Video("<decoder>", TorchcodecDecoder(given, max_pixels))
    if is_webp(source.head):
        return Video(source.name, open_decoder(PictureDecoder, source, num_threads))
    pyav = partial(open_decoder, PyAVDecoder, source, num_threads)
    if backend == "pyav":
        return Video(source.name, pyav())
    try:
        decoder = open_decoder(DecordDecoder, source, num_threads)
    except LeftToPyAV as error:
        return Video(source.name, pyav(in_place_of_decord=True, packets=error.packets))
    except (ImportError, VideoReadError) as error:
        if backend == "decord" or (isinstance(error, VideoReadError) and not has_pyav()):
            raise
        return Video(source.name, pyav(packets=getattr(error.__cause__, "packets", None)))
    return Video(source.name, decoder, fallback=pyav if backend == "auto" and has_pyav() else None)


@contextlib.contextmanager
def opened_video(
    video: "VideoInput | Video",
    fps: float | None = None,
    backend: str = "auto",
    num_threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Iterator["Video"]:
    """Does as [`open_video`], but a [`Video`] that is given open stays open, and `fps` is ignored for files."""
    unwrapped, own_fps = unwrap(video)
    fps = own_fps or fps if _is_frames(unwrapped) else None  # files have their own
    opened = open_video(unwrapped, fps=fps, backend=backend, num_threads=num_threads, max_pixels=max_pixels)
    try:
        yield opened
    finally:
        if opened is not video:
            opened.close()


def _is_frames(video: Any) -> bool:
    return isinstance(video, np.ndarray | list)


class Video:
    """
    An open video. Made by [`open_video`], closed by leaving its `with` block or by `close()`.

    Attributes:
        name (`str`): the path, or `"<bytes>"`, `"<array>"`, ...
        backend (`str`): the reader in use, `"decord"`, `"pyav"`, `"pillow"` or `"memory"`.
        num_frames (`int`): number of frames.
        duration (`float`): seconds from the first frame's appearance to the end of the last; of a file that is cut off,
            the duration of what is left.
        fps (`float`): frames per second, on average.
        frame_times (`np.ndarray` of shape `(num_frames,)`, float64): when each frame appears, seconds after the first,
            ascending.
    """

    def __init__(self, name: str, decoder: Decoder, fallback: Callable[[], Decoder] | None = None):
        self.name = name
        self._decoder = decoder
        self._fallback = fallback
        self._warned = self._warned_of_rest = False
        self._closed = False
        self._warn_if_broken()

    @property
    def backend(self) -> str:
        return self._decoder.backend

    @property
    def num_frames(self) -> int:
        return len(self._decoder.timeline.starts)

    @property
    def duration(self) -> float:
        return self._decoder.timeline.duration

    @property
    def fps(self) -> float:
        return self.num_frames / self.duration

    @property
    def frame_times(self) -> np.ndarray:
        return self._decoder.timeline.starts

    def iter_frames_at(self, times: Iterable[float], max_side: int | None = None) -> Iterator[np.ndarray]:
        """
        Yields for each time the frame on screen then: the last one that appeared at or before it.

        Times before the first frame give the first, times past the end the last, and times within one frame the same
        array again.

        Args:
            times (`Iterable[float]`): seconds. Any order is right; ascending touches fewest frames.
            max_side (`int`, *optional*): reduce frames to `max(height, width) <= max_side`; they are never enlarged.

        Yields:
            `np.ndarray`: RGB uint8 `(height, width, 3)`.

        Raises:
            `VideoReadError`: no frame can be decoded.
            `ValueError`: a time is not a number, `max_side` is below 1, or the video is closed.
        """
        if max_side is not None and max_side < 1:
            raise ValueError(f"`max_side` must be at least 1 pixel, got {max_side}.")
        shown, frame = None, None
        for time in times:
            if np.isnan(time):
                raise ValueError(f"Times must be numbers of seconds, got {time}.")
            wanted = (self._decoder, self._decoder.timeline.index_at(time))
            if frame is None or wanted != shown:
                frame = _reduce(self._read(time), max_side)
                shown = (self._decoder, self._decoder.timeline.index_at(time))
            beat()
            yield frame

    def frames_at(self, times: Iterable[float], max_side: int | None = None) -> list[np.ndarray]:
        """[`iter_frames_at`] as a list: one RGB uint8 array `(height, width, 3)` per time."""
        return list(self.iter_frames_at(times, max_side))

    def numbers_at(self, times: Iterable[float]) -> list[int]:
        """Numbers, from 0, of the frames that [`~Video.iter_frames_at`] gives for these times, seconds."""
        return [self._decoder.timeline.index_at(time) for time in times]

    def close(self) -> None:
        """Gives the file back. A closed video cannot be read any more."""
        self._closed = True
        self._decoder.close()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __repr__(self) -> str:
        size = f"{self.num_frames} frames, {self.duration:.2f} s"
        return f"Video({self.name!r}, {size}, backend={self.backend!r})"

    def _read(self, time: float) -> np.ndarray:
        if self._closed:
            raise ValueError(f"The video {self.name!r} is closed; open it again with `open_video`.")
        try:
            return self._decoder.read(self._decoder.timeline.index_at(time))
        except DecodeError as error:
            if self._fallback is None:
                raise self._decoder.gives_up(self.name, error) from error
            self._decoder.close()
            fallback, self._fallback = self._fallback, None
            self._decoder = fallback()
            return self._read(time)
        finally:
            self._warn_if_broken()

    def _warn_if_broken(self):
        broken, left_out = self._decoder.problem, self._decoder.left_out
        if broken and not self._warned:
            self._warned = True
            warnings.warn(f"The video {self.name!r} is read as far as it goes: {broken}. {COPY_AGAIN}.", stacklevel=4)
        if left_out and not self._warned_of_rest:
            self._warned_of_rest = True
            warnings.warn(f"The video {self.name!r} is read in part: {left_out}.", stacklevel=4)


def _reduce(frame: np.ndarray, max_side: int | None) -> np.ndarray:
    """The one resize path, whatever the reader: bicubic with antialiasing."""
    height, width = frame.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return frame
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
