"""Backgrounds of the synthetic world: walls, landscapes, streets, muted so that things stand out. (Source: ours.)"""

import colorsys
import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

__all__ = ["BACKGROUNDS", "Background", "paint_background"]

RGB = tuple[int, int, int]
SUPERSAMPLING = 2


@dataclass(frozen=True)
class Background:
    """What is behind: a kind of `BACKGROUNDS`, the seed of its details, and how far the camera wanders, (x, y)."""

    kind: str
    seed: int
    pan: tuple[float, float] = (0.0, 0.0)


def paint_background(background: Background, side: int) -> Image.Image:
    """A picture of `side` pixels, muted so that things stand out, and lit unevenly."""
    rng = random.Random(background.seed)
    hue, light = rng.random(), rng.uniform(0.4, 0.9)
    palette = [_muted(hue + shift, light * factor, rng) for shift, factor in ((0, 1), (0.08, 0.8), (0.5, 0.65))]
    room = side * SUPERSAMPLING
    image = Image.new("RGB", (room, room), palette[0])
    BACKGROUNDS[background.kind](image, ImageDraw.Draw(image), room, palette, rng)
    image = image.resize((side, side), Image.Resampling.BOX)
    lamps = np.random.default_rng(background.seed).uniform(200, 256, (4, 4)).astype(np.uint8)
    lighting = Image.fromarray(lamps).resize((side, side), Image.Resampling.BICUBIC)
    return ImageChops.multiply(image, Image.merge("RGB", [lighting] * 3))


def _muted(hue: float, light: float, rng: random.Random) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.12, 0.38), light)
    return round(255 * red), round(255 * green), round(255 * blue)


def _shade(color: RGB, factor: float) -> RGB:
    red, green, blue = (min(255, round(value * factor)) for value in color)
    return red, green, blue


def _sky(image: Image.Image, side: int, top: RGB, bottom: RGB) -> None:
    mask = Image.linear_gradient("L").resize((side, side))
    image.paste(Image.composite(Image.new("RGB", (side, side), bottom), Image.new("RGB", (side, side), top), mask))


def _bricks(image, draw, side, palette, rng):
    rows = rng.randint(9, 15)
    height = side / rows
    width = height * 2.3
    draw.rectangle((0, 0, side, side), fill=_shade(palette[2], 1.2))
    for row in range(rows):
        for column in range(-1, int(side / width) + 1):
            x, y = (column + 0.5 * (row % 2)) * width, row * height
            box = (x, y, x + width * 0.95, y + height * 0.88)
            draw.rectangle(box, fill=_shade(palette[0], rng.uniform(0.85, 1.15)))


def _tiles(image, draw, side, palette, rng):
    count = rng.randint(5, 10)
    step = side / count
    for row in range(count):
        for column in range(count):
            color = _shade(palette[(row + column) % 2], rng.uniform(0.93, 1.07))
            draw.rectangle((column * step, row * step, (column + 1) * step, (row + 1) * step), fill=color)


def _stripes(image, draw, side, palette, rng):
    step, slant = side / rng.randint(6, 14), rng.uniform(-0.8, 0.8) * side
    for x in np.arange(-side, 2 * side, 2 * step):
        draw.polygon([(x, 0), (x + step, 0), (x + step + slant, side), (x + slant, side)], fill=palette[1])


def _hills(image, draw, side, palette, rng):
    _sky(image, side, _muted(0.58, 0.85, rng), _muted(0.1, 0.95, rng))
    x, y, radius = rng.uniform(0.1, 0.9) * side, rng.uniform(0.12, 0.3) * side, 0.06 * side
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 240, 200))
    for layer in range(3):
        base, phase, waves = 0.48 + 0.16 * layer, rng.uniform(0, 6), rng.uniform(4, 9)
        ridge = [(u * side, (base + 0.07 * math.sin(waves * u + phase)) * side) for u in np.linspace(0, 1, 40)]
        draw.polygon([*ridge, (side, side), (0, side)], fill=_shade(palette[layer % 2], 1.05 - 0.2 * layer))


