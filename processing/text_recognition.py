"""What stands in boxes of an image: the recogniser that rapidocr ships, given crops of few different widths."""

import importlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .ocr_models import import_engine
from .text_detection import fill_planes
from .text_orientation import read_any_way

__all__ = ["Reading", "TextRecogniser"]

ALEF = "\u0627"  # who writes it writes from right to left, but the network's letters come from left to right
HEIGHT = 48  # pixels; what the network was trained on
# Columns that a crop is filled up to. The cost is that of the columns; each width more costs the runtime memory.
WIDTHS = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 2048, 2560)
BATCHES = (8, 4, 2, 1)  # crops read together
BATCH_COLUMNS = 1024  # columns read together, at most, where a crop is not wider itself
UPSIDE_DOWN = "180"  # what the angle classifier calls it


@dataclass(frozen=True)
class Reading:
    """What was read in one box.

    Args:
        text (`str`): as the recogniser writes it.
        confidence (`float`): 0-1, the mean of its characters'.
        quad (`np.ndarray`): `(4, 2)` float32, x, y of the corners, pixels: top left, top right, bottom right, bottom
            left as a reader of the text sees them.
        is_readable (`bool`, *optional*, defaults to `True`): whether it is of a script that the recogniser writes.
    """

    text: str
    confidence: float
    quad: np.ndarray
    is_readable: bool = True


class TextRecogniser:
    """Reads boxes of text.

    Args:
        recogniser (`rapidocr.ch_ppocr_rec.TextRecognizer`): its session and its decoding are used.
        classifier (`rapidocr.ch_ppocr_cls.TextClassifier`): tells which crops are upside down.
        is_unreadable (`Callable`): whether probabilities `(steps, classes)` are of a script that it cannot write.
    """

    def __init__(self, recogniser: Any, classifier: Any, is_unreadable: Callable[[np.ndarray], bool]):
        self.recogniser = recogniser
        self.classifier = classifier
        self.is_unreadable = is_unreadable
        self.reorder = None
        if ALEF in recogniser.postprocess_op.character:
            self.reorder = import_engine("rapidocr", "bidi.algorithm", "pip install python-bidi").get_display
        self.cv2 = importlib.import_module("cv2")

    def read(self, image: np.ndarray, quads: Sequence[np.ndarray]) -> list[Reading]:
        """What stands in each box.

        Args:
            image (`np.ndarray`): `(height, width, 3)` RGB uint8.
            quads: of each box the corners in pixels, `(4, 2)`: top left, top right, bottom right, bottom left.

        Returns:
            `list[Reading]`, one per box; the text is empty where nothing is read, or of a script that cannot be.
        """
        readings = read_any_way(self.read_as_they_lie, self.is_upside_down, image, quads)
        return [reading if reading.is_readable else replace(reading, text="") for reading in readings]

    def read_as_they_lie(self, image: np.ndarray, quads: Sequence[np.ndarray]) -> list[Reading]:
        """What stands in each box, read from its first corner to its second."""
        texts = self.read_crops([self.crop(image, quad) for quad in quads])
        return [
            Reading(text, confidence, quad, is_readable)
            for (text, confidence, is_readable), quad in zip(texts, quads, strict=True)
        ]

    def is_upside_down(self, image: np.ndarray, quads: Sequence[np.ndarray]) -> list[bool]:
        """Whether the text in each box stands on its head, rather than not: right of 19 in 20, and quickly told."""
        crops = [np.ascontiguousarray(self.crop(image, quad)[..., ::-1]) for quad in quads]
        labels = [label if score > 0.5 else "" for label, score in self.classifier(crops).cls_res]
        return [UPSIDE_DOWN in label for label in labels]

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

    def read_crops(self, crops: Sequence[np.ndarray]) -> list[tuple[str, float, bool]]:
        """Text, confidence, and if it is readable, of each crop: `(48, width, 3)` RGB uint8, 2560 columns at most."""
        by_width: dict[int, list[int]] = defaultdict(list)
        for number, crop in enumerate(crops):
            by_width[next(width for width in WIDTHS if width >= crop.shape[1])].append(number)
        texts = [("", 0.0, True)] * len(crops)
        for width, numbers in by_width.items():
            start = 0
            while start < len(numbers):
                count = next(n for n in BATCHES if n == 1 or (n <= len(numbers) - start and n * width <= BATCH_COLUMNS))
                batch = numbers[start : start + count]
                start += count
                for number, text in zip(batch, self._read([crops[n] for n in batch], width), strict=True):
                    texts[number] = text
        return texts

    def _read(self, crops: list[np.ndarray], width: int) -> list[tuple[str, float, bool]]:
        batch = np.zeros((len(crops), 3, HEIGHT, width), np.float32)  # 0 is mid-grey
        for row, crop in zip(batch, crops, strict=True):
            fill_planes(row[:, :, : crop.shape[1]], crop)
        probabilities = self.recogniser.session(batch)
        texts, _ = self.recogniser.postprocess_op(probabilities)
        if self.reorder is not None:
            texts = [(self.reorder(text), confidence) for text, confidence in texts]
        steps = [-(-probabilities.shape[1] * crop.shape[1] // width) for crop in crops]  # the rest are of the filling
        return [
            (text, confidence, not self.is_unreadable(of_one[:count]))
            for (text, confidence), of_one, count in zip(texts, probabilities, steps, strict=True)
        ]


def _sides(quad: np.ndarray) -> tuple[float, float]:
    """Width and height of a box, pixels."""
    top, right, bottom, left = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return float(max(top, bottom)), float(max(left, right))
