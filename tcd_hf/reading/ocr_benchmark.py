"""What reading the text of a video costs on this machine, by runtime and by part of the work."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.ocr_presets import ocr_preset
from tcd_hf.processing.ocr_runtimes import available_runtimes
from tcd_hf.processing.rapidocr_engine import RapidOCRModels
from tcd_hf.processing.text_detection import Boxes
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import WindowOCRCaptioner

__all__ = ["PARTS", "RuntimeCosts", "benchmark_runtimes"]

PARTS = ("decode", "look", "detect", "recognise", "other")  # of the work; other: choosing frames, merging texts
LONGEST = 60.0  # seconds of the video that are read


@dataclass
class RuntimeCosts:
    """What one runtime took.

    Args:
        runtime (`str`): its name.
        video_seconds (`float`): seconds of video that were read.
        seconds (`dict[str, float]`): seconds of the clock on the wall, by part of the work (`PARTS`).
        frames (`int`): frames, and places of frames, that were looked at closely.
        boxes (`int`): boxes that were read.
    """

    runtime: str
    video_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    frames: int = 0
    boxes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: runtime, video_seconds, frames, boxes, and seconds per second of video by part and in all."""
        per_second = {part: seconds / self.video_seconds for part, seconds in self.seconds.items()}
        return {
            "runtime": self.runtime,
            "video_seconds": self.video_seconds,
            "frames": self.frames,
            "boxes": self.boxes,
            **per_second,
            "in_all": sum(per_second.values()),
        }


def benchmark_runtimes(
    path: str | Path, engine_options: dict[str, Any] | None = None, preset: str = "balanced"
) -> Iterator[RuntimeCosts]:
    """Reads the first minute of a video by each runtime that is installed, one after the other.

    Args:
        path: video file.
        engine_options (`dict[str, Any]`, *optional*): of `RapidOCREngine`, but for `runtime`.
        preset (`str`, *optional*, defaults to `"balanced"`): what reading may cost.

    Raises:
        VideoReadError: the video cannot be read.
    """
    for runtime in available_runtimes():
        options = {**ocr_preset(preset).engine_options, **(engine_options or {}), "runtime": runtime}
        yield _read_by(runtime, path, options, preset)


def _read_by(runtime: str, path: str | Path, engine_options: dict[str, Any], preset: str) -> RuntimeCosts:
    costs = RuntimeCosts(runtime)
    engine = _TimedEngine(costs, **engine_options)
    engine([np.zeros((64, 64, 3), np.uint8)])  # loading the models is done once, whatever the length of a video
    captioner = WindowOCRCaptioner(engine, preset=preset)
    with open_video(path) as video:
        duration = min(video.duration, LONGEST)
        times = captioner.sample_times(duration, video.num_frames)
        frames = _timed(video.iter_frames_at(times, max_side=captioner.max_side), costs)
        costs.seconds = dict.fromkeys(PARTS, 0.0)
        costs.frames = costs.boxes = 0
        start = time.perf_counter()
        captioner.caption_frames(zip(times, frames, strict=True), duration)
        costs.video_seconds = duration
        costs.seconds["other"] = time.perf_counter() - start - sum(costs.seconds.values())
    return costs


def _timed(frames: Iterable[np.ndarray], costs: RuntimeCosts) -> Iterator[np.ndarray]:
    start = time.perf_counter()
    for frame in frames:
        costs.seconds["decode"] += time.perf_counter() - start
        yield frame
        start = time.perf_counter()


class _TimedEngine(RapidOCREngine):
    """The built-in engine with a clock at each of its parts."""

    def __init__(self, costs: RuntimeCosts, **options):
        super().__init__(**options)
        self.costs = costs

    def models(self) -> RapidOCRModels:
        models = super().models()
        parts: list[Any] = [_Timed(part, self.costs) for part in (models.detector, models.recogniser)]
        timed = RapidOCRModels(*parts)
        timed.lock = models.lock
        return timed


class _Timed:
    """A detector or a recogniser whose calls are timed and counted."""

    def __init__(self, part: Any, costs: RuntimeCosts):
        self.part, self.costs = part, costs

    def probabilities(self, *args) -> np.ndarray:
        return self._call("look", self.part.probabilities, *args)

    def find(self, *args) -> Boxes:
        self.costs.frames += 1
        return self._call("detect", self.part.find, *args)

    def read(self, image: np.ndarray, quads: list[np.ndarray]) -> list:
        self.costs.boxes += len(quads)
        return self._call("recognise", self.part.read, image, quads)

    def _call(self, part: str, function, *args):
        start = time.perf_counter()
        result = function(*args)
        self.costs.seconds[part] += time.perf_counter() - start
        return result
