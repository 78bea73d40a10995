"""What stands in boxes of an image: the recogniser that rapidocr ships, given crops of few different widths."""

import importlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .text_detection import fill_planes

__all__ = ["Reading", "TextRecogniser", "upright"]

HEIGHT = 48  # pixels; what the network was trained on
# Columns that a crop is filled up to. The cost is that of the columns; each width more costs the runtime memory.
WIDTHS = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 2048, 2560)
BATCHES = (8, 4, 2, 1)  # crops read together
BATCH_COLUMNS = 1024  # columns read together, at most, where a crop is not wider itself
TALL = 1.5  # a box so many times as high as it is wide is taken for text that is turned by 90 degrees


@dataclass(frozen=True)
class Reading:
    """What was read in one box.

    Args:
        text (`str`): as the recogniser writes it.
        confidence (`float`): 0-1, the mean of its characters'.
        quad (`np.ndarray`): `(4, 2)` float32, x, y of the corners, pixels: top left, top right, bottom right, bottom
            left as a reader of the text sees them.
    """

    text: str
    confidence: float
    quad: np.ndarray


def upright(quad: np.ndarray) -> np.ndarray:
    """The corners of a detected box in the order of its reader: a tall box is read from the top to the bottom."""
    width, height = _sides(quad)
    return np.roll(quad, -1, axis=0) if height >= TALL * width else quad


class TextRecogniser:
    """Reads boxes of text.

    Args:
        recogniser (`rapidocr.ch_ppocr_rec.TextRecognizer`): its session and its decoding are used.
    """

    def __init__(self, recogniser: Any):
        self.recogniser = recogniser
        self.cv2 = importlib.import_module("cv2")

    def read(self, image: np.ndarray, quads: Sequence[np.ndarray]) -> list[Reading]:
        """What stands in each box.

        Args:
            image (`np.ndarray`): `(height, width, 3)` RGB uint8.
            quads: of each box the corners in pixels, `(4, 2)`: top left, top right, bottom right, bottom left.

        Returns:
            `list[Reading]`, one per box; the text is empty where nothing is read.
        """
        quads = [upright(quad) for quad in quads]
        texts = self.read_crops([self.crop(image, quad) for quad in quads])
        return [Reading(*read, quad) for read, quad in zip(texts, quads, strict=True)]

    def crop(self, image: np.ndarray, quad: np.ndarray) -> np.ndarray:
        """The box cut out, upright: `(48, width, 3)` RGB uint8, as wide as its shape asks, 2560 at most."""
        width, height = _sides(quad)
        columns = int(min(WIDTHS[-1], max(1, np.ceil(HEIGHT * width / max(1.0, height)))))
        # warping looks at few pixels: where the box is much larger than its crop, most would go unseen
        factor = max(1, round(height / HEIGHT))
        size = (columns * factor, HEIGHT * factor)
        right, bottom = size
        target = np.array([(0, 0), (right, 0), (right, bottom), (0, bottom)], np.float32)
        transform = self.cv2.getPerspectiveTransform(np.asarray(quad, np.float32), target)
        flags, border = self.cv2.INTER_CUBIC, self.cv2.BORDER_REPLICATE
        crop = self.cv2.warpPerspective(image, transform, size, flags=flags, borderMode=border)
        if factor > 1:
            crop = self.cv2.resize(crop, (columns, HEIGHT), interpolation=self.cv2.INTER_AREA)
        return crop

    def read_crops(self, crops: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Text and confidence of each crop, `(48, width, 3)` RGB uint8 of at most 2560 columns."""
        by_width: dict[int, list[int]] = defaultdict(list)
        for number, crop in enumerate(crops):
            by_width[next(width for width in WIDTHS if width >= crop.shape[1])].append(number)
        texts: list[tuple[str, float]] = [("", 0.0)] * len(crops)
        for width, numbers in by_width.items():
            start = 0
            while start < len(numbers):
                count = next(n for n in BATCHES if n == 1 or (n <= len(numbers) - start and n * width <= BATCH_COLUMNS))
                batch = numbers[start : start + count]
                start += count
                for number, text in zip(batch, self._read([crops[n] for n in batch], width), strict=True):
                    texts[number] = text
        return texts

    def _read(self, crops: list[np.ndarray], width: int) -> list[tuple[str, float]]:
        batch = np.zeros((len(crops), 3, HEIGHT, width), np.float32)  # 0 is mid-grey
        for row, crop in zip(batch, crops, strict=True):
            fill_planes(row[:, :, : crop.shape[1]], crop)
        texts, _ = self.recogniser.postprocess_op(self.recogniser.session(batch))
        return texts


def _sides(quad: np.ndarray) -> tuple[float, float]:
    """Width and height of a box, pixels."""
    top, right, bottom, left = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return float(max(top, bottom)), float(max(left, right))
