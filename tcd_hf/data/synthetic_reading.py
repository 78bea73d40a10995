"""What an OCR engine makes of the synthetic world's texts: how often it misses one, how often it misspells it.

`READING_RATES` were measured with `measure_reading_rates`; `read_lettering` imitates them. (Source: ours.)
"""

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..processing.window_ocr import WindowOCRCaptioner
from .ocr_noise import OCRNoise
from .synthetic_scene import Lettering, Scene

__all__ = [
    "READING_RATES",
    "ReadingRate",
    "legibility",
    "measure_reading_rates",
    "read_lettering",
    "read_windows",
    "seen_in_windows",
]


@dataclass(frozen=True)
class ReadingRate:
    """How well texts of one sort are read: share missed in a window, and the `OCRNoise` level of the others."""

    missed: float
    noise_level: float


# rapidocr 3.10 at 384 pixels on 30 clips of the train split, seed 0: numbers 0, 8, 12 of the first ten times 20.
READING_RATES = {  # of 295, 160 and 72 texts in windows
    "clear": ReadingRate(missed=0.027, noise_level=0.04),
    "small": ReadingRate(missed=0.037, noise_level=0.11),
    "blurred": ReadingRate(missed=0.597, noise_level=0.26),
}


def legibility(lettering: Lettering) -> str:
    """What makes a text hard to read, if anything: `"blurred"`, `"small"` or `"clear"`, the keys of `READING_RATES`."""
    _, _, height = lettering.extent
    return "blurred" if lettering.blur > 0.06 * height else "small" if height < 0.05 else "clear"


def seen_in_windows(
    scene: Scene, duration: float, num_windows: int = 12, window_scale: float = 1.0, ocr_fps: float = 2.0
) -> list[list[Lettering]]:
    """The letterings that show when the captioner looks, window by window, the largest first."""
    captioner = WindowOCRCaptioner(engine=None, num_windows=num_windows, window_scale=window_scale, ocr_fps=ocr_fps)
    times = captioner.sample_times(duration)
    windows = np.array_split(times, num_windows)
    return [
        sorted(
            (text for text in scene.letterings if any(text in scene.seen(time) for time in window)),
            key=lambda text: -text.extent[0] * text.extent[1],
        )
        for window in windows
    ]


def read_windows(
    scene: Scene, duration: float, name: str, num_windows: int = 12, window_scale: float = 1.0, ocr_fps: float = 2.0
) -> list[list[str]]:
    """The single texts that are read, window by window, the largest first: the same whenever the name is the same."""
    seen = seen_in_windows(scene, duration, num_windows, window_scale, ocr_fps)
    read = [
        [read_lettering(lettering, random.Random(f"{name} {window} {lettering.text}")) for lettering in letterings]
        for window, letterings in enumerate(seen)
    ]
    return [list(filter(None, texts)) for texts in read]


def read_lettering(lettering: Lettering, rng: random.Random) -> str:
    """What is read of a text in one window: damaged, or `""` where it is missed."""
    rate = READING_RATES[legibility(lettering)]
    missed = rng.random() < rate.missed
    read = " ".join(OCRNoise(rate.noise_level)(lettering.text.split(), rng))
    return "" if missed else read


def measure_reading_rates(
    clips: Iterable, captioner: WindowOCRCaptioner, folder: str | os.PathLike, size: int = 384
) -> dict[str, ReadingRate]:
    """What `READING_RATES` should say: clips are written, read by the captioner, and compared with what they show.

    A text counts as missed where less than half of it is found in the caption of a window that shows it. The noise
    level is the one at which `OCRNoise` leaves as many words of the others whole as the engine does.

    Args:
        clips: the sample, of `SyntheticClip`s.
        captioner: with the engine to be measured.
        folder: where the files go.
        size: of the frames, pixels.
    """
    shown: dict[str, list[tuple[str, str]]] = {sort: [] for sort in READING_RATES}
    for clip in clips:
        captions = captioner(clip.write(Path(folder) / f"{clip.split}-{clip.number}.mp4", size))
        windows = seen_in_windows(clip.scene, clip.duration, captioner.num_windows)
        for caption, seen in zip(captions, windows, strict=True):
            for lettering in seen:
                shown[legibility(lettering)].append((lettering.text.lower(), caption.text.lower()))
    rates = {}
    for sort, pairs in shown.items():
        found = _found(pairs)
        if not found:
            raise ValueError(f"No {sort} text was read: the sample is too small, or the engine does not work.")
        levels = np.arange(0, 0.51, 0.01)
        kept = np.array([_whole_words(_found(_noisy(found, float(level)))) for level in levels])
        level = levels[np.argmin(np.abs(kept - _whole_words(found)))]
        rates[sort] = ReadingRate(round(1 - len(found) / len(pairs), 3), round(float(level), 2))
    return rates


def _found(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those pairs of text and caption where the caption has half of the text."""
    from rapidfuzz.fuzz import partial_ratio

    return [(text, caption) for text, caption in pairs if partial_ratio(text, caption) >= 50]


def _whole_words(pairs: Sequence[tuple[str, str]]) -> float:
    """Share of the texts' words that are words of the captions."""
    return float(np.mean([word in caption.split() for text, caption in pairs for word in text.split()]))


def _noisy(pairs: Sequence[tuple[str, str]], level: float) -> list[tuple[str, str]]:
    """The same texts, with what `OCRNoise` makes of them, four times over, for captions."""
    rng, noise = random.Random(0), OCRNoise(level)
    return [(text, " ".join(noise(text.split(), rng)).lower()) for text, _ in pairs for _ in range(4)]
