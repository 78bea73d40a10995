"""Where text stands in an image: the detector that rapidocr ships, at any size."""

import importlib
from typing import Any, NamedTuple

import numpy as np

__all__ = ["UNSURE", "Boxes", "TextDetector", "fill_planes", "reading_size"]

STRIDE = 32  # pixels; the network takes multiples of it
UNSURE = 0.75  # of the threshold: what is found between is text only if the recogniser is sure of it
LEVELS = (np.arange(256) / 127.5 - 1).astype(np.float32)  # what the networks take for 0-255


def reading_size(shape: tuple[int, ...], side: int, enlarge: bool = True) -> tuple[int, int]:
    """Height and width, in pixels, of an image of that shape whose longer side is made `side`."""
    scale = side / max(shape[:2])
    if not enlarge:
        scale = min(1.0, scale)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def fill_planes(planes: np.ndarray, image: np.ndarray) -> None:
    """Writes an image, `(height, width, 3)` RGB uint8, as the networks take it: `(3, height, width)` float32, BGR."""
    cv2 = importlib.import_module("cv2")
    for plane, channel in zip(planes, reversed(cv2.split(image)), strict=True):
        plane[...] = cv2.LUT(channel, LEVELS)  # in a twelfth of the time of arithmetic in float64


class Boxes(NamedTuple):
    """Where text may stand, from top to bottom and from left to right.

    Attributes:
        quads (`np.ndarray` of shape `(num_boxes, 4, 2)`, float32): x, y of the corners in pixels of the image; the
            corner at the top left first, then clockwise.
        are_sure (`np.ndarray` of shape `(num_boxes,)`, bool): whether the detector is as sure of each as was asked for.
    """

    quads: np.ndarray
    are_sure: np.ndarray

    def only(self, chosen: np.ndarray) -> "Boxes":
        """Those for which an array `(num_boxes,)` is true."""
        return Boxes(self.quads[chosen], self.are_sure[chosen])


class TextDetector:
    """Finds boxes of text.

    Args:
        detector (`rapidocr.ch_ppocr_det.TextDetector`): its session and its post-processing are used, which is to give
            boxes from `UNSURE` of the threshold on.
        threshold (`float`): how likely the pixels of a box must be text, on average, for it to be sure, 0-1.
    """

    def __init__(self, detector: Any, threshold: float):
        self.detector = detector
        self.threshold = threshold
        self.cv2 = importlib.import_module("cv2")

    def probabilities(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """How likely each pixel is text.

        Args:
            image (`np.ndarray`): `(height, width, 3)` RGB uint8.
            size (`tuple[int, int]`): height and width at which to look, pixels; rounded to multiples of 32.

        Returns:
            `np.ndarray`, `(1, 1, height, width)` float32, 0-1, of the rounded size.
        """
        height, width = (max(STRIDE, round(side / STRIDE) * STRIDE) for side in size)
        if (height, width) != image.shape[:2]:
            reduces = height * width < image.shape[0] * image.shape[1]
            interpolation = self.cv2.INTER_AREA if reduces else self.cv2.INTER_CUBIC
            image = self.cv2.resize(image, (width, height), interpolation=interpolation)
        batch = np.empty((1, 3, height, width), np.float32)
        fill_planes(batch[0], image)
        return self.detector.session(batch)

    def find(self, image: np.ndarray, size: tuple[int, int]) -> Boxes:
        """Boxes of text.

        Args:
            image (`np.ndarray`): `(height, width, 3)` RGB uint8.
            size (`tuple[int, int]`): height and width at which to look, pixels.

        Returns:
            [`Boxes`], those that are not sure among them.
        """
        probabilities = self.probabilities(image, size)
        # whole pixels come back: those of the larger of the two images, so that none are lost by rounding
        height, width = max(size[0], image.shape[0]), max(size[1], image.shape[1])
        quads, scores = self.detector.postprocess_op(probabilities, (height, width))
        if not len(quads):
            return Boxes(np.zeros((0, 4, 2), np.float32), np.zeros(0, bool))
        is_sure = {quad.tobytes(): score >= self.threshold for quad, score in zip(quads, scores, strict=True)}
        quads = np.asarray(self.detector.sorted_boxes(np.asarray(quads)))
        scale = np.array((image.shape[1] / width, image.shape[0] / height), np.float32)
        return Boxes(quads.astype(np.float32) * scale, np.array([is_sure[quad.tobytes()] for quad in quads]))
