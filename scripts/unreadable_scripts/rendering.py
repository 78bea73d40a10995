"""Frames full of texts of many scripts, sizes, colours and grounds, blurred, reduced and compressed like video."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.unreadable_scripts.material import CJK_FACES
from tcd_hf.data.synthetic_backgrounds import BACKGROUNDS, Background, paint_background

__all__ = ["Placed", "render_frames"]

WIDTH, HEIGHT = 1280, 720
MARGIN = 14
LUMA = np.array([0.299, 0.587, 0.114])
MIN_CONTRAST, HARD_CONTRAST = 70, 30  # in luma, 0-255


@dataclass(frozen=True)
class Placed:
    """A text on a frame: its script, and x0, y0, x1, y1 of its box in pixels."""

    text: str
    script: str
    box: tuple[int, int, int, int]


def render_frames(
    texts: Sequence[tuple[str, str, str]], fonts: Callable[[str], Sequence[str]], rng: random.Random, hard: bool = False
) -> Iterator[tuple[np.ndarray, list[Placed]]]:
    """Frames `(720, 1280, 3)` uint8 that show all texts, each once, and where.

    Args:
        texts (`Sequence[tuple[str, str, str]]`): text, language, script.
        fonts (`Callable`): the font files of a script.
        rng (`random.Random`): of everything that is left to chance.
        hard (`bool`, *optional*, defaults to `False`): small, of little contrast, and much blurred.
    """
    left = list(texts)
    rng.shuffle(left)
    while left:
        frame = _ground(rng)
        placed: list[Placed] = []
        x, y, row = MARGIN, MARGIN, 0
        while left:
            text, language, script = left[-1]
            shape = _shape(text, language, rng.choice(fonts(script)), rng, hard)
            height, width = shape.shape
            if width > WIDTH - 2 * MARGIN:
                left.pop()
                continue
            if x + width > WIDTH - MARGIN:
                x, y, row = MARGIN, y + row + rng.randint(14, 30), 0
            if y + height > HEIGHT - MARGIN:
                break
            left.pop()
            _draw(frame[y : y + height, x : x + width], shape, rng, HARD_CONTRAST if hard else MIN_CONTRAST)
            placed.append(Placed(text, script, (x, y, x + width, y + height)))
            x, row = x + width + rng.randint(40, 90), max(row, height)
        yield (_as_bad_video if hard else _as_video)(frame, rng), placed


def _ground(rng: random.Random) -> np.ndarray:
    kind = rng.random()
    first, second = (np.array([rng.randrange(256) for _ in range(3)], dtype=np.float32) for _ in range(2))
    if kind < 0.35:
        painted = paint_background(Background(rng.choice(sorted(BACKGROUNDS)), rng.randrange(10**6)), HEIGHT)
        frame = np.asarray(painted.resize((WIDTH, HEIGHT)), dtype=np.float32)
    elif kind < 0.65:
        frame = first + np.linspace(0, 1, WIDTH, dtype=np.float32)[None, :, None] * (second - first)
        frame = np.repeat(frame, HEIGHT, axis=0)
    else:
        frame = np.broadcast_to(first, (HEIGHT, WIDTH, 3)).copy()
    if rng.random() < 0.4:
        noise = np.random.default_rng(rng.randrange(10**9)).normal(0, rng.uniform(3, 18), (HEIGHT, WIDTH, 1))
        frame = frame + noise.astype(np.float32)
    return frame.clip(0, 255)


def _shape(text: str, language: str, font_file: str, rng: random.Random, hard: bool) -> np.ndarray:
    """A text as grey levels, some of them stretched, slanted or tilted a little."""
    smallest, largest = (11, 40) if hard else (16, 64)
    size = int(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    face = CJK_FACES.get(language, 0) if font_file.endswith("ttc") else 0
    font = ImageFont.truetype(font_file, size, index=face)
    stroke = 1 if size > 22 and rng.random() < 0.2 else 0
    x0, y0, x1, y1 = font.getbbox(text, stroke_width=stroke)
    image = Image.new("L", (int(x1 - x0) + 12, int(y1 - y0) + 12), 0)
    ImageDraw.Draw(image).text((6 - x0, 6 - y0), text, font=font, fill=255, stroke_width=stroke)
    shape = np.asarray(image)
    if rng.random() < 0.3:
        width = max(8, int(shape.shape[1] * rng.uniform(0.75, 1.25)))
        shape = cv2.resize(shape, (width, shape.shape[0]), interpolation=cv2.INTER_AREA)
    return _slanted(shape, rng) if rng.random() < 0.35 else shape


def _slanted(shape: np.ndarray, rng: random.Random) -> np.ndarray:
    height, width = shape.shape
    slant, angle = rng.uniform(-0.25, 0.25), np.deg2rad(rng.uniform(-4, 4))
    matrix = np.array([[np.cos(angle), np.sin(angle) + slant, 0], [-np.sin(angle), np.cos(angle), 0]], np.float32)
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    matrix[:, 2] -= corners.min(axis=0)
    new_width, new_height = np.ceil(np.ptp(corners, axis=0)).astype(int)
    return cv2.warpAffine(shape, matrix, (int(new_width), int(new_height)))


def _draw(region: np.ndarray, shape: np.ndarray, rng: random.Random, contrast: float) -> None:
    luma = float(region.mean(axis=(0, 1)) @ LUMA)
    for _ in range(50):
        color = np.array([rng.randrange(256) for _ in range(3)], dtype=np.float32)
        if contrast == MIN_CONTRAST and rng.random() < 0.5:
            color[:] = 255 if luma < 128 else 0
        if abs(color @ LUMA - luma) > contrast:
            break
    if region.std() > 30 and rng.random() < 0.5:  # an outline, as subtitles have
        outline = cv2.dilate(shape, np.ones((3, 3), np.uint8))[..., None] / 255
        region[:] = region * (1 - outline) + (0 if color @ LUMA > 128 else 255) * outline
    alpha = shape[..., None] / 255
    region[:] = region * (1 - alpha) + color * alpha


def _as_video(frame: np.ndarray, rng: random.Random) -> np.ndarray:
    image = frame.clip(0, 255).astype(np.uint8)
    kind = rng.random()
    if kind < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    elif kind < 0.5:
        scale = rng.uniform(0.5, 0.8)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.6:
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(25, 85)])[1], 1)
    return np.ascontiguousarray(image)


def _as_bad_video(frame: np.ndarray, rng: random.Random) -> np.ndarray:
    """As of a camera that moves or is out of focus, sharpened by whoever played it back."""
    image = frame.clip(0, 255).astype(np.uint8)
    kind = rng.random()
    if kind < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1.2, 2.6))
    elif kind < 0.6:
        scale = rng.uniform(0.3, 0.5)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    elif kind < 0.85:
        length = rng.randint(3, 9)
        along = np.zeros((length, length), np.float32)
        cv2.line(along, (0, rng.randrange(length)), (length - 1, rng.randrange(length)), 1.0)
        image = cv2.filter2D(image, -1, along / along.sum())
    image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(8, 40)])[1], 1)
    return np.ascontiguousarray(image)
