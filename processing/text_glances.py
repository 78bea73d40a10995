"""Where a small look at a frame sees what may be text, so that only these places are looked at closely (ours).

A detector's small look misfires on railings, foliage and windows as often as it sees text. To look at the whole frame
each time costs ten such looks; to look at the places themselves, as large as the full size would show them, costs one.
"""

import importlib
from typing import NamedTuple

import numpy as np

__all__ = ["Place", "likely_places", "part_around"]

MAY_BE_TEXT = 0.2  # probability from which a place is looked at closely
MARGIN = 12  # pixels of the small look around what it sees: a letter or two beside it
SIDES = (64, 128, 192, 256, 384, 512)  # pixels, of parts that are looked at: runtimes pay for each shape anew
CLOSE = 256  # pixels, at most, of what is looked at around the likeliest point of a large place


class Place(NamedTuple):
    """Where a frame may show text, relative to its width and height, 0-1.

    Attributes:
        box (`np.ndarray` of shape `(4,)`): x0, y0, x1, y1.
        peak (`np.ndarray` of shape `(2,)`): x, y of the likeliest point.
    """

    box: np.ndarray
    peak: np.ndarray

    @property
    def area(self) -> float:
        """Share of the frame."""
        return float((self.box[2:] - self.box[:2]).prod())


def likely_places(probabilities: np.ndarray) -> list[Place]:
    """Where a frame may show text, the likeliest place first.

    Args:
        probabilities (`np.ndarray` of shape `(height, width)`): of text, as the small look gives them.
    """
    cv2 = importlib.import_module("cv2")
    seen = (probabilities >= MAY_BE_TEXT).astype(np.uint8)
    around = cv2.dilate(seen, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(around)
    size = np.array(probabilities.shape[::-1])
    found = []
    for label, (x, y, width, height, _) in zip(range(1, count), stats[1:], strict=True):
        part = slice(y, y + height), slice(x, x + width)
        inside = np.where(labels[part] == label, probabilities[part], 0)
        row, column = np.unravel_index(inside.argmax(), inside.shape)
        box = np.concatenate([(x, y) / size, (x + width, y + height) / size])
        found.append((inside[row, column], Place(box, np.array([x + column + 0.5, y + row + 0.5]) / size)))
    return [place for _, place in sorted(found, key=lambda each: -each[0])]


def part_around(
    place: Place, shape: tuple[int, ...], scale: float, limit: int | None = None
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """The part of an image around a place, of one of few shapes.

    Args:
        place (`Place`): the place.
        shape (`tuple[int, ...]`): height and width of the image, pixels.
        scale (`float`): how many pixels one of the image is looked at with.
        limit (`int`, *optional*): the longest side, in such pixels; of a larger place the part around its peak.

    Returns:
        Rows and columns of the image, and the height and width, in pixels, at which to look at them.
    """
    sides = []
    for axis, length in ((1, shape[0]), (0, shape[1])):
        start, end = place.box[axis] * length, place.box[axis + 2] * length
        middle, wanted = (start + end) / 2, (end - start) * scale
        if limit is not None and wanted > limit:
            middle, wanted = place.peak[axis] * length, limit
        side = min(next((side for side in SIDES if side >= wanted), length * scale), length * scale)
        half = side / scale / 2
        middle = min(max(middle, half), length - half)
        sides.append((slice(max(0, round(middle - half)), round(middle + half)), round(side)))
    (rows, height), (columns, width) = sides
    return (rows, columns), (height, width)
