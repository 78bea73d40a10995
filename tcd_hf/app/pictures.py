"""Pictures of clips as JPEG: thumbnails all along them, kept on disk, and the frame that shows the matching text."""

import bisect
import io
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tcd_hf.app.library import Clip, ClipError, Library
from tcd_hf.app.matching import matching_in_windows
from tcd_hf.index.hits import Hit, evidence_boxes
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import write_whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Thumbnails", "draw_evidence", "window_at"]

THUMBNAIL_SIDE = 320  # pixels
EVIDENCE_SIDE = 960
JPEG_QUALITY = 80
SECONDS_PER_THUMBNAIL = 1.0  # at most: what is seen as long as that has one of its own
# What is drawn before anybody asks: of short clips, about 10 KB and a twentieth of a second of work a picture. To draw
# those of long ones would be to decode hours.
CLIPS_AHEAD, SECONDS_AHEAD = 1000, 60.0
EVIDENCE_SHOWN = 5  # outlined in a frame, at most
ROUNDING = 0.001  # seconds; times in links have three decimals

decoding = threading.BoundedSemaphore(2)  # more decoders at once only wait for each other's core


class Thumbnails:
    """Pictures all along clips, drawn when first asked for, or before.

    A clip is cut into as many equal pieces as a segment has windows, or more, so that none lasts longer than
    `SECONDS_PER_THUMBNAIL`; a picture is of the middle of its piece.

    Args:
        library ([`Library`]): whose clips.
        folder (`Path`): where pictures are kept, by the content of the clip: a moved clip keeps them.
    """

    def __init__(self, library: Library, folder: Path):
        self.library = library
        self.folder = folder
        self.num_windows = library.index.metadata.num_frames

    def get(self, clip: Clip, seconds: float) -> bytes:
        """The JPEG of the piece around a time; of the first one for a time that the clip does not have.

        Raises:
            ClipError: the file is lost, changed or broken.
        """
        self.library.check(clip)
        share = seconds / clip.duration if 0 <= seconds <= clip.duration else 0.0
        count = self.num_places(clip)
        place = min(int(share * count), count - 1)
        file = self._file(clip, place)
        if not file.exists():
            self._draw(clip, [place])
        return file.read_bytes()

    def draw_ahead(self, stop: threading.Event) -> None:
        """Draws what is missing of [`clips_ahead`] while nobody searches, until told to stop."""
        for clip in self.clips_ahead():
            missing = [place for place in range(self.num_places(clip)) if not self._file(clip, place).exists()]
            if missing:
                self.library.wait_for_calm(stop)
                if stop.is_set():
                    return
                try:
                    self.library.check(clip)
                    self._draw(clip, missing)
                except (ClipError, OSError):  # told to whoever asks for it
                    continue

    def clips_ahead(self) -> list[Clip]:
        """Those whose pictures are drawn before anybody asks: the first ones, unless they are long."""
        return [clip for clip in self.library.first_clips(CLIPS_AHEAD) if clip.duration <= SECONDS_AHEAD]

    def num_places(self, clip: Clip) -> int:
        """Into how many pieces a clip is cut."""
        return max(self.num_windows, math.ceil(clip.duration / SECONDS_PER_THUMBNAIL))

    def _file(self, clip: Clip, place: int) -> Path:
        name = f"{clip.content_hash}-{place}-of-{self.num_places(clip)}.jpg"
        return self.folder / clip.content_hash[:2] / name

    def _draw(self, clip: Clip, places: Sequence[int]) -> None:
        from PIL import Image

        times = [(place + 0.5) / self.num_places(clip) * clip.duration for place in places]
        try:
            with decoding, open_video(clip.path, num_threads=1) as video:
                frames = video.iter_frames_at(times, max_side=THUMBNAIL_SIDE)
                drawn = [_jpeg(Image.fromarray(frame)) for frame in frames]
        except VideoReadError as error:
            raise ClipError(str(error)) from error
        self.library.check(clip)  # again: another file may have come to stand there meanwhile
        for place, picture in zip(places, drawn, strict=True):
            file = self._file(clip, place)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, picture)


def draw_evidence(clip: Clip, caption: WindowCaption, query: str) -> bytes:
    """The JPEG of a window's frame with the texts outlined that the query names.

    Args:
        clip ([`Clip`]): checked to be the file that was indexed.
        caption ([`WindowCaption`]): of the window.
        query (`str`): what was searched for, as typed.

    Raises:
        ClipError: the file is lost or broken.
    """
    evidence = matching_in_windows(query, [caption])[0][:EVIDENCE_SHOWN]
    boxes = evidence_boxes(evidence, caption.tracks)
    hit = Hit(clip.path, 0.0, 0.0, None, None, 0.0, caption.start, caption.end, evidence, boxes)  # scores are not drawn
    try:
        with decoding:
            return _jpeg(hit.draw(EVIDENCE_SIDE))
    except VideoReadError as error:
        raise ClipError(str(error)) from error


def window_at(captions: Sequence[WindowCaption], seconds: float) -> int:
    """The window that a time lies in, or that is the last before it; the first one if none is.

    Raises:
        ClipError: no window: the clip was removed a moment ago.
    """
    if not captions:
        raise ClipError("This clip is no longer in the index.")
    return max(0, bisect.bisect_right(captions, seconds + ROUNDING, key=lambda caption: caption.start) - 1)


def _jpeg(picture: "Image.Image") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
