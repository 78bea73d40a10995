"""Pictures of clips as JPEG: thumbnails all along them, kept on disk, and the frame that shows the matching text."""

import bisect
import io
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tcd_hf.app.frames import frames_at
from tcd_hf.app.library import Clip, ClipError, Library
from tcd_hf.app.matching import matching_in_windows
from tcd_hf.index.hits import boxes_at, evidence_boxes, time_shown
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import write_whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Thumbnails", "draw_evidence", "window_at"]

THUMBNAIL_SIDE = 320  # pixels
EVIDENCE_SIDE = 960
JPEG_QUALITY = 80
SECONDS_PER_THUMBNAIL = 0.25  # at most: about as often as text is read
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
        piece = self._piece(clip, seconds)
        file = self._file(clip, piece)
        if not file.exists():
            self.draw(clip, [piece])
        return file.read_bytes()

    def draw_ahead(self, stop: threading.Event) -> None:
        """Draws what is missing of [`clips_ahead`] while nobody searches, until told to stop."""
        for clip in self.clips_ahead():
            missing = [piece for piece in self.pieces_ahead(clip) if not self._file(clip, piece).exists()]
            if missing:
                self.library.wait_for_calm(stop)
                if stop.is_set():
                    return
                try:
                    self.library.check(clip)
                    self.draw(clip, missing)
                except (ClipError, OSError):  # told to whoever asks for it
                    continue

    def clips_ahead(self) -> list[Clip]:
        """Those whose pictures are drawn before anybody asks: the first ones, unless they are long."""
        return [clip for clip in self.library.first_clips(CLIPS_AHEAD) if clip.duration <= SECONDS_AHEAD]

    def pieces_ahead(self, clip: Clip) -> list[int]:
        """The pieces that a search may show, by `Hit.shown_time`: where a text is seen best, and middles of windows."""
        captions = self.library.captions(clip)
        times = [(caption.start + caption.end) / 2 for caption in captions]
        times += [track.box_time for caption in captions for track in caption.tracks]
        return sorted({self._piece(clip, seconds) for seconds in times})

    def num_pieces(self, clip: Clip) -> int:
        """Into how many pieces a clip is cut."""
        return max(self.num_windows, math.ceil(clip.duration / SECONDS_PER_THUMBNAIL))

    def _piece(self, clip: Clip, seconds: float) -> int:
        share = seconds / clip.duration if 0 <= seconds <= clip.duration else 0.0
        count = self.num_pieces(clip)
        return min(int(share * count), count - 1)

    def _file(self, clip: Clip, piece: int) -> Path:
        name = f"{clip.content_hash}-{piece}-of-{self.num_pieces(clip)}.jpg"
        return self.folder / clip.content_hash[:2] / name

    def draw(self, clip: Clip, pieces: Sequence[int]) -> None:
        """Draws thumbnails of pieces of a video, from 0, and keeps them in the folder. Raises `ClipError`."""
        from PIL import Image

        times = [(piece + 0.5) / self.num_pieces(clip) * clip.duration for piece in pieces]
        try:
            with decoding:
                drawn = [_jpeg(Image.fromarray(frame)) for frame in frames_at(clip, times, THUMBNAIL_SIDE)]
        except VideoReadError as error:
            raise ClipError(str(error)) from error
        self.library.check(clip)  # again: another file may have come to stand there meanwhile
        for piece, picture in zip(pieces, drawn, strict=True):
            file = self._file(clip, piece)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, picture)


def draw_evidence(clip: Clip, captions: Sequence[WindowCaption], seconds: float, query: str) -> bytes:
    """The JPEG of a frame of the window around a time with the texts outlined that the query names; where there are
    none, of the frame at this time.

    Args:
        clip ([`Clip`]): checked to be the file that was indexed.
        captions (`Sequence[WindowCaption]`): of the windows around this time, in order.
        seconds (`float`): the time; one that the clip does not have stands for its beginning.
        query (`str`): what was searched for, as typed.

    Raises:
        ClipError: the file is lost or broken, or no windows: the clip was removed a moment ago.
    """
    from PIL import Image

    from tcd_hf.processing.caption_drawing import draw_boxes

    seconds = seconds if 0 <= seconds <= clip.duration else 0.0
    caption = captions[window_at(captions, seconds)]
    evidence = matching_in_windows(query, [[track.text for track in caption.tracks]])[0][:EVIDENCE_SHOWN]
    boxes = evidence_boxes(evidence, caption.tracks)
    shown_time = time_shown(seconds, seconds, boxes)
    shown = boxes_at(boxes, shown_time)
    try:
        with decoding:
            frame = Image.fromarray(next(iter(frames_at(clip, [shown_time], EVIDENCE_SIDE))))
    except VideoReadError as error:
        raise ClipError(str(error)) from error
    return _jpeg(draw_boxes(frame, [box["box"] for box in shown], [box["text"] for box in shown]))


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
