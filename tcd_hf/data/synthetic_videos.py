"""Long videos of the synthetic world: clips one after another, each with its query and the time that the query tells.

```python
video = make_video(seed=0, split="test", number=3, num_clips=8)      # the clips 24 to 31, 48 s
video.captions, video.moments      # eight queries, and for each [(start, end)] in seconds of the video
video.frames(12, size=160), video.readings(12)      # what a model sees and reads, without a file
```

Clips of a group are neighbours, so the hard negatives of a query are in the same video: to find its moment is to tell
them apart. What a query says may be true at another time as well only where two groups happen to show the same objects.
(Source: ours.)

Needs the extras `[train-mini]` (words) and `[synthetic]` (fonts).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from .encoding import write_h264
from .synthetic import DURATION, FPS, SyntheticClip, make_clip
from .synthetic_reading import read_windows
from .synthetic_scene import Painter, Scene

__all__ = ["SyntheticVideo", "make_video"]


@dataclass(frozen=True)
class SyntheticVideo:
    """Clips one after another; nothing is painted before it is asked for.

    Attributes:
        seed, split, number: its name.
        clips: in order, each of `DURATION` seconds.
    """

    seed: int
    split: str
    number: int
    clips: tuple[SyntheticClip, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return DURATION * len(self.clips)

    @property
    def captions(self) -> list[str]:
        """The queries of its clips."""
        return [clip.query for clip in self.clips]

    @property
    def kinds(self) -> list[str]:
        """What kind of query each of them is."""
        return [clip.kind for clip in self.clips]

    @property
    def moments(self) -> list[list[tuple[float, float]]]:
        """The one moment that each of them tells: start and end, in seconds of the video."""
        targets = [clip.target for clip in self.clips]
        return [[(start + DURATION * place, end + DURATION * place)] for place, (start, end) in enumerate(targets)]

    def frames(self, num_frames: int = 12, size: int = 160) -> np.ndarray:
        """The frames on screen at the centres of the windows: RGB uint8 `(num_frames, size, size, 3)`."""
        centers = (np.arange(num_frames) + 0.5) * self.duration / num_frames
        places = (centers // DURATION).astype(int)
        painters = {place: Painter(self.clips[place].scene, size, DURATION) for place in dict.fromkeys(places.tolist())}
        times = np.floor((centers - DURATION * places) * FPS + 1e-6) / FPS
        return np.stack([painters[place].frame(time) for place, time in zip(places.tolist(), times, strict=True)])

    def readings(self, num_windows: int = 12, window_scale: float = 1.0, ocr_fps: float = 2.0) -> list[list[str]]:
        """The single texts that an OCR engine reads, window by window, see [`SyntheticClip.readings`]."""
        letterings = tuple(
            replace(lettering, start=lettering.start + DURATION * place, end=lettering.end + DURATION * place)
            for place, clip in enumerate(self.clips)
            for lettering in clip.scene.letterings
        )
        scene = Scene(self.clips[0].scene.background, (), letterings)  # of which only the letterings are read
        name = f"{self.seed} {self.split} {self.number} of {len(self.clips)} read"
        return read_windows(scene, self.duration, name, num_windows, window_scale, ocr_fps)

    def iter_video(self, size: int = 384) -> Iterator[np.ndarray]:
        """All frames, `FPS` a second: RGB uint8 `(size, size, 3)`."""
        return chain.from_iterable(clip.iter_video(size) for clip in self.clips)

    def write(self, path: str | os.PathLike, size: int = 384) -> Path:
        """Encodes the video as H.264 into a file, whose name should end in `.mp4`; an even `size` in pixels. It is
        compressed as hard as its first clip is by itself."""
        return write_h264(path, self.iter_video(size), FPS, self.clips[0].crf)


def make_video(seed: int, split: str, number: int, num_clips: int) -> SyntheticVideo:
    """Plans one video of the clips `number * num_clips` and on, see [`make_clip`].

    Args:
        seed: of the world.
        split: `"train"`, `"validation"` or `"test"`.
        number: from 0.
        num_clips: how many clips a video has, at least 1.

    Raises:
        ValueError: no clips, an unknown split or a negative number.
    """
    if num_clips < 1:
        raise ValueError(f"A video has at least 1 clip, got num_clips={num_clips}.")
    if number < 0:
        raise ValueError(f"Videos are numbered from 0, got {number}.")
    numbers = range(number * num_clips, (number + 1) * num_clips)
    return SyntheticVideo(seed, split, number, tuple(make_clip(seed, split, each) for each in numbers))
