"""Which readings of a frame stand side by side on a line, and which on top of each other, whichever way they lie."""

import numpy as np

from .ocr_engines import TextReading
from .text_threads import Sighting

__all__ = ["find_neighbours"]

SAME_LINE = 0.7  # shared height of two words on one line, in heights of the smaller
MAX_WORD_GAP = 3.5  # widest gap inside a line, in text heights; score boards leave wide ones
MIN_WORD_GAP = -0.5  # boxes of two words may overlap by this
MAX_LINE_GAP = 0.8  # widest gap between two lines of a block, in text heights
MAX_HEIGHT_RATIO = 3.0  # texts of more different heights do not belong together
MAX_TURN = 12.0  # degrees between two texts of one line or block
LONG = 2.0  # width of a text relative to its height from which its corners tell how it lies: those of a 1 do not

Pairs = list[tuple[int, int]]


def find_neighbours(sighting: Sighting) -> tuple[Pairs, Pairs]:
    """Pairs of readings of one frame that follow each other on a line, and pairs where the second lies just below.

    What is beside and what is below is told along the first text of a pair: level, or as its corners say.
    """
    if len(sighting.readings) < 2:
        return [], []
    corners = np.array([_corners(reading) for reading in sighting.readings], float) * [sighting.aspect, 1.0]
    angles = _angles(sighting, corners)
    x0, y0, x1, y1 = _turned_boxes(corners, angles)
    own = np.arange(len(corners))
    height = (y1 - y0)[own, own]
    smaller, larger = np.minimum.outer(height, height), np.maximum.outer(height, height)
    turn = np.abs(np.angle(np.exp(1j * (angles[:, None] - angles))))
    comparable = (larger <= MAX_HEIGHT_RATIO * smaller) & (turn <= np.radians(MAX_TURN))
    np.fill_diagonal(comparable, False)
    smaller = np.maximum(smaller, 1e-9)
    # row i: texts as they lie for one who reads text i
    left, top, right, bottom = (side[own, own][:, None] for side in (x0, y0, x1, y1))
    shared_height = np.minimum(bottom, y1) - np.maximum(top, y0)
    shared_width = np.minimum(right, x1) - np.maximum(left, x0)
    word_gap, line_gap = (x0 - right) / smaller, -shared_height / smaller
    on_line = line_gap < -SAME_LINE
    beside = comparable & on_line & (left < x0) & (word_gap >= MIN_WORD_GAP) & (word_gap <= MAX_WORD_GAP)
    below = comparable & ~on_line & (top < y0) & (shared_width > 0) & (line_gap <= MAX_LINE_GAP)
    return _nearest(beside, word_gap), _nearest(below, line_gap)


def _angles(sighting: Sighting, corners: np.ndarray) -> np.ndarray:
    """How much each text is turned, radians, clockwise; short ones as the nearest that is long enough to tell."""
    if all(reading.corners is None for reading in sighting.readings):
        return np.zeros(len(corners))
    along, across = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    angles = np.arctan2(along[:, 1], along[:, 0])
    is_long = np.hypot(*along.T) >= LONG * np.hypot(*across.T)
    if is_long.any():
        centres = corners.mean(axis=1)
        for place in np.flatnonzero(~is_long):
            distances = np.linalg.norm(centres[is_long] - centres[place], axis=1)
            angles[place] = angles[is_long][distances.argmin()]
    return angles


def _corners(reading: TextReading) -> tuple[tuple[float, float], ...]:
    x0, y0, x1, y1 = reading.box
    return reading.corners or ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _turned_boxes(corners: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Boxes of all texts, turned so that each in turn lies level: x0, y0, x1, y1, each `(n, n)` or `(1, n)`."""
    if not angles.any():
        sides = [corners.min(axis=1), corners.max(axis=1)]
        return np.repeat(np.concatenate(sides, axis=1).T[:, None], len(corners), axis=1)
    kinds, kind_of = np.unique(angles, return_inverse=True)
    cosine, sine = np.cos(kinds), np.sin(kinds)
    turn = np.array([[cosine, -sine], [sine, cosine]]).transpose(2, 0, 1)  # (kinds, 2, 2)
    turned = np.einsum("ncx,kxy->knyc", corners, turn)  # (kinds, n, 2, 4)
    sides = np.concatenate([turned.min(axis=3), turned.max(axis=3)], axis=2)  # (kinds, n, 4)
    return sides.transpose(2, 0, 1)[:, kind_of]


def _nearest(possible: np.ndarray, gaps: np.ndarray) -> Pairs:
    """The nearest of all followers of each reading; a follower follows one reading only."""
    firsts, seconds = np.nonzero(possible)
    followed, following, kept = set(), set(), []
    for place in np.argsort(gaps[firsts, seconds], kind="stable").tolist():
        first, second = int(firsts[place]), int(seconds[place])
        if first not in followed and second not in following:
            followed.add(first)
            following.add(second)
            kept.append((first, second))
    return kept
