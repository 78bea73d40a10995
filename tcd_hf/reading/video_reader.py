"""From video files to what the model takes: the one place where a video is opened for keeps."""

from dataclasses import dataclass

import numpy as np

from tcd_hf.processing.ocr_engines import OCREngineError, default_num_threads
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.cache import CacheError, CaptionCache
from tcd_hf.reading.files import FileStamp, file_stamp
from tcd_hf.reading.fingerprints import caption_fingerprint

__all__ = ["ReadVideo", "SkippedVideo", "VideoFile", "VideoReader", "VideoRecord", "describe_error"]


@dataclass(frozen=True)
class VideoRecord:
    """One video of an index, but for its features.

    Attributes:
        path (`str`): absolute, with forward slashes.
        content_hash (`str`): of the file's content, see [`hash_file`].
        size (`int`): of the file, bytes.
        modified (`int`): when the file last changed, nanoseconds since 1970; 0 where that cannot be relied on.
        duration (`float`): seconds.
        fps (`float`): frames per second, on average.
        captions (`list[WindowCaption]`): one per window.
    """

    path: str
    content_hash: str
    size: int
    modified: int
    duration: float
    fps: float
    captions: list[WindowCaption]


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
        content_hash (`str`): of its content, see [`hash_file`].
        stamp ([`FileStamp`]): taken before the content was hashed.
        settled (`bool`): whether the stamp shows every later change.
    """

    path: str
    content_hash: str
    stamp: FileStamp
    settled: bool

    @property
    def modified(self) -> int:
        """The time that an index keeps: 0 where it does not show every later change."""
        return self.stamp.modified if self.settled else 0


@dataclass(frozen=True)
class ReadVideo:
    """A video that was read.

    Attributes:
        record ([`VideoRecord`]): what its row says.
        inputs (`dict[str, np.ndarray]`): of [`~TCDModel.get_video_features`], for this one video.
    """

    record: VideoRecord
    inputs: dict[str, np.ndarray]


class VideoReader:
    """Reads frames and captions of videos; captions come from the cache and go there. Can be pickled.

    Args:
        processor (`TCDProcessor`): of the index.
        cache ([`CaptionCache`]): of captions.
    """

    def __init__(self, processor: TCDProcessor, cache: CaptionCache):
        self.processor = processor
        self.cache = cache
        self.caption_settings = caption_fingerprint(processor.captioner)

    def __call__(self, file: VideoFile) -> ReadVideo | SkippedVideo:
        """Reads one video; one that cannot be read is an answer, not an error.

        Raises:
            CacheError: the cache folder cannot be written.
            OCREngineError, ImportError: the OCR engine or the decoder is not there, whatever the video.
        """
        try:
            return self._read(file)
        except (CacheError, OCREngineError, ImportError):
            raise
        except Exception as error:  # decoders raise what they like at broken files; the others are to be indexed
            return SkippedVideo(file.path, describe_error(file.path, error))

    def _read(self, file: VideoFile) -> ReadVideo:
        processor = self.processor
        captions = self.cache.load(file.content_hash, self.caption_settings)
        if captions is not None and len(captions) != processor.num_frames:
            captions = None  # not an entry of ours
        with open_video(file.path, backend=processor.video_backend, num_threads=default_num_threads()) as video:
            frames, read = processor.read_video(video, with_captions=captions is None)
            duration, fps = video.duration, video.fps
        if file_stamp(file.path) != file.stamp:
            raise VideoReadError(file.path, "it changed while it was read", "Add it again when it is complete")
        if captions is None:
            captions = read
            self.cache.save(file.content_hash, self.caption_settings, captions)
        record = VideoRecord(
            file.path, file.content_hash, file.stamp.size, file.modified, duration, fps, captions=captions
        )
        inputs = processor(videos=[np.stack(frames)], ocr_captions=[captions], return_tensors="np")
        return ReadVideo(record, dict(inputs))


def describe_error(path: str, error: Exception) -> str:
    """Why a video cannot be read, naming it."""
    if isinstance(error, VideoReadError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return str(VideoReadError(path, "its name is not valid text (UTF-8)", "Rename the file"))
    if isinstance(error, OSError):  # no such file, no rights, a failing disk
        return str(VideoReadError(path, f"it cannot be read ({error.strerror or error})", "Check the file"))
    return str(VideoReadError(path, f"reading it failed ({type(error).__name__}: {error})"))
