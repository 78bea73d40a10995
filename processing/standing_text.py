"""Text that stands still while the picture moves, and is too faint to be read in any frame, as a half-transparent mark:
in the mean of many frames what moves blurs, and the text stays (ours)."""

import importlib
from collections.abc import Iterable

import numpy as np

from .unchanged_boxes import bounds

__all__ = ["StandingPicture"]

MIN_FRAMES = 4  # in the mean of fewer, what moves still has edges
MAX_FRAMES = 128  # a minute and a half; a mark that stands for less of it fades in their mean
MAX_BYTES = 1 << 26  # of scenes, each of which is kept in grey levels
SAME_PLACE = 0.3  # share of the smaller of two boxes above which they are one
COVERED = 0.9  # share of a box above which what was read there is all that it shows
PRESENT = 0.25  # correlation of what stands out from which on a scene shows the text that others show


class StandingPicture:
    """The mean of some frames, and of those of each scene among them.

    Attributes:
        num_frames (`int`): that were added in all; each has the number that there were before it.
        is_full (`bool`): whether there are so many that it is time to read them and [`~StandingPicture.begin_anew`].
    """

    def __init__(self):
        self.cv2 = importlib.import_module("cv2")
        self.num_frames = 0
        self.begin_anew((0, 0, 3))

    def begin_anew(self, shape: tuple[int, ...] | None = None) -> None:
        """Forgets all frames; those that come are of the same shape if none is given."""
        shape = self._total.shape if shape is None else shape
        self._read: list[tuple[np.ndarray, int, int]] = []  # boxes, how many letters they hold, and in which frame
        self._total, self._scene = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._scenes: list[tuple[range, np.ndarray]] = []  # numbers of the frames, and their mean in grey levels
        self._first = self._begin = self.num_frames  # of all, and of the scene

    @property
    def is_full(self) -> bool:
        kept = len(self._scenes) * self._scene[..., 0].size
        return self.num_frames - self._first >= MAX_FRAMES or kept >= MAX_BYTES

    def add(self, image: np.ndarray, read: Iterable[tuple[np.ndarray, str]], after_cut: bool) -> None:
        """Takes the next frame.

        Args:
            image (`np.ndarray`): `(height, width, 3)` RGB uint8. One of another size begins anew.
            read (`Iterable[tuple[np.ndarray, str]]`): what was read in it: corners, `(4, 2)` in pixels, and text.
            after_cut (`bool`): whether a new scene begins with it.
        """
        if image.shape != self._total.shape:
            self.begin_anew(image.shape)
        elif after_cut:
            self._end_scene()
        self.cv2.accumulate(image, self._scene)
        self._read += [(bounds(quad), len(text), self.num_frames) for quad, text in read]
        self.num_frames += 1

    def mean(self) -> np.ndarray | None:
        """All frames in one, RGB uint8; `None` while there are too few."""
        self._end_scene()
        count = self.num_frames - self._first
        return (self._total / count).astype(np.uint8) if count >= MIN_FRAMES else None

    def may_show_more(self, quad: np.ndarray) -> bool:
        """Whether what was read in a place is not all that it shows, given by its corners, `(4, 2)` in pixels."""
        common, area, _ = self._shared(quad)
        return not (common >= COVERED * area).any()

    def frames_with(self, quad: np.ndarray, text: str) -> list[int]:
        """Numbers of the frames that show a text of the mean which was not read in them: none, if any frame showed as
        much in that place."""
        common, area, areas = self._shared(quad)
        there = [
            each for each, one in zip(self._read, common > SAME_PLACE * np.minimum(area, areas), strict=True) if one
        ]
        if any(letters >= len(text) for _, letters, _ in there):
            return []
        return sorted(set(self._frames_of_scenes_with(quad)).difference(frame for *_, frame in there))

    def _shared(self, quad: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """Areas of a place and of each that was read: the area in both, the area of the place, and of what was read."""
        box, boxes = bounds(quad), np.reshape([box for box, *_ in self._read], (-1, 4))
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        return sides.clip(0).prod(axis=1), (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)

    def _frames_of_scenes_with(self, quad: np.ndarray) -> list[int]:
        """Numbers of the frames of the scenes that show what the mean shows in a place: of those that look there as
        others do; or, where none does, of the one that the mean looks like."""
        x0, y0, x1, y1 = bounds(quad)
        margin, stroke = (y1 - y0) / 2, int((y1 - y0) / 8) + 1
        rows = slice(max(0, int(y0 - margin)), int(y1 + margin) + 1)
        columns = slice(max(0, int(x0 - margin)), int(x1 + margin) + 1)
        parts = np.stack([len(numbers) * self._relief(mean[rows, columns], stroke) for numbers, mean in self._scenes])
        common = parts.sum(axis=0)
        shown = np.array([_cosine(part, common - part) >= PRESENT for part in parts])
        if not shown.any():
            shown[(parts * common).sum(axis=(1, 2)).argmax()] = True
        found = 0
        while found != (found := shown.sum()):
            common = parts[shown].sum(axis=0)
            shown |= [_cosine(part, common) >= PRESENT for part in parts]
        return [frame for number in np.flatnonzero(shown) for frame in self._scenes[number][0]]

    def _end_scene(self) -> None:
        numbers = range(self._begin, self.num_frames)
        if numbers:
            grey = self.cv2.cvtColor((self._scene / len(numbers)).astype(np.uint8), self.cv2.COLOR_RGB2GRAY)
            self._scenes.append((numbers, grey))
            self._total += self._scene
            self._scene[:] = 0
            self._begin = self.num_frames

    def _relief(self, grey: np.ndarray, reach: int) -> np.ndarray:
        """What stands out from its surroundings, so many pixels to each side."""
        grey = grey.astype(np.float32)
        return grey - self.cv2.blur(grey, (2 * reach + 1, 2 * reach + 1))


def _cosine(part: np.ndarray, other: np.ndarray) -> float:
    return float((part * other).sum() / max(1e-6, float(np.linalg.norm(part) * np.linalg.norm(other))))
