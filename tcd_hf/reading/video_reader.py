"""From video files to frames and captions: the one place where a video is opened for keeps.

What it guards for everybody: text is read once, and kept by the content of the video; and what is kept under a content
hash was read from that content, whatever becomes of the file meanwhile.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tcd_hf.processing.ocr_engines import OCREngineError, default_num_threads
from tcd_hf.processing.video_files import MAX_PIXELS
from tcd_hf.processing.video_inputs import unwrap
from tcd_hf.processing.video_reading import VideoReadError, open_video, opened_video
from tcd_hf.processing.window_ocr import WindowCaption, WindowOCRCaptioner
from tcd_hf.reading.cache import CacheError, CaptionCache
from tcd_hf.reading.files import DIGEST_BYTES, FileStamp, file_stamp, hash_bytes, hash_file
from tcd_hf.reading.fingerprints import caption_fingerprint
from tcd_hf.reading.object_stores import is_address, open_ranges
from tcd_hf.reading.own_texts import NO_TEXTS, OwnTexts, add_texts
from tcd_hf.reading.segments import Segment, cut_into_segments
from tcd_hf.reading.text_files import Cue

if TYPE_CHECKING:  # a process that reads need not wait for transformers
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = [
    "OpenedVideo",
    "ReadSegment",
    "SkippedVideo",
    "VideoFile",
    "VideoReader",
    "VideoRecord",
    "describe_error",
]

Frames = list[np.ndarray | None]  # of the windows; None where it is the one before, see `own_frames` of the captioner
# Of a processor: makes the model's inputs of the frames and captions of a segment.
ProcessFrames = Callable[[Frames, Sequence[WindowCaption], str], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class VideoRecord:
    """One segment of a video, but for its features. A short video is one segment.

    Attributes:
        path (`str`): absolute, with forward slashes.
        content_hash (`str`): of the file's content, see [`hash_file`].
        size (`int`): of the file, bytes.
        modified (`int`): when the file last changed, nanoseconds since 1970; 0 where that cannot be relied on.
        duration (`float`): of the video, seconds.
        fps (`float`): frames per second, on average.
        captions (`list[WindowCaption]`): one per window, with times of the whole video.
        segment (`int`, *optional*, defaults to 0): number of the segment.
        start (`float`, *optional*, defaults to 0.0): where it begins, seconds.
        end (`float`, *optional*): where it ends, seconds; that of the video by default.
        texts_hash (`str`, *optional*): of the texts that the video comes with, `digest` of [`OwnTexts`].
    """

    path: str
    content_hash: str
    size: int
    modified: int
    duration: float
    fps: float
    captions: list[WindowCaption]
    segment: int = 0
    start: float = 0.0
    end: float = cast(float, None)  # the duration by default, see below
    texts_hash: str = ""

    def __post_init__(self):
        if self.end is None:
            object.__setattr__(self, "end", self.duration)


@dataclass(frozen=True)
class SkippedVideo:
    """A video that could not be read: its `path` and the `cause`, in words."""

    path: str
    cause: str


@dataclass(frozen=True)
class VideoFile:
    """A file to be read.

    Attributes:
        path (`str`): absolute.
        content_hash (`str`): of its content, see [`hash_file`]; empty if it is not needed, as no text is read.
        stamp ([`FileStamp`]): taken before the content was hashed; of what is given and is no path, zeros.
        settled (`bool`): whether the stamp shows every later change.
        texts ([`OwnTexts`], *optional*): what the video comes with, beside what is read in its pictures.
        given (*optional*): what is read in place of a file, see `open_video`; `path` is then a name alone.
    """

    path: str
    content_hash: str
    stamp: FileStamp
    settled: bool
    texts: OwnTexts = NO_TEXTS
    given: Any = None

    @classmethod
    def of(
        cls,
        path: str | os.PathLike,
        with_hash: bool = True,
        texts: OwnTexts = NO_TEXTS,
        given: Any = None,
        is_over: Callable[[], bool] = lambda: False,
        max_pixels: int = MAX_PIXELS,
    ) -> "VideoFile":
        """Looks at a file, or at what is given in its place, and hashes it, see [`hash_file`]; frames of what is given
        may have so many pixels. Raises `OSError`, what `open_video` does, and `StoppedHashing` when it is over."""
        if given is not None:
            source = _path_of(given)
            stamp = FileStamp(0, 0) if source is None else file_stamp(source)
            settled = source is None or stamp.settled
            return cls(os.fspath(path), hash_given(given, max_pixels), stamp, settled, texts, given)
        stamp = file_stamp(path)
        settled = stamp.settled
        return cls(os.fspath(path), hash_file(path, is_over) if with_hash else "", stamp, settled, texts)

    @property
    def source(self) -> str | os.PathLike | None:
        """The file that is read; `None` where what is given is none."""
        return self.path if self.given is None else _path_of(self.given)

    @property
    def size(self) -> int:
        """The size that an index keeps: 0 for a name alone."""
        return self.stamp.size if self.given is None else 0

    @property
    def modified(self) -> int:
        """The time that an index keeps: 0 where it does not show every later change, and for a name alone."""
        return self.stamp.modified if self.settled and self.given is None else 0


@dataclass(frozen=True)
class ReadSegment:
    """A segment that was read.

    Attributes:
        record ([`VideoRecord`]): what its row says.
        inputs (`dict[str, np.ndarray]`): of [`~TCDModel.get_video_features`], for this one segment; empty of a reader
            that makes none.
        num_segments (`int`): how many segments of its video there are to read.
        process (`int`): id of the process that read it.
    """

    record: VideoRecord
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    num_segments: int = 1
    process: int = field(default_factory=os.getpid)


class VideoReader:
    """Reads frames and captions of videos; captions come from the cache and go there. Can be pickled.

    Args:
        captioner ([`WindowOCRCaptioner`]): reads text.
        cache ([`CaptionCache`]): of captions.
        segment_seconds (`float`, *optional*): the longest that a segment may be, see `cut_into_segments`; by default
            a video is one, however long.
        backend (`str`, *optional*, defaults to `"auto"`): what decodes, see `open_video`.
        process_frames (`Callable`, *optional*): [`~TCDProcessor.process_frames`], for the `inputs` of `ReadSegment`.
        max_pixels (`int`, *optional*, defaults to 2^26): pixels that a frame may have, see `open_video`.
    """

    def __init__(
        self,
        captioner: WindowOCRCaptioner,
        cache: CaptionCache,
        segment_seconds: float | None = None,
        backend: str = "auto",
        process_frames: ProcessFrames | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        self.captioner = captioner
        self.cache = cache
        self.segment_seconds = segment_seconds
        self.backend = backend
        self.process_frames = process_frames
        self.max_pixels = max_pixels
        self.caption_settings = caption_fingerprint(captioner)

    @classmethod
    def of(cls, processor: "TCDProcessor", cache: CaptionCache, segment_seconds: float | None = None) -> "VideoReader":
        """Reads as a processor does, and makes its inputs."""
        options = {"backend": processor.video_backend, "max_pixels": processor.max_pixels}
        return cls(processor.captioner, cache, segment_seconds, process_frames=processor.process_frames, **options)

    def __call__(self, file: VideoFile) -> Iterator[ReadSegment | SkippedVideo]:
        """Reads the segments of one video, one by one. That it cannot be read is an answer, not an error, and the last.

        Raises:
            CacheError: the cache folder cannot be written.
            OCREngineError, ImportError: the OCR engine or the decoder is not there, whatever the video.
        """
        try:
            with self.open(file) as opened:
                for segment in opened.segments:
                    yield opened.read_segment(segment)
        except (CacheError, OCREngineError, ImportError):
            raise
        except Exception as error:  # decoders raise what they like at broken files; the others are to be indexed
            yield SkippedVideo(file.path, describe_error(file.path, error))

    def open(self, file: VideoFile) -> "OpenedVideo":
        """Opens a file and looks where to cut it; nothing is decoded.

        Raises:
            VideoReadError: the file cannot be read.
        """
        return OpenedVideo(self, file)

    def read(self, video: Any, fps: float | None = None) -> tuple[Frames, list[WindowCaption]]:
        """Frames and captions of a whole video, as one segment.

        Captions of files and of bytes come from the cache and go there; of anything else, they are read.

        Args:
            video: what `open_video` takes.
            fps (`float`, *optional*): frames per second, of an array or of frames that come without.

        Raises:
            VideoReadError: the video cannot be read, or changed while it was.
            CacheError: the cache folder cannot be written.
        """
        video, own_fps = unwrap(video)
        if isinstance(video, str | os.PathLike) and os.path.isfile(video):
            with self.open(VideoFile.of(video)) as opened:
                return opened.read(opened.whole)
        content_hash = hash_bytes(video) if isinstance(video, bytes) else None
        cached = self.cached_captions(content_hash) if content_hash else None
        with opened_video(video, fps=own_fps or fps, **self.opening_options()) as opened:
            if cached is not None:
                frames, _ = self.captioner.read(opened, with_captions=False)
                return self.captioner.own_frames(frames, opened), cached
            frames, captions = self.captioner.read(opened)
            own = self.captioner.own_frames(frames, opened)
        if content_hash:
            self._save(content_hash, captions)
        return own, captions

    def cached_captions(self, content_hash: str, segment: Segment | None = None) -> list[WindowCaption] | None:
        """What the cache has of a segment, or of a whole video, read with the same settings; nothing is decoded.

        Args:
            content_hash (`str`): of the file, see [`hash_file`].
            segment ([`Segment`], *optional*): one of the video's; the whole video by default.

        Returns:
            `list[WindowCaption]`, one per window, or `None`.
        """
        captions = self.cache.load(content_hash, self.caption_settings, segment)
        if captions is None or len(captions) != self.captioner.num_windows:  # the latter is no entry of ours
            return None
        return captions

    def opening_options(self) -> dict[str, Any]:
        """Those of `open_video`."""
        return {"backend": self.backend, "num_threads": default_num_threads(), "max_pixels": self.max_pixels}

    def _save(self, content_hash: str, captions: Sequence[WindowCaption], segment: Segment | None = None) -> None:
        self.cache.save(content_hash, self.caption_settings, captions, segment)


class OpenedVideo:
    """A file that is open to be read. A context manager.

    Attributes:
        file ([`VideoFile`]): the file.
        segments (`list[Segment]`): what there is to read.
        duration (`float`): of the video, seconds.
        fps (`float`): frames per second, on average.
    """

    def __init__(self, reader: VideoReader, file: VideoFile):
        self.reader = reader
        self.file = file
        self._settled = file.settled
        stored = file.given is None and is_address(file.path)
        self._stored = open_ranges(file.path) if stored else None
        given: Any = file.given if self._stored is None else self._stored
        try:
            with self._on_its_line():
                self._video = open_video(file.path if given is None else given, **reader.opening_options())
        except BaseException:
            self._close_stored()
            raise
        self.duration, self.fps = self._video.duration, self._video.fps
        self.segments = cut_into_segments(self.duration, self._video.frame_times, reader.segment_seconds)

    @property
    def whole(self) -> Segment:
        """The video in one piece."""
        return Segment(0, 1, 0.0, self.duration)

    def read(
        self, segment: Segment, captions: Sequence[WindowCaption] | None = None
    ) -> tuple[Frames, list[WindowCaption]]:
        """Frames and captions of a segment. Segments are best read in order.

        Args:
            segment ([`Segment`]): one of `segments`, or `whole`.
            captions (`list[WindowCaption]`, *optional*): those that the frames belong to, if no text is to be read.

        Raises:
            VideoReadError: it cannot be read, or the file is no longer what was hashed.
            CacheError: the cache folder cannot be written.
        """
        reader, digest = self.reader, self.file.content_hash
        keeps = bool(digest) and reader.captioner.engine is not None
        if captions is None and keeps:
            captions = reader.cached_captions(digest, segment)
        is_read = captions is None
        with self._on_its_line():
            if captions is None:
                frames, captions = reader.captioner.read(self._video, segment.start, segment.duration)
            else:
                frames, _ = reader.captioner.read(self._video, segment.start, segment.duration, with_captions=False)
            own = reader.captioner.own_frames(frames, self._video, segment.start, segment.duration)
        self._check_unchanged()
        if is_read and keeps:
            reader._save(digest, captions, segment)
        return own, add_texts(captions, self._own_texts)

    def frames_at(self, times: Sequence[float]) -> Iterator[np.ndarray]:
        """Frames on screen at some times, seconds, best in order: RGB uint8 `(height, width, 3)`, of the size that is
        read. Raises as [`~OpenedVideo.read`] does."""
        with self._on_its_line():
            yield from self._video.iter_frames_at(times, self.reader.captioner.max_side)
        self._check_unchanged()

    def _read_text(self, segment: Segment) -> tuple[Frames, list[WindowCaption]] | None:
        """No frames, and the captions of the cache, if that is all that is wanted and there is."""
        if self.reader.process_frames is not None or not self.file.content_hash:
            return None
        captions = self.reader.cached_captions(self.file.content_hash, segment)
        if captions is None:
            return None
        self._check_unchanged()
        return [], add_texts(captions, self._own_texts)

    @cached_property
    def _own_texts(self) -> list[Cue]:
        return self.file.texts.all_of(self.file.path)

    def read_segment(self, segment: Segment) -> ReadSegment:
        """A segment as an index keeps it; see [`~OpenedVideo.read`]. Nothing is decoded of one whose text is in the
        cache, if the reader makes no inputs."""
        frames, captions = self._read_text(segment) or self.read(segment)
        file = self.file
        record = VideoRecord(
            file.path,
            file.content_hash,
            file.size,
            file.modified,
            self.duration,
            self.fps,
            captions,
            segment.number,
            segment.start,
            segment.end,
            file.texts.digest,
        )
        process = self.reader.process_frames
        inputs = {} if process is None else dict(process(frames, captions, "np"))
        return ReadSegment(record, inputs, len(self.segments))

    def close(self) -> None:
        """Gives the file back. A [`Video`] that was given open stays open."""
        if self._video is not self.file.given:
            self._video.close()
        self._close_stored()

    def __enter__(self) -> "OpenedVideo":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check_unchanged(self) -> None:
        """Makes sure that what was read is what was hashed: by the stamp, and by the content while that may hide a
        change."""
        if (source := self.file.source) is None:
            return
        stamp = file_stamp(source)
        settled = stamp.settled
        same = stamp == self.file.stamp
        if same and not self._settled and self.file.content_hash:
            same = hash_file(source) == self.file.content_hash
        if not same:
            raise VideoReadError(self.file.path, "it changed while it was read", "Add it again when it is complete")
        self._settled = self._settled or settled

    @contextmanager
    def _on_its_line(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._stored is not None:
                self._stored.check()

    def _close_stored(self) -> None:
        if self._stored is not None:
            self._stored.close()


def _path_of(video: Any) -> str | os.PathLike | None:
    """The path that is given as a video, if it is one."""
    video, _ = unwrap(video)
    return video if isinstance(video, str | os.PathLike) else None


def hash_given(video: Any, max_pixels: int = MAX_PIXELS) -> str:
    """The hash of a file or of bytes, or else of all frames, of so many pixels at most, with their times."""
    video, fps = unwrap(video)
    if isinstance(video, str | os.PathLike):
        return hash_file(video)
    if isinstance(video, bytes):
        return hash_bytes(video)
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with opened_video(video, fps=fps, max_pixels=max_pixels) as opened:
        digest.update(opened.frame_times.tobytes())
        for frame in opened.iter_frames_at(opened.frame_times):
            digest.update(repr(frame.shape).encode() + frame.tobytes())
    return digest.hexdigest()


def describe_error(path: str, error: Exception) -> str:
    """Why a video cannot be read, naming it."""
    if isinstance(error, VideoReadError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return str(VideoReadError(path, "its name is not valid text (UTF-8)", "Rename the file"))
    if isinstance(error, OSError):  # no such file, no rights, a failing disk
        return str(VideoReadError(path, f"it cannot be read ({error.strerror or error})", "Check the file"))
    return str(VideoReadError(path, f"reading it failed ({type(error).__name__}: {error})"))
