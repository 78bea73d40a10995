"""Text that does not lie level: on its side, upside down, tilted, or with its letters on top of each other.

A detector gives a text as a quad: its four corners, in pixels. Which of them is the top left one for a reader of the
text is all that tells upright text from turned text, so a turned text is read by beginning at another corner, and
stacked letters by laying them side by side first. Whichever reading has the most confidence wins. The second readings
are for boxes that are taller than wide and for readings of little confidence alone: they cost time. (Source: ours.)
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

__all__ = ["letter_strip", "read_any_way", "stacks", "turned"]

MAX_LETTER = 2.5  # height of one letter in widths of its box, such as I or 1
TALL = 1.5  # height of a quad in widths from which its text may run downwards or upwards
SURE = 0.9  # a tall text that is read with so much confidence is not tried another way
# Confidence at which level text may be upside down: of such, rendered, it was .58 to .84. A reading below is noise, as
# a rule, and there is much of it.
DOUBTFUL = (0.5, 0.87)
TURN_GAIN = 0.1  # confidence that a reading at another angle must have more
MIN_TURNED = 0.7  # least confidence of a reading at another angle
MIN_STACK = 3  # letters; two on top of each other are two rows of a table more often
STACK_GAP = 0.8  # widest gap between two letters of a stack, in widths of the wider one
STRIP_HEIGHT = 48  # pixels of a letter laid beside others: what recognisers take


class Reading(Protocol):
    """What a recogniser says of one quad: a dataclass, since copies with other texts and quads are made of it."""

    text: str
    confidence: float
    quad: np.ndarray


Read = Callable[[np.ndarray, Sequence[np.ndarray]], list[Any]]
Guess = Callable[[np.ndarray, Sequence[np.ndarray]], list[bool]]


def turned(quad: np.ndarray, quarters: int) -> np.ndarray:
    """The corners `(4, 2)` of text turned clockwise by so many quarters of a circle: it begins at another corner."""
    return np.roll(quad, -quarters, axis=0)


def read_any_way(read: Read, is_upside_down: Guess, image: np.ndarray, quads: Sequence[np.ndarray]) -> list[Any]:
    """Reads texts whichever way they lie.

    Args:
        read (`Callable`):
            `read(image, quads)` reads each quad as it lies, from its first corner to its second, and returns a
            `Reading` for each.
        is_upside_down (`Callable`): `is_upside_down(image, quads)` guesses of each quad whether it is, for less time.
        image (`np.ndarray` of shape `(height, width, 3)`): uint8.
        quads (`Sequence[np.ndarray]`): of shape `(4, 2)`, pixels, from the image's top left corner clockwise.

    Returns:
        `list[Reading]`, one per quad. Its `quad` begins at the reader's top left corner. Of letters that stand in a
        stack the first has the word, and the quad of all; the others' text is empty.
    """
    readings = read(image, [_first_way(quad) for quad in quads])
    ways = {index: _ways_of_tall(quad) for index, quad in enumerate(quads) if _is_tall(quad)}
    ways = {index: its for index, its in ways.items() if readings[index].confidence < SURE}
    doubtful = [
        index
        for index, reading in enumerate(readings)
        if not _is_tall(quads[index]) and DOUBTFUL[0] <= reading.confidence < DOUBTFUL[1]
    ]
    guesses = is_upside_down(image, [quads[index] for index in doubtful]) if doubtful else []
    ways |= {index: [turned(quads[index], 2)] for index, guess in zip(doubtful, guesses, strict=True) if guess}
    for index, other in zip(ways, _read_ways(read, image, list(ways.values())), strict=True):
        if other.confidence > max(MIN_TURNED, readings[index].confidence + TURN_GAIN):
            readings[index] = other
    for index in ways:
        if _is_tall(quads[index]) and readings[index].confidence < SURE:
            word = _read_letters(read, image, letters_of(image, quads[index]), quads[index])
            if word.confidence > readings[index].confidence + TURN_GAIN:
                readings[index] = word
    return _with_stacks(read, image, quads, readings)


def _with_stacks(read: Read, image: np.ndarray, quads: Sequence[np.ndarray], readings: list[Any]) -> list[Any]:
    """The readings with the letters of each stack made one word, where that is read better than the worst of them."""
    for stack in stacks(quads):
        letters: list[np.ndarray] = []
        for index in stack:
            quad = quads[index]
            for letter in letters_of(image, quad) if _is_tall(quad) else [quad]:
                if not letters or letter[:, 1].mean() > letters[-1][:, 1].max():  # boxes overlap: no letter twice
                    letters.append(letter)
        if len(letters) < MIN_STACK:
            continue
        word = _read_letters(read, image, letters, np.concatenate([quads[stack[0]][:2], quads[stack[-1]][2:]]))
        if word.confidence > min(readings[index].confidence for index in stack):
            for index in stack:
                readings[index] = replace(readings[index], text="")
            readings[stack[0]] = word
    return readings


def _read_ways(read: Read, image: np.ndarray, ways: list[list[np.ndarray]]) -> list[Any]:
    """For each text the reading of the way that has most confidence."""
    readings = iter(read(image, [way for all_ways in ways for way in all_ways]) if ways else ())
    return [max((next(readings) for _ in all_ways), key=lambda reading: reading.confidence) for all_ways in ways]


def _read_letters(read: Read, image: np.ndarray, letters: Sequence[np.ndarray], quad: np.ndarray) -> Any:
    """The reading of letters, each with a quad of its own, as one word, which stands in another quad."""
    strip = letter_strip(image, letters)
    height, width = strip.shape[:2]
    (reading,) = read(strip, [np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)])
    return replace(reading, text=reading.text.replace(" ", ""), quad=quad)


def _first_way(quad: np.ndarray) -> np.ndarray:
    """How a text is read at first. A tall one is read downwards: recognisers know columns of letters so, too."""
    return turned(quad, 1) if _is_tall(quad) else quad


def _ways_of_tall(quad: np.ndarray) -> list[np.ndarray]:
    """How a tall text is read that was not read well downwards: upwards, or, if not very tall, as one letter."""
    return [turned(quad, 3), quad] if _side(quad, 3) < MAX_LETTER * _side(quad, 1) else [turned(quad, 3)]


def _is_tall(quad: np.ndarray) -> bool:
    return _side(quad, 3) >= TALL * _side(quad, 1)


def stacks(quads: Sequence[np.ndarray]) -> list[list[int]]:
    """Letters that stand on top of each other: of each stack the indices of its quads, from the top.

    At least two boxes, one of them of a single letter, others perhaps of several, of like widths, one straight below
    the other, close, and with nothing beside them: digits below each other in a table have their rows there.
    """
    if len(quads) < 2:
        return []
    corners = np.asarray(quads, dtype=float)
    (x0, y0), (x1, y1) = corners.min(axis=1).T, corners.max(axis=1).T
    width, height, middle = x1 - x0, y1 - y0, (x0 + x1) / 2
    upright = width < 1.6 * height
    below: dict[int, int] = {}
    for upper in np.flatnonzero(upright):
        wider, lower = np.maximum(width, width[upper]), np.minimum(height, height[upper])
        like = (np.abs(middle - middle[upper]) < 0.35 * wider) & (wider < 2.2 * np.minimum(width, width[upper]))
        gap = y0 - y1[upper]
        near = upright & like & (gap > -0.5 * lower) & (gap < STACK_GAP * wider) & (y0 > y0[upper])
        if near.any():
            below[int(upper)] = int(np.flatnonzero(near)[np.argmin(y0[near])])
    found = []
    for top in sorted(set(below) - set(below.values()), key=lambda index: y0[index]):
        chain = [top]
        while chain[-1] in below:
            chain.append(below[chain[-1]])
        beside = np.minimum(y1[:, None], y1[chain]) - np.maximum(y0[:, None], y0[chain]) > 0.5 * width[chain]
        apart = np.maximum(x0[:, None], x0[chain]) - np.minimum(x1[:, None], x1[chain])
        beside &= (apart > -0.3 * width[chain]) & (apart < 3 * width[chain])
        beside[chain] = False
        if (height[chain] < TALL * width[chain]).any() and not beside.any():
            found.append(chain)
    return found


def letters_of(image: np.ndarray, quad: np.ndarray) -> list[np.ndarray]:
    """The quads of the letters on top of each other in a tall quad: parted where there is least ink between them."""
    crop = _crop(image, quad, round(_side(quad, 3)))
    ink = _ink(crop)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return [quad]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ink.any(axis=1), [0]]).astype(int)))
    runs = edges.reshape(-1, 2).tolist()
    letter = max(float(columns[-1] - columns[0] + 1), 1.0)
    high = 1.1 * max([letter, *(end - start for start, end in runs if end - start < 1.6 * letter)])
    merged = [runs[0]]
    for start, end in runs[1:]:  # the strokes of 二, the dot of i
        if end - merged[-1][0] <= high:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    cells = []
    for start, end in merged:
        count = max(1, round((end - start) / high))
        cuts = np.linspace(start, end, count + 1)
        cells += pairwise(cuts)
    margin = 0.08 * letter
    return [_part(quad, max(0.0, (a - margin) / len(ink)), min(1.0, (b + margin) / len(ink))) for a, b in cells]


def letter_strip(image: np.ndarray, quads: Sequence[np.ndarray]) -> np.ndarray:
    """Letters laid side by side: uint8 of shape `(48, width, 3)`."""
    crops = [_crop(image, quad, STRIP_HEIGHT) for quad in quads]
    pieces = []
    for crop in crops:
        columns = np.flatnonzero(_ink(crop).any(axis=0))
        if len(columns):  # letters of one word stand closer than their boxes
            crop = crop[:, max(0, columns[0] - 4) : columns[-1] + 5]
        pieces.append(crop)
    return np.concatenate(pieces, axis=1)


def _side(quad: np.ndarray, corner: int) -> float:
    """Length of the side between the first corner and another one."""
    return max(1.0, float(np.hypot(*(quad[corner] - quad[0]))))


def _part(quad: np.ndarray, start: float, end: float) -> np.ndarray:
    """The part of a quad between two shares of its height."""
    left, right = quad[3] - quad[0], quad[2] - quad[1]
    return np.array([quad[0] + start * left, quad[1] + start * right, quad[1] + end * right, quad[0] + end * left])


def _crop(image: np.ndarray, quad: np.ndarray, height: int) -> np.ndarray:
    """A quad of the image as a rectangle of this height in pixels, in proportion."""
    cv2 = importlib.import_module("cv2")
    height = max(8, height)
    width = max(8, round(height * _side(quad, 1) / _side(quad, 3)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    transform = cv2.getPerspectiveTransform(np.ascontiguousarray(quad, dtype=np.float32), target)
    return cv2.warpPerspective(image, transform, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _ink(crop: np.ndarray) -> np.ndarray:
    """Where a crop differs from its left and right edges: bool of shape `(height, width)`."""
    ground = np.median(np.concatenate([crop[:, :2], crop[:, -2:]], axis=1), axis=(0, 1))
    difference = np.abs(crop.astype(np.float32) - ground).max(axis=2)
    return difference > max(24.0, 0.4 * float(difference.max()))
