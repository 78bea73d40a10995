"""Which of the sampled frames are worth reading: a cheap look at thumbnails before the expensive OCR (ours).

A video is split into *stretches*: runs of samples that one read frame stands for. Three rules close a stretch:

* **cut**: most of the picture changed from the last sample and so did its grey levels. A moving camera changes the
  picture too, but keeps the grey levels;
* **something came to rest**: a patch that differs from the frame chosen so far but not from the last sample. Text that
  is shown to be read stands still; people, balls and cars do not;
* **interval**: the picture keeps changing and the last frame was chosen `reading_interval` seconds ago.

Within a stretch the sharpest frame is chosen: blur makes text unreadable, and text makes a frame sharper.
A still picture is one stretch, however long.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["Stretch", "frame_by_frame", "split_into_stretches"]

THUMBNAIL_SIDE = 192  # pixels; a text of 4 % of the height is 4 pixels high here, enough to be noticed
CELL = 8  # pixels; change is looked for in patches of this size because text that appears is small
CHANGED = 10.0  # mean grey-level difference (0-255) of a patch that changed; video compression stays below 4
STILL = 4.0
CUT_AREA = 0.6  # share of the patches that a cut changes
CUT_GREY_OVERLAP = 0.7  # overlap of the grey-level histograms below which it was not the camera that moved


@dataclass
class Stretch:
    """Sampled frames that one frame stands for.

    Args:
        time (`float`): time of the chosen frame, seconds.
        frame (`np.ndarray`): the chosen frame, `(height, width, 3)` RGB uint8.
        times (`list[float]`): times of all samples it stands for, seconds, ascending.
        after_cut (`bool`, *optional*, defaults to `False`): whether a new scene begins with it.
        sharpness (`float`, *optional*, defaults to 0.0): of the chosen frame, mean absolute Laplacian of its thumbnail.
    """

    time: float
    frame: np.ndarray
    times: list[float] = field(default_factory=list)
    after_cut: bool = False
    sharpness: float = 0.0


def frame_by_frame(engine: Callable[[list[np.ndarray]], Any]) -> Callable[[Sequence[Stretch]], Any]:
    """How an engine that has no reader of videos of its own reads one: each frame by itself, whatever came before."""
    return lambda stretches: engine([stretch.frame for stretch in stretches])


def split_into_stretches(
    frames: Iterable[tuple[float, np.ndarray]], reading_interval: float | None = 0.75
) -> Iterator[Stretch]:
    """Splits sampled frames into stretches, holding two frames in memory.

    Args:
        frames: pairs of time in seconds, ascending, and RGB uint8 frame `(height, width, 3)`.
        reading_interval (`float`, *optional*, defaults to 0.75):
            Longest time in seconds one frame stands for while the picture keeps changing. `None`: every sample is a
            stretch of its own.
    """
    frames = iter(frames)
    try:
        time, looked_at = next(frames)
    except StopIteration:
        return
    chosen = previous = _Look.of(looked_at)
    stretch = Stretch(time, looked_at, [time], after_cut=True, sharpness=chosen.sharpness)
    for time, frame in frames:
        look = previous if frame is looked_at else _Look.of(frame)  # one look at a frame that stays on screen
        differs, came_to_rest, cut = _compare(look, chosen, previous)
        is_over = reading_interval is None or (differs and time - stretch.times[0] >= reading_interval - 1e-6)
        if is_over or came_to_rest or cut:
            yield stretch
            stretch, chosen = Stretch(time, frame, after_cut=cut, sharpness=look.sharpness), look
        elif differs and look.sharpness > chosen.sharpness:
            stretch.time, stretch.frame, chosen = time, frame, look
            stretch.sharpness = look.sharpness
        stretch.times.append(time)
        previous, looked_at = look, frame
    yield stretch


def _compare(look: "_Look", chosen: "_Look", previous: "_Look") -> tuple[bool, bool, bool]:
    """Whether the sample differs from the chosen frame, something came to rest in it, and a cut came before it."""
    if look.thumbnail.shape != previous.thumbnail.shape:
        return True, False, True
    differs = look.patch_differences(chosen) > CHANGED
    if not differs.any():
        return False, False, False
    moved = look.patch_differences(previous)
    came_to_rest = bool((differs & (moved < STILL)).any())
    cut = float((moved > CHANGED).mean()) > CUT_AREA and look.grey_overlap(previous) < CUT_GREY_OVERLAP
    return True, came_to_rest, cut


@dataclass
class _Look:
    """What is kept of a sampled frame."""

    thumbnail: np.ndarray  # (height, width) float32 grey levels, 0-255
    sharpness: float  # mean absolute Laplacian

    @classmethod
    def of(cls, frame: np.ndarray) -> "_Look":
        height, width = frame.shape[:2]
        scale = THUMBNAIL_SIDE / max(height, width)
        # a multiple of the patch size, so that no border is left out
        size = [max(CELL, round(side * scale / CELL) * CELL) for side in (width, height)]
        image = Image.fromarray(frame).convert("L").resize(size, Image.Resampling.BOX)
        grey = np.asarray(image, dtype=np.float32)
        laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
        return cls(grey, float(np.abs(laplacian).mean()))

    def patch_differences(self, other: "_Look") -> np.ndarray:
        """Mean absolute difference per patch, `(rows, columns)`."""
        difference = np.abs(self.thumbnail - other.thumbnail)
        rows, columns = difference.shape[0] // CELL, difference.shape[1] // CELL
        return difference.reshape(rows, CELL, columns, CELL).mean(axis=(1, 3))

    def grey_overlap(self, other: "_Look") -> float:
        """Overlap of the two grey-level histograms, 0-1."""
        histograms = [np.histogram(look.thumbnail, bins=32, range=(0, 256))[0] for look in (self, other)]
        return float(np.minimum(*histograms).sum() / self.thumbnail.size)
