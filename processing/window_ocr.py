"""The window-OCR captioner (TCD section 3.1): one caption of scene text per window of a video. It needs no model.

```python
captions = WindowOCRCaptioner()("clip.mp4")
print(captions[0].start, captions[0].end, captions[0].text)
```
"""

import bisect
import logging
import math
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, overload

import numpy as np

from .caption_drawing import draw_captions
from .caption_fitting import fit_caption
from .frame_skipping import Stretch, frame_by_frame, split_into_stretches
from .heartbeat import beat
from .ocr_engines import OCREngine, RapidOCREngine, TextReading, default_num_threads, get_engine, normalize_text
from .ocr_presets import ocr_preset
from .text_following import Sighting, follow_texts, spelling
from .text_tracks import WHOLE_FRAME, TextTrack, merge_sightings, sightings_within, split_columns
from .timelines import TIME_TOLERANCE
from .video_inputs import VideoInput
from .video_reading import Video, opened_video

__all__ = ["TextTrack", "WindowCaption", "WindowOCRCaptioner", "draw_captions", "fit_caption"]

logger = logging.getLogger(__name__)

Reader = Callable[[Sequence[Stretch]], list[list[TextReading]]]

ENGINE_BATCH_SIZE = 8  # frames an engine is given at once
# Frames sampled in a window, at most, where a file has fewer frames than that: its clock may say that it lasts years.
MAX_SAMPLES = 1000


