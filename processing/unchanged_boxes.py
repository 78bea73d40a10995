"""Which boxes of a frame show what was read there before, so that they need not be read again."""

import importlib
from dataclasses import dataclass

import numpy as np

from .text_recognition import Reading

__all__ = ["ReadBoxes", "bounds"]

SURE = 0.9  # confidence below which a box is read again: at any other, texts were lost
SAME_PLACE = 0.8  # share of each of two boxes that lies in the other
CHANGED = 24.0  # grey levels, anywhere in the box
DRIFTED = 6.0  # grey levels, on average
COVERED = 0.1  # share of a box above which it is one with another
MARGIN = 0.25  # of a box's height: text that grows beyond it has new letters


@dataclass
class _ReadBox:
    reading: Reading
    box: np.ndarray  # x0, y0, x1, y1 of what was read, pixels
    area: tuple[int, int, int, int]  # the same with a margin, in whole pixels
    pixels: np.ndarray  # blurred grey levels of that area as they were read


class ReadBoxes:
    """What was read last in each place of a video's frames, all of one size."""

    def __init__(self):
        self.cv2 = importlib.import_module("cv2")
        self.boxes: list[_ReadBox] = []
        self.grey = np.zeros((0, 0), np.int16)

    def look(self, image: np.ndarray) -> None:
        """Takes the next frame, `(height, width, 3)` RGB uint8, and forgets what is no longer shown as it was read."""
        grey = self.cv2.blur(self.cv2.cvtColor(image, self.cv2.COLOR_RGB2GRAY), (3, 3)).astype(np.int16)
        if grey.shape != self.grey.shape:
            self.boxes = []
        self.grey = grey
        self.boxes = [box for box in self.boxes if self._is_unchanged(box)]

    def recall(self, quad: np.ndarray) -> Reading | None:
        """What was read at these corners, `(4, 2)` in pixels, if it stands there unchanged and was read surely."""
        found = bounds(quad)
        for box in self.boxes:
            if (
                box.reading.confidence >= SURE
                and min(_shared(found, box.box), _shared(box.box, found)) >= SAME_PLACE
                and (found[:2] >= box.area[:2]).all()
                and (found[2:] <= box.area[2:]).all()
            ):
                return box.reading
        return None

    def beside(self, quads: list[np.ndarray]) -> list[Reading]:
        """What was read before, stands there unchanged, and is not covered by these boxes."""
        found = [bounds(quad) for quad in quads]
        return [box.reading for box in self.boxes if all(_shared(box.box, other) <= COVERED for other in found)]

    def keep(self, readings: list[Reading]) -> None:
        """Remembers the readings of the frame that was looked at last, and no others."""
        known = {id(box.reading): box for box in self.boxes}
        self.boxes = [known.get(id(reading)) or self._box(reading) for reading in readings]

    def _box(self, reading: Reading) -> _ReadBox:
        box = bounds(reading.quad)
        margin = max(2.0, MARGIN * min(box[2] - box[0], box[3] - box[1]))
        height, width = self.grey.shape
        x0, y0 = (max(0, int(value - margin)) for value in box[:2])
        x1, y1 = min(width, int(box[2] + margin) + 1), min(height, int(box[3] + margin) + 1)
        return _ReadBox(reading, box, (x0, y0, x1, y1), self.grey[y0:y1, x0:x1].copy())

    def _is_unchanged(self, box: _ReadBox) -> bool:
        x0, y0, x1, y1 = box.area
        difference = np.abs(self.grey[y0:y1, x0:x1] - box.pixels)
        return bool(difference.max(initial=0) < CHANGED and difference.mean() < DRIFTED)


def bounds(quad: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 around corners `(4, 2)`."""
    return np.concatenate([quad.min(axis=0), quad.max(axis=0)])


def _shared(box: np.ndarray, other: np.ndarray) -> float:
    """The share of a box, x0, y0, x1, y1, that lies in another."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(sides.clip(0).prod() / max(1.0, (box[2:] - box[:2]).prod()))
