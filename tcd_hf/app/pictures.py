"""Pictures of clips as JPEG: a thumbnail of every window, kept on disk, and the frame that shows the matching text."""

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tcd_hf.app.library import Clip, ClipError, Library
from tcd_hf.index.hits import Hit, evidence_boxes, matching_texts
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import write_whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Thumbnails", "closest_window", "draw_evidence"]

THUMBNAIL_SIDE = 320  # pixels
EVIDENCE_SIDE = 960
JPEG_QUALITY = 80
DRAWN_AHEAD = 1000  # clips whose thumbnails are drawn before anybody asks: about 100 KB and half a second of work each

decoding = threading.BoundedSemaphore(2)  # more decoders at once only wait for each other's core


class Thumbnails:
    """A picture of the middle of every window, drawn when first asked for, or before.

    Args:
        library ([`Library`]): whose clips.
        folder (`Path`): where pictures are kept, by the content of the clip: a moved clip keeps them.
    """

    def __init__(self, library: Library, folder: Path):
        self.library = library
        self.folder = folder
        self.num_windows = library.index.metadata.num_frames

    def get(self, clip: Clip, seconds: float) -> bytes:
        """The JPEG of the window around a time; of the first window for a time that the clip does not have.

        Raises:
            ClipError: the file is lost, changed or broken.
        """
        self.library.check(clip)
        share = seconds / clip.duration if 0 <= seconds <= clip.duration else 0.0
        place = min(int(share * self.num_windows), self.num_windows - 1)
        file = self._file(clip, place)
        if not file.exists():
            self._draw(clip, [place])
        return file.read_bytes()

    def draw_ahead(self, stop: threading.Event) -> None:
        """Draws what is missing of the first clips of the index while nobody searches, until told to stop."""
        for clip in self.library.first_clips(DRAWN_AHEAD):
            missing = [place for place in range(self.num_windows) if not self._file(clip, place).exists()]
            if missing:
                self.library.wait_for_calm(stop)
                if stop.is_set():
                    return
                try:
                    self.library.check(clip)
                    self._draw(clip, missing)
                except (ClipError, OSError):  # told to whoever asks for it
                    continue

    def _file(self, clip: Clip, place: int) -> Path:
        name = f"{clip.content_hash}-{place}-of-{self.num_windows}.jpg"
        return self.folder / clip.content_hash[:2] / name

    def _draw(self, clip: Clip, places: Sequence[int]) -> None:
        from PIL import Image

        times = [(place + 0.5) / self.num_windows * clip.duration for place in places]
        try:
            with decoding, open_video(clip.path, num_threads=1) as video:
                for place, frame in zip(places, video.iter_frames_at(times, max_side=THUMBNAIL_SIDE), strict=True):
                    file = self._file(clip, place)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(file, _jpeg(Image.fromarray(frame)))
        except VideoReadError as error:
            raise ClipError(str(error)) from error


def draw_evidence(clip: Clip, caption: WindowCaption, query: str) -> bytes:
    """The JPEG of a window's frame with the texts outlined that the query names.

    Args:
        clip ([`Clip`]): checked to be the file that was indexed.
        caption ([`WindowCaption`]): of the window.
        query (`str`): what was searched for.

    Raises:
        ClipError: the file is lost or broken.
    """
    evidence = matching_texts(query, [track.text for track in caption.tracks])
    boxes = evidence_boxes(evidence, caption.tracks)
    hit = Hit(clip.path, 0.0, 0.0, None, None, 0.0, caption.start, caption.end, evidence, boxes)  # scores are not drawn
    try:
        with decoding:
            return _jpeg(hit.draw(EVIDENCE_SIDE))
    except VideoReadError as error:
        raise ClipError(str(error)) from error


def closest_window(captions: Sequence[WindowCaption], seconds: float) -> int:
    """The window that begins closest to a time.

    Raises:
        ClipError: no window: the clip was removed a moment ago.
    """
    if not captions:
        raise ClipError("This clip is no longer in the index.")
    return min(range(len(captions)), key=lambda place: abs(captions[place].start - seconds))


def _jpeg(picture: "Image.Image") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