def _city(image, draw, side, palette, rng):
    _sky(image, side, _muted(0.62, 0.4, rng), _muted(0.08, 0.8, rng))
    count = rng.randint(6, 9)
    for number in range(count):
        left, top = number * side / count, rng.uniform(0.2, 0.55) * side
        right = left + side / count * 0.96
        draw.rectangle((left, top, right, side), fill=_shade(palette[number % 3], rng.uniform(0.5, 0.9)))
        step = (right - left) / 4
        for y in np.arange(top + step, side - step, 1.6 * step):
            for x in (left + 0.6 * step, left + 1.6 * step, left + 2.6 * step):
                lit = (236, 214, 140) if rng.random() < 0.4 else (60, 66, 80)
                draw.rectangle((x, y, x + 0.7 * step, y + 0.9 * step), fill=lit)


def _sea(image, draw, side, palette, rng):
    horizon = rng.uniform(0.35, 0.55) * side
    _sky(image, side, _muted(0.6, 0.9, rng), _muted(0.55, 0.55, rng))
    draw.rectangle((0, horizon, side, side), fill=_muted(0.55, rng.uniform(0.35, 0.6), rng))
    for y in np.geomspace(0.02 * side, side - horizon, 12) + horizon:
        for _ in range(6):
            x, length = rng.uniform(0, side), (y - horizon) * 0.5 + 0.03 * side
            draw.line((x, y, x + length, y), fill=(200, 214, 220), width=max(1, round((y - horizon) * 0.02)))


def _road(image, draw, side, palette, rng):
    _sky(image, side, _muted(0.58, 0.8, rng), _muted(0.12, 0.85, rng))
    horizon, middle = 0.45 * side, rng.uniform(0.4, 0.6) * side
    draw.rectangle((0, horizon, side, side), fill=_muted(0.25, 0.5, rng))
    draw.polygon([(middle, horizon), (side, side), (0, side)], fill=(88, 88, 92))
    for u in np.geomspace(0.08, 0.8, 6):
        y, half = horizon + u * (side - horizon), 0.012 * u * side
        center = middle + (side / 2 - middle) * u
        box = (center - half, y, center + half, y + 0.35 * u * (side - horizon) * 0.6)
        draw.rectangle(box, fill=(230, 226, 200))


def _room(image, draw, side, palette, rng):
    step = side / rng.randint(10, 16)
    for x in np.arange(0, side, 2 * step):
        draw.rectangle((x, 0, x + step, side), fill=_shade(palette[0], 0.93))
    x, y, width = rng.uniform(0.1, 0.6) * side, 0.14 * side, 0.28 * side
    draw.rectangle((x, y, x + width, y + 1.1 * width), fill=_muted(0.57, 0.9, rng), outline=palette[2],
                   width=round(0.015 * side))  # fmt: skip
    draw.line((x + width / 2, y, x + width / 2, y + 1.1 * width), fill=palette[2], width=round(0.01 * side))
    floor = 0.72 * side
    draw.rectangle((0, floor, side, side), fill=_shade(palette[2], 0.9))
    for end in np.linspace(-side, 2 * side, 14):
        draw.line(
            (side / 2 + (end - side / 2) * 0.5, floor, end, side), fill=_shade(palette[2], 0.7), width=side // 200
        )


def _lights(image, draw, side, palette, rng):
    _sky(image, side, _shade(palette[0], 0.7), _shade(palette[1], 0.5))
    for _ in range(26):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.02, 0.08) * side
        color = _shade(palette[rng.randrange(3)], rng.uniform(0.8, 1.3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    image.paste(image.resize((40, 40), Image.Resampling.BOX).resize((side, side), Image.Resampling.BICUBIC))


BACKGROUNDS = {
    "bricks": _bricks,
    "tiles": _tiles,
    "stripes": _stripes,
    "hills": _hills,
    "city": _city,
    "sea": _sea,
    "road": _road,
    "room": _room,
    "lights": _lights,
}