@dataclass
class WindowCaption:
    """What can be read in one window.

    Args:
        start (`float`): begin of the window, seconds.
        end (`float`): end of the window, seconds.
        text (`str`, *optional*, defaults to `""`): the texts of the tracks, joined by spaces.
        tracks (`list[TextTrack]`, *optional*): the texts, most salient first, lines of one block together.
    """

    start: float
    end: float
    text: str = ""
    tracks: list[TextTrack] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields: start, end, text, tracks (a list of dicts)."""
        tracks = [track.to_dict() for track in self.tracks]
        return {"start": self.start, "end": self.end, "text": self.text, "tracks": tracks}

    def shifted(self, seconds: float) -> "WindowCaption":
        """The same, so much later."""
        if not seconds:
            return self
        tracks = [track.shifted(seconds) for track in self.tracks]
        return WindowCaption(self.start + seconds, self.end + seconds, self.text, tracks)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "WindowCaption":
        """The inverse of `to_dict`."""
        tracks = [TextTrack.from_dict(track) for track in values.get("tracks", [])]
        return cls(values["start"], values["end"], values.get("text", ""), tracks)


class WindowOCRCaptioner:
    """Cuts a video into windows and turns the text seen in each into a caption.

    A video of `duration` seconds has `num_windows` windows that do not overlap. In each, frames are sampled evenly, at
    least `ocr_fps` a second and at least one; of those, frames that show nothing new are not read
    (`frame_skipping.py`); readings are filtered, merged and ordered by salience (`text_tracks.py`).

    Args:
        engine (*optional*, defaults to `"rapidocr"`):
            `"rapidocr"`, `"doctr"`, a ready docTR predictor, or a callable of yours that takes a list of RGB uint8
            images and returns for each a list of `TextReading`s or `(text, confidence, box)` tuples. `None`: no engine,
            for captions that are given ([`~WindowOCRCaptioner.caption_texts`]).
        engine_options (`dict[str, Any]`, *optional*):
            Options of a named engine, see `RapidOCREngine` and `DoctrEngine`.
        num_windows (`int`, *optional*, defaults to 12): windows per video.
        window_scale (`float`, *optional*, defaults to 1.0):
            The paper's ξ in (0, 1]: text is taken only from this part of a window, around its centre.
        ocr_fps (`float`, *optional*, defaults to 2.0): frames sampled per second, at least.
        min_confidence (`float`, *optional*, defaults to 0.5): readings below it are dropped, 0-1.
        min_text_height (`float`, *optional*, defaults to 0.01):
            Readings whose box is lower than this, relative to the height of the frame, are dropped.
        max_side (`int`, *optional*, defaults to 1280):
            Frames are reduced to this many pixels on their longer side before they are read.
        reading_interval (`float`, *optional*, defaults to 0.75):
            While the picture keeps changing, one frame per this many seconds is read. `None`: every sampled frame is.
        preset (`str`, *optional*, defaults to `"balanced"`):
            What reading may cost. `"fast"` reads one frame in 2.5 times as long, and looks at fewer of them in full
            size; `"thorough"` looks at each in full size, and reads each text in it anew. Only the built-in engine has
            sizes.

    Raises:
        ValueError: an option is out of range; the message says what is allowed.
    """

    def __init__(
        self,
        engine: str | OCREngine | Callable | None = "rapidocr",
        engine_options: dict[str, Any] | None = None,
        num_windows: int = 12,
        window_scale: float = 1.0,
        ocr_fps: float = 2.0,
        min_confidence: float = 0.5,
        min_text_height: float = 0.01,
        max_side: int = 1280,
        reading_interval: float | None = 0.75,
        preset: str = "balanced",
    ):
        _check(type(num_windows) is int and num_windows >= 1, "num_windows", num_windows, "an int of at least 1")
        _check(_is_number(window_scale) and 0 < window_scale <= 1, "window_scale", window_scale, "in (0, 1]")
        allowed = "a positive number of frames per second"
        _check(_is_number(ocr_fps) and 0 < ocr_fps < math.inf, "ocr_fps", ocr_fps, allowed)
        _check(_is_number(min_confidence) and 0 <= min_confidence <= 1, "min_confidence", min_confidence, "in [0, 1]")
        _check(0 <= min_text_height < 1, "min_text_height", min_text_height, "in [0, 1)")
        _check(isinstance(max_side, int) and max_side >= 32, "max_side", max_side, "an int of at least 32 pixels")
        if reading_interval is not None:
            _check(0 < reading_interval < math.inf, "reading_interval", reading_interval, "None or positive seconds")
        self.engine = engine
        self.engine_options = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value
            for name, value in (engine_options or {}).items()
        }
        self.num_windows = num_windows
        self.window_scale = float(window_scale)
        self.ocr_fps = float(ocr_fps)
        self.min_confidence = float(min_confidence)
        self.min_text_height = float(min_text_height)
        self.max_side = max_side
        self.reading_interval = reading_interval
        self.preset = preset
        # datasets.map hashes an object by its state, not by its code: raise this when captions change. The last change
        # is of the built-in engine alone: what others read stays in the cache.
        self.version = 5 if engine == RapidOCREngine.name or isinstance(engine, RapidOCREngine) else 3
        ocr_preset(preset)
        if engine is not None:
            self._engine()  # a wrong name or option shows here, not in a worker

    def __call__(self, video: VideoInput | Video, fps: float | None = None) -> list[WindowCaption]:
        """Reads a video.

        Args:
            video: anything `open_video` takes: a path, bytes, a file object, frames as an array, a tensor or a list, a
                `torchcodec.decoders.VideoDecoder`, a dictionary, or an open `Video` (which stays open).
            fps (`float`, *optional*): frames per second of an array or a list of frames.

        Returns:
            `list[WindowCaption]`, one per window.

        Raises:
            VideoReadError: the video cannot be read.
            OCREngineError: the engine's weights cannot be had.
        """
        with opened_video(video, fps=fps, num_threads=default_num_threads()) as opened:
            times = self.sample_times(opened.duration, opened.num_frames)
            frames = opened.iter_frames_at(times, max_side=self.max_side)
            return self.caption_frames(zip(times, frames, strict=True), opened.duration)

    @overload
    def read(
        self, video: Video, start: float = 0.0, duration: float | None = None, with_captions: Literal[True] = True
    ) -> tuple[list[np.ndarray], list[WindowCaption]]: ...

    @overload
    def read(
        self, video: Video, start: float = 0.0, duration: float | None = None, with_captions: bool = True
    ) -> tuple[list[np.ndarray], list[WindowCaption] | None]: ...

    def read(
        self, video: Video, start: float = 0.0, duration: float | None = None, with_captions: bool = True
    ) -> tuple[list[np.ndarray], list[WindowCaption] | None]:
        """The frames at the centres of the windows and the captions of the windows, from one pass over a video.

        Args:
            video (`Video`): open; it stays open.
            start (`float`, *optional*, defaults to 0.0): where the part begins that is cut into windows, seconds.
            duration (`float`, *optional*): of that part, seconds; all that follows when not given.
            with_captions (`bool`, *optional*, defaults to `True`): also read text; without an engine there is none.

        Returns:
            `num_windows` RGB frames `(height, width, 3)`, `uint8`, reduced to `max_side`; and as many captions, with
            times of the whole video, or `None`.

        Raises:
            VideoReadError: no frame can be decoded.
            OCREngineError: the engine's weights cannot be had.
        """
        duration = video.duration - start if duration is None else duration
        centres = self._centres(duration)
        if not with_captions or self.engine is None:
            captions = self.caption_texts([""] * self.num_windows, duration) if with_captions else None
            frames = video.frames_at([start + time for time in centres], max_side=self.max_side)
        else:
            frames, ocr_times = [], set(self.sample_times(duration, video.num_frames))
            times = sorted(ocr_times.union(centres))

            def frames_for_ocr() -> Iterator[tuple[float, np.ndarray]]:
                wanted = set(centres)
                shown = video.iter_frames_at([start + time for time in times], self.max_side)
                for time, frame in zip(times, shown, strict=True):
                    if time in wanted:
                        frames.append(frame)
                    if time in ocr_times:
                        yield time, frame

            captions = self.caption_frames(frames_for_ocr(), duration)
        return frames, captions and [caption.shifted(start) for caption in captions]

    def own_frames(
        self, frames: Sequence[np.ndarray], video: Video, start: float = 0.0, duration: float | None = None
    ) -> list[np.ndarray | None]:
        """Frames of [`~WindowOCRCaptioner.read`] with `None` for those that repeat the one before, where the video, or
        the part of it, has fewer frames than there are windows: they are to count once. A picture that is held in a
        video of more frames counts as often as it is seen.

        Args:
            frames (`list[np.ndarray]`): one per window.
            video (`Video`), start, duration: what they were read from, as there.
        """
        duration = video.duration - start if duration is None else duration
        # A frame is looked for a little later than its time: the last one is not the first of what follows.
        first, last = video.numbers_at([start, max(start, start + duration - 2 * TIME_TOLERANCE)])
        if last - first + 1 >= self.num_windows:
            return list(frames)
        numbers = video.numbers_at([start + centre for centre in self._centres(duration)])
        before = [None, *numbers[:-1]]
        return [None if own == other else frame for frame, own, other in zip(frames, numbers, before, strict=True)]

    def sample_times(self, duration: float, num_frames: int | None = None) -> list[float]:
        """Times in seconds, ascending, at which frames are wanted: middles of equal pieces of each window's ξ part.

        Args:
            duration (`float`): of the video, seconds.
            num_frames (`int`, *optional*): that the video has. Where these are few for its duration, fewer times are
                enough: at most as many a window, or `MAX_SAMPLES` if that is more.
        """
        width = _checked_duration(duration) / self.num_windows * self.window_scale
        count = max(1, math.ceil(width * self.ocr_fps - 1e-9))
        if num_frames is not None:
            count = min(count, max(num_frames, MAX_SAMPLES))
        return [start + (i + 0.5) * width / count for start, _ in self._read_parts(duration) for i in range(count)]

    def caption_frames(self, frames: Iterable[tuple[float, np.ndarray]], duration: float) -> list[WindowCaption]:
        """Captions from frames that are decoded already.

        Args:
            frames: pairs of time in seconds, ascending, and RGB uint8 frame `(height, width, 3)`; best those of
                `sample_times`, reduced to `max_side`. Frames outside the ξ part of a window are not used.
            duration (`float`): duration of the whole video, seconds.

        Returns:
            `list[WindowCaption]`, one per window.
        """
        if self.engine is None:
            raise ValueError(
                "This captioner has no OCR engine. Give it one, such as WindowOCRCaptioner(engine='rapidocr'), or use "
                "`caption_texts` for texts that were read before."
            )
        parts = self._read_parts(duration)
        used = (pair for pair in frames if self._window_at(pair[0], parts) is not None)
        interval = self.reading_interval and self.reading_interval * ocr_preset(self.preset).interval
        stretches = split_into_stretches(used, interval)
        seen: list[tuple[float, int]] = []  # time of a sample, number of the stretch that stands for it
        read: list[Sighting] = []  # of each stretch
        reader = self._reader()
        while batch := list(islice(stretches, ENGINE_BATCH_SIZE)):
            for number, stretch in enumerate(batch, start=len(read)):
                seen += [(time, number) for time in stretch.times]
            read += self._read(batch, reader)
        self._add_standing(read, reader)
        return self._captions(seen, read, parts, duration)

    def caption_texts(
        self, texts: Sequence[str] | Sequence[tuple[float, float, str]], duration: float
    ) -> list[WindowCaption]:
        """Captions from texts that are given, without an engine.

        Args:
            texts: either `num_windows` strings, one per window, or any number of `(start, end, text)`, also none, with
                times in seconds; these go to every window whose ξ part they overlap, longest overlap first.
            duration (`float`): duration of the video, seconds.
        """
        windows = self._windows(duration)
        given: Any = texts
        if len(given) and all(isinstance(text, str) for text in given):
            if len(given) != self.num_windows:
                raise ValueError(
                    f"Got {len(given)} texts for {self.num_windows} windows: give one string per window, empty where "
                    "there is no text, or (start, end, text) tuples."
                )
            return [WindowCaption(*window, normalize_text(text)) for window, text in zip(windows, given, strict=True)]
        captions = []
        for window, (part_start, part_end) in zip(windows, self._read_parts(duration), strict=True):
            tracks = []
            for start, end, text in given:
                start, end = max(start, part_start), min(end, part_end)
                if end > start and normalize_text(text):
                    tracks.append(TextTrack(normalize_text(text), 1.0, start, end, WHOLE_FRAME, source="given"))
            tracks.sort(key=lambda track: track.start - track.end)
            captions.append(_as_caption(window, tracks))
        return captions

    def to_dict(self) -> dict[str, Any]:
        """JSON-able constructor arguments. An engine that is an object of yours is saved as `None`, with a warning."""
        if self.engine is not None and not isinstance(self.engine, str):
            logger.warning(
                "The OCR engine is an object of class %s and cannot be saved: give it again after loading.",
                type(self.engine).__name__,
            )
        return {
            "engine": self.engine if isinstance(self.engine, str) else None,
            "engine_options": dict(self.engine_options),
            "num_windows": self.num_windows,
            "window_scale": self.window_scale,
            "ocr_fps": self.ocr_fps,
            "min_confidence": self.min_confidence,
            "min_text_height": self.min_text_height,
            "max_side": self.max_side,
            "reading_interval": self.reading_interval,
            "preset": self.preset,
        }

    def __deepcopy__(self, memo) -> "WindowOCRCaptioner":
        # saving a processor copies it deeply; an engine of the user's may hold what cannot be copied, and need not be
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__, engine_options=dict(self.engine_options))
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        engine = self.engine if isinstance(self.engine, str | None) else type(self.engine).__name__
        return f"{type(self).__name__}(engine={engine!r}, num_windows={self.num_windows}, ocr_fps={self.ocr_fps})"

    def _engine(self) -> OCREngine:
        assert self.engine is not None  # who calls this has refused it
        of_preset = ocr_preset(self.preset).engine_options if self.engine == RapidOCREngine.name else {}
        return get_engine(self.engine, **{**of_preset, **self.engine_options})

    def _centres(self, duration: float) -> list[float]:
        width = _checked_duration(duration) / self.num_windows
        return [(index + 0.5) * width for index in range(self.num_windows)]

    def _windows(self, duration: float) -> list[tuple[float, float]]:
        width = _checked_duration(duration) / self.num_windows
        return [(index * width, (index + 1) * width) for index in range(self.num_windows)]

    def _read_parts(self, duration: float) -> list[tuple[float, float]]:
        """The part of each window that text is taken from: ξ of it, around its centre."""
        margin = (1 - self.window_scale) / 2 * _checked_duration(duration) / self.num_windows
        return [(start + margin, end - margin) for start, end in self._windows(duration)]

    @staticmethod
    def _window_at(time: float, parts: list[tuple[float, float]]) -> int | None:
        index = max(0, bisect.bisect_right(parts, (time, math.inf)) - 1)
        start, end = parts[index]
        return index if start - 1e-9 <= time <= end + 1e-9 else None

    def _reader(self) -> Reader:
        """What reads the frames of one video: with what it saw in those before where the engine has such a reader."""
        assert self.engine is not None  # who calls this has refused it
        engine = self._engine()
        start = getattr(engine, "video_reader", None)
        return start(self.min_text_height) if start else frame_by_frame(engine)

    def _read(self, stretches: list[Stretch], reader: Reader) -> list[Sighting]:
        """Reads the chosen frames."""
        texts, read = reader(stretches), []
        beat()
        for stretch, readings in zip(stretches, texts, strict=True):
            height, width = stretch.frame.shape[:2]
            aspect = width / height
            kept = split_columns(self._kept(readings), aspect)
            sighting = Sighting(kept, stretch.times[0], stretch.times[-1], 0.0, aspect)
            read.append(replace(sighting, time=stretch.time, sharpness=stretch.sharpness, after_cut=stretch.after_cut))
        return read

    def _kept(self, readings: Iterable[TextReading]) -> list[TextReading]:
        """The readings that pass the filters, normalised."""
        return [
            replace(reading, text=normalize_text(reading.text))
            for reading in readings
            if reading.confidence >= self.min_confidence
            and reading.box[3] - reading.box[1] >= self.min_text_height
            and spelling(reading.text)  # dots, bars and arrows are no text
        ]

    def _add_standing(self, read: list[Sighting], reader: Reader) -> None:
        """Adds what all frames show together to those that show it, of an engine that reads such."""
        read_standing = getattr(reader, "read_standing", list)
        for reading, frames in read_standing():
            for number in frames:
                read[number].readings = [*read[number].readings, *self._kept([reading])]

    def _captions(
        self, seen: list[tuple[float, int]], read: list[Sighting], parts: list[tuple[float, float]], duration: float
    ) -> list[WindowCaption]:
        # texts are followed through all windows: each gets the spelling that is best in all
        read = follow_texts(sightings_within((0.0, duration), seen, read))
        samples: list[list[tuple[float, int]]] = [[] for _ in parts]
        for time, number in seen:
            window = self._window_at(time, parts)
            if window is not None:
                samples[window].append((time, number))
        return [
            _as_caption(window, merge_sightings(sightings_within(part, in_window, read)))
            for window, part, in_window in zip(self._windows(duration), parts, samples, strict=True)
        ]


def _as_caption(window: tuple[float, float], tracks: list[TextTrack]) -> WindowCaption:
    return WindowCaption(*window, " ".join(track.text for track in tracks), tracks)


def _checked_duration(duration: float) -> float:
    _check(0 < duration < math.inf, "duration", duration, "a positive number of seconds")
    return duration


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _check(condition: bool, name: str, value: Any, allowed: str):
    if not condition:
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")
