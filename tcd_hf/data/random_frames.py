"""Frames for training at random times and in random crops, so that the same video looks different each time.

Nothing is mirrored: text would be.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop

__all__ = ["random_frame_sets"]

AREA = (0.5, 1.0)  # of a frame: less would leave out many a text
ASPECT = (3 / 4, 4 / 3)


class FrameReader(Protocol):
    """An open video, as `VideoReader` opens one."""

    duration: float

    def frames_at(self, times: Sequence[float]) -> Iterable[np.ndarray]: ...


def random_frame_sets(
    video: FrameReader, frames: Sequence[np.ndarray | None], num_sets: int, size: tuple[int, int], name: str
) -> list[list[np.ndarray | None]]:
    """
    Sets of frames of a video, read in one pass: each frame from a random time of its window, all frames of a set cut to
    the same random part of the picture. Source: ours; the crop is the usual one of image classification.

    Args:
        video (`FrameReader`): an open video, such as one of `VideoReader`.
        frames (`list[np.ndarray | None]`): those at the centres of the windows. Where some are `None`, as of clips with
            fewer frames than windows, sets have the same frames, in other crops.
        num_sets (`int`): how many.
        size (`tuple[int, int]`): height and width of what is made, pixels.
        name (`str`): of the video; the same name gives the same times and crops.

    Returns:
        `num_sets` lists of frames, RGB uint8 `(height, width, 3)`, `None` where those of `frames` are.
    """
    num_frames, is_short = len(frames), any(frame is None for frame in frames)
    generator = torch.Generator().manual_seed(_seed_of(name))
    shares = torch.rand(num_sets, num_frames, generator=generator, dtype=torch.float64).numpy()
    times = (np.arange(num_frames) + (0.5 if is_short else shares)) * video.duration / num_frames
    times = np.broadcast_to(times, (num_sets, num_frames))
    order = np.argsort(times, axis=None, kind="stable")
    sets: list[list[Any]] = [[None] * num_frames for _ in range(num_sets)]
    for place, pixels in zip(order, video.frames_at(times.ravel()[order].tolist()), strict=True):
        number, window = divmod(int(place), num_frames)
        if frames[window] is not None:
            sets[number][window] = _crop(pixels, size, _seed_of(f"{name} {number}"))
    return sets


def _crop(pixels: np.ndarray, size: tuple[int, int], seed: int) -> np.ndarray:
    """A random part of a frame, the same for the same seed and size of frame, resized."""
    image = Image.fromarray(pixels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        top, left, height, width = RandomResizedCrop.get_params(cast(Any, image), list(AREA), list(ASPECT))
    box = (left, top, left + width, top + height)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))


def _seed_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
