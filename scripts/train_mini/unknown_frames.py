"""Frames that show nothing an image tower has learnt: for training what must not be misled by them.

Pictures of noise with the statistics of photographs (the spectra and dead leaves of Baradad et al., *Learning to See by
Looking at Noise*, 2021), over which a camera wanders, with cuts. For validation two real photographs that scikit-learn
brings along take the pictures' place.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

__all__ = ["noise_picture", "photograph", "wandering_video"]

PICTURE_SIZE = 192  # pixels
MAX_SHOTS = 3


def wandering_video(
    rng: np.random.Generator, picture: Callable[[np.random.Generator], np.ndarray], num_frames: int, size: int
) -> list[np.ndarray]:
    """As many frames, RGB uint8 `(size, size, 3)`, of one to three shots: each a pan and zoom over a picture."""
    cuts = np.sort(rng.integers(1, num_frames, rng.integers(MAX_SHOTS)))
    lengths = np.diff([0, *cuts, num_frames])
    return [frame for length in lengths for frame in _shot(rng, picture(rng), length, size)]


def _shot(rng: np.random.Generator, picture: np.ndarray, num_frames: int, size: int) -> list[np.ndarray]:
    height, width = picture.shape[:2]
    sides = np.linspace(*rng.uniform(0.35, 0.9, 2), num_frames) * min(height, width)
    places = np.linspace(*rng.uniform(0, 1, (2, 2)), num_frames)
    image, frames = Image.fromarray(picture), []
    for side, (x, y) in zip(sides, places, strict=True):
        left, top = x * (width - side), y * (height - side)
        box = (left, top, left + side, top + side)
        frames.append(np.array(image.resize((size, size), Image.Resampling.BILINEAR, box=box)))
    return frames


def noise_picture(rng: np.random.Generator) -> np.ndarray:
    """A spectrum, dead leaves, or both: blended, or one lighting the other."""
    way = rng.integers(4)
    if way == 0:
        return noise_spectrum(rng)
    leaves = dead_leaves(rng)
    if way == 1:
        return leaves
    spectrum, share = noise_spectrum(rng) / 255, rng.uniform(0.2, 0.8)
    mixed = share * leaves + (1 - share) * 255 * spectrum if way == 2 else leaves * (0.4 + 1.2 * spectrum)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def noise_spectrum(rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls with a power of the frequency, in channels that are alike to some degree."""
    side = PICTURE_SIZE
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    amplitude = frequency ** -rng.uniform(0.5, 2.0)
    phases = np.exp(2j * np.pi * rng.random((3, *frequency.shape)))
    waves = np.fft.irfft2(amplitude * phases, s=(side, side)).transpose(1, 2, 0)
    waves = (waves - waves.mean((0, 1))) / waves.std((0, 1))
    colors = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.1, 1, 3)
    return np.clip(rng.uniform(60, 196, 3) + waves @ colors * rng.uniform(25, 70), 0, 255).astype(np.uint8)


def dead_leaves(rng: np.random.Generator) -> np.ndarray:
    """Ellipses and polygons that cover one another, small ones many, large ones few."""
    side = PICTURE_SIZE
    image = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(image)
    saturation, largest = rng.uniform(0, 1), rng.uniform(0.1, 0.5)
    for _ in range(rng.integers(30, 250)):
        radius = side * min((rng.pareto(2) + 1) * 0.02, largest)
        center, color = rng.uniform(0, side, 2), rng.uniform(0, 255, 3)
        fill = tuple((saturation * color + (1 - saturation) * color.mean()).astype(int).tolist())
        if rng.random() < 1 / 3:
            half = radius * np.array([rng.uniform(0.3, 1.7), 1])
            draw.ellipse((*(center - half), *(center + half)), fill=fill)
        else:
            corners = rng.integers(3, 8)
            angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
            radii = radius * rng.uniform(0.6, 1.6, corners)
            outline = center + (radii * np.array([np.cos(angles), np.sin(angles)])).T
            draw.polygon([tuple(corner) for corner in outline.tolist()], fill=fill)
    return np.asarray(image)


def photograph(rng: np.random.Generator) -> np.ndarray:
    """A square part of one of scikit-learn's two sample photographs, mirrored or not."""
    photos = load_sample_images().images
    photo = photos[rng.integers(len(photos))]
    height, width = photo.shape[:2]
    side = int(rng.uniform(0.3, 1) * min(height, width))
    left, top = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
    part = photo[top : top + side, left : left + side]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)
