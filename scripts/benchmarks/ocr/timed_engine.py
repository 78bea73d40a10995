"""An OCR engine that times its reading, and keeps its readings for the next run."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from tcd_hf.processing.frame_skipping import frame_by_frame
from tcd_hf.processing.ocr_engines import TextReading

__all__ = ["TimedEngine"]


class TimedEngine:
    """Reads each frame once, remembers how long that took, and adds up the seconds of the frames it was asked for.

    Args:
        engine (`OCREngine`): the engine that is timed.
        store (`Path`, *optional*): readings and their seconds are kept in this file, so that a run that stopped goes
            on where it was. It belongs to one machine and one engine.
    """

    def __init__(self, engine, store: Path | None = None):
        self.engine, self.store = engine, store
        self.known: dict[str, tuple[list, float]] = {}
        self.seconds, self.frames = 0.0, 0
        engine([np.zeros((64, 64, 3), np.uint8)])  # loading the weights is not what is measured
        if store is not None and store.exists():
            for line in store.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.known[row["frame"]] = (row["readings"], row["seconds"])

    def __reduce__(self):
        return TimedEngine, (self.engine, self.store)  # what it has read so far makes no other engine of it

    def __call__(self, images: list[np.ndarray]) -> list:
        return [self.recall(self._key(image), lambda image=image: self.engine([image])[0]) for image in images]

    def video_reader(self, min_text_height: float = 0.0) -> Callable[[Sequence], list]:
        """A reader of one segment. What it reads in a frame hangs on the frames before: so does what is kept of it."""
        start = getattr(self.engine, "video_reader", None)
        return _TimedReader(self, start(min_text_height)) if start else frame_by_frame(self)

    def recall(self, key: str, read: Callable[[], list]) -> list:
        """The readings kept under a key, or those that `read` gives."""
        readings = self.kept(key, lambda: [astuple(reading) for reading in read()])
        return [_reading(values) for values in readings]

    def kept(self, key: str, make: Callable[[], list]) -> list:
        """What is kept under a key, of JSON types, or what `make` gives."""
        if key not in self.known:
            start = time.perf_counter()
            made = make()
            self.known[key] = (made, time.perf_counter() - start)
            if self.store is not None:
                row = {"frame": key, "readings": made, "seconds": self.known[key][1]}
                with self.store.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        made, seconds = self.known[key]
        self.seconds += seconds
        self.frames += 1
        return made

    def _key(self, image: np.ndarray, before: str = "") -> str:
        settings = f"{image.shape} {sorted(vars(self.engine).items())} {before}"
        return hashlib.blake2b(image.tobytes() + settings.encode(), digest_size=20).hexdigest()


class _TimedReader:
    """One pass over the frames of a segment."""

    def __init__(self, timed: TimedEngine, reader: Callable[[Sequence], list]):
        self.timed, self.reader = timed, reader
        self.key = "start"
        self.unread: list = []  # frames whose readings were kept: the reader has to see them before it reads another

    def __call__(self, stretches: Sequence) -> list:
        return [self._read(stretch) for stretch in stretches]

    def read_standing(self) -> list:
        """What frames show only together, if the reader reads such."""
        read = getattr(self.reader, "read_standing", list)
        made = self.timed.kept(
            f"{self.key} standing", lambda: [(astuple(text), frames) for text, frames in self._after(read)]
        )
        return [(_reading(values), frames) for values, frames in made]

    def _read(self, stretch) -> list:
        self.key = self.timed._key(stretch.frame, f"{self.key} {stretch.after_cut}")
        if self.key in self.timed.known:
            self.unread.append(stretch)
        return self.timed.recall(self.key, lambda: self._after(lambda: self.reader([stretch])[0]))

    def _after(self, read: Callable[[], list]) -> list:
        """What is read once the reader has seen all frames before."""
        for earlier in self.unread:
            self.reader([earlier])
        self.unread.clear()
        return read()


def _reading(values) -> TextReading:
    text, confidence, *places = values
    return TextReading(text, confidence, *map(_tuples, places))


def _tuples(place):
    """A box or corners, as they come back from a JSON file."""
    return tuple(map(_tuples, place)) if isinstance(place, list | tuple) else place
