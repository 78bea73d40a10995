"""The pictures of the synthetic world: a background, things that move over it, and lettering. (Source: ours.)

A `Scene` says what is where and when, in seconds and in parts of the frame's side (frames are square), so that it can
be painted at any size. `Painter` prepares every sprite once; a frame then costs a crop and a few pastes.

Needs the extra `[synthetic]`: the fonts.
"""

import importlib.util
import math
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .synthetic_backgrounds import Background, paint_background

__all__ = [
    "COLORS",
    "FACES",
    "MOTIONS",
    "RGB",
    "SHAPES",
    "SIZES",
    "Lettering",
    "Painter",
    "Scene",
    "Thing",
    "load_font",
]

RGB = tuple[int, int, int]
Point = tuple[float, float]

COLORS: dict[str, RGB] = {
    "red": (214, 36, 40),
    "orange": (246, 132, 28),
    "yellow": (252, 214, 48),
    "green": (40, 158, 66),
    "blue": (36, 92, 214),
    "purple": (126, 56, 170),
    "pink": (250, 138, 188),
    "brown": (118, 70, 36),
    "black": (26, 26, 30),
    "white": (246, 246, 242),
}
SIZES = {"small": 0.13, "medium": 0.19, "big": 0.28}  # diameter
MOTIONS = {  # share of the time on screen gone by -> shift to the right, shift down, factor of size
    "left": lambda u: (0.17 - 0.34 * u, 0.0, 1.0),
    "right": lambda u: (0.34 * u - 0.17, 0.0, 1.0),
    "up": lambda u: (0.0, 0.18 - 0.36 * u, 1.0),
    "down": lambda u: (0.0, 0.36 * u - 0.18, 1.0),
    "circle": lambda u: (0.12 * math.cos(4 * math.pi * u), 0.12 * math.sin(4 * math.pi * u), 1.0),
    "bounce": lambda u: (0.0, 0.12 - 0.24 * abs(math.sin(4 * math.pi * u)), 1.0),
    "sway": lambda u: (0.15 * math.sin(5 * math.pi * u), 0.0, 1.0),
    "grow": lambda u: (0.0, 0.0, 0.5 + 0.8 * u),
    "shrink": lambda u: (0.0, 0.0, 1.3 - 0.8 * u),
    "still": lambda u: (0.0, 0.0, 1.0),
}
SUPERSAMPLING = 2
MARGIN = 0.12  # of the background beyond the frame, for the camera to wander in
REFERENCE_SIZE = 64  # pixels of the font that layouts are measured with


# what is where -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Thing:
    """A moving object.

    Attributes:
        color, shape, size, motion: keys of `COLORS`, `SHAPES`, `SIZES`, `MOTIONS`.
        start, end: seconds between which it is on screen.
        center: where it is half-way, (x, y).
    """

    color: str
    shape: str
    size: str
    motion: str
    start: float
    end: float
    center: Point

    def pose(self, time: float) -> tuple[float, float, float]:
        """Centre and diameter, (x, y, diameter), at a time in seconds."""
        right, down, factor = MOTIONS[self.motion]((time - self.start) / (self.end - self.start))
        return self.center[0] + right, self.center[1] + down, SIZES[self.size] * factor


@dataclass(frozen=True)
class Lettering:
    """A text on screen, always wholly inside the frame.

    Attributes:
        text: what it says.
        start, end: seconds between which it is on screen.
        face: of `FACES`.
        height: of the font; reduced where the text would be wider than the frame.
        ink: colour of the letters.
        plate: colour of the board behind them, None for letters straight on the picture.
        edge: colour of the letters' outline, None for none.
        tilt: parts by which the left, right, top and bottom sides of the board are shorter: its perspective.
        blur: radius of the lens blur.
        origin, target: centre at its start and at its end, (x, y).
        carrier: the thing that it is fixed under, instead of going from `origin` to `target`.
    """

    text: str
    start: float
    end: float
    face: int
    height: float
    ink: RGB
    plate: RGB | None = None
    edge: RGB | None = None
    tilt: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    blur: float = 0.0
    origin: Point = (0.5, 0.5)
    target: Point = (0.5, 0.5)
    carrier: Thing | None = None

    @cached_property
    def extent(self) -> tuple[float, float, float]:
        """Width and height of the board, and the font's height that fits."""
        left, top, right, bottom = load_font(self.face, REFERENCE_SIZE).getbbox(self.text)
        padding = self.padding * REFERENCE_SIZE
        width, height = (right - left + 2 * padding) / REFERENCE_SIZE, (bottom - top + 2 * padding) / REFERENCE_SIZE
        size = min(self.height, 0.94 / width)
        return width * size, height * size, size

    @property
    def padding(self) -> float:
        """Space around the letters, in font heights."""
        return 0.12 if self.plate is None else 0.3

    def box(self, time: float) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the board at a time in seconds, 0-1."""
        width, height, _ = self.extent
        if self.carrier is not None:
            x, y, diameter = self.carrier.pose(time)
            y += (diameter + height) / 2
        else:
            u = (time - self.start) / (self.end - self.start)
            x, y = (a + (b - a) * u for a, b in zip(self.origin, self.target, strict=True))
        x, y = min(max(x, width / 2), 1 - width / 2), min(max(y, height / 2), 1 - height / 2)
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def speed(self) -> Point:
        """Parts of the frame a second, (x, y); of a text on a thing 0, whose letters one follows with the eye."""
        seconds = self.end - self.start
        return (self.target[0] - self.origin[0]) / seconds, (self.target[1] - self.origin[1]) / seconds


@dataclass(frozen=True)
class Scene:
    """Everything a clip shows; later things and letterings are in front."""

    background: Background
    things: tuple[Thing, ...]
    letterings: tuple[Lettering, ...]

    def seen(self, time: float) -> list[Lettering]:
        """The letterings on screen at a time in seconds."""
        return [lettering for lettering in self.letterings if lettering.start <= time < lettering.end]


class Painter:
    """Paints a scene.

    Args:
        scene: what to paint.
        size: side of the frames, pixels.
        duration: of the clip, seconds.
        shutter: seconds that the shutter is open, which blurs what moves.
    """

    def __init__(self, scene: Scene, size: int, duration: float, shutter: float = 1 / 16):
        self.scene, self.size, self.duration = scene, size, duration
        self._background = paint_background(scene.background, round(size * (1 + 2 * MARGIN)))
        self._things = {thing: _paint_thing(thing, size) for thing in scene.things}
        self._letterings = {text: _paint_lettering(text, size, shutter) for text in scene.letterings}

    def frame(self, time: float) -> np.ndarray:
        """What is seen at a time in seconds: RGB uint8 `(size, size, 3)`."""
        shift = (time / self.duration - 0.5) * self.size
        x, y = (round(self.size * MARGIN + shift * pan) for pan in self.scene.background.pan)
        image = self._background.crop((x, y, x + self.size, y + self.size))
        for thing, sprite in self._things.items():
            if thing.start <= time < thing.end:
                x, y, diameter = thing.pose(time)
                side = round(diameter * SPRITE_ROOM * self.size)
                if abs(side - sprite.width) > 1:
                    sprite = sprite.resize((side, side), Image.Resampling.BILINEAR)
                corner = (round(x * self.size - sprite.width / 2), round(y * self.size - sprite.height / 2))
                image.paste(sprite, corner, sprite)
        for lettering in self.scene.seen(time):
            sprite = self._letterings[lettering]
            x, y, _, _ = lettering.box(time)
            image.paste(sprite, (round(x * self.size), round(y * self.size)), sprite)
        return np.asarray(image)


# things --------------------------------------------------------------------------------------------------------------
SPRITE_ROOM = 1.08  # side of a sprite, in diameters


def _polar(radius, count: int = 60) -> np.ndarray:
    """Points (x, y) around the centre, clockwise from the top; `radius` is a function of the angle."""
    angles = np.arange(count) * 2 * np.pi / count
    radii = np.array([radius(angle) for angle in angles])
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _heart() -> np.ndarray:
    t = np.arange(60) * 2 * np.pi / 60
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y - 2.5], axis=1) / 16


def _moon() -> np.ndarray:
    outer, inner = np.radians(np.linspace(50, 310, 40)), np.radians(np.linspace(280.6, 79.4, 40))
    bow = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    hollow = np.stack([0.5 + 0.779 * np.cos(inner), 0.779 * np.sin(inner)], axis=1)
    return np.concatenate([bow, hollow]) + np.array([0.25, 0.0])


_ARM = 0.34
SHAPES = {  # outlines, (x, y) in -1 to 1
    "circle": _polar(lambda angle: 0.95),
    "square": np.array([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]),
    "triangle": np.array([(0.0, -0.95), (0.98, 0.75), (-0.98, 0.75)]),
    "star": _polar(lambda angle: 1.0 if round(angle * 5 / np.pi) % 2 == 0 else 0.42, 10),
    "heart": _heart(),
    "diamond": np.array([(0.0, -1.0), (0.66, 0.0), (0.0, 1.0), (-0.66, 0.0)]),
    "cross": np.array([(-_ARM, -0.95), (_ARM, -0.95), (_ARM, -_ARM), (0.95, -_ARM), (0.95, _ARM), (_ARM, _ARM),
                       (_ARM, 0.95), (-_ARM, 0.95), (-_ARM, _ARM), (-0.95, _ARM), (-0.95, -_ARM), (-_ARM, -_ARM)]),
    "ring": _polar(lambda angle: 0.95),
    "moon": _moon(),
    "flower": _polar(lambda angle: 0.55 + 0.42 * abs(np.cos(2.5 * angle)) ** 0.4, 120),
}  # fmt: skip


def _paint_thing(thing: Thing, size: int) -> Image.Image:
    """The sprite of a thing at its largest: lit from above, with an edge that any background shows."""
    factor = max(MOTIONS[thing.motion](u)[2] for u in (0.0, 1.0))
    side = max(4, round(SIZES[thing.size] * factor * SPRITE_ROOM * size))
    room = side * 2 * SUPERSAMPLING
    radius = room / SPRITE_ROOM / 2
    color = COLORS[thing.color]
    edge = (250, 250, 250) if sum(color) < 330 else (24, 24, 24)
    sprite = Image.new("RGBA", (room, room), (*edge, 0))
    draw = ImageDraw.Draw(sprite)
    width = max(2, round(radius * 0.09))
    points = [tuple(point) for point in SHAPES[thing.shape] * radius + room / 2]
    draw.polygon(points, fill=(*color, 255), outline=(*edge, 255), width=width)
    if thing.shape == "ring":
        hole = [room / 2 - radius * 0.48, room / 2 + radius * 0.48]
        draw.ellipse((hole[0], hole[0], hole[1], hole[1]), fill=(*edge, 0), outline=(*edge, 255), width=width)
    light = Image.linear_gradient("L").resize((room, room)).point([255 - value // 3 for value in range(256)])
    shaded = ImageChops.multiply(sprite.convert("RGB"), Image.merge("RGB", [light] * 3))
    shaded.putalpha(sprite.getchannel("A"))
    return shaded.resize((side, side), Image.Resampling.BOX)


# lettering -----------------------------------------------------------------------------------------------------------
FACES = (  # package and file: grotesque, bold, black, italic, thin, serifs, round, hand-drawn capitals
    ("font_lato", "Lato-Regular"),
    ("font_lato", "Lato-Bold"),
    ("font_lato", "Lato-Black"),
    ("font_lato", "Lato-Italic"),
    ("font_lato", "Lato-Light"),
    ("font_caladea", "Caladea-Regular"),
    ("font_caladea", "Caladea-BoldItalic"),
    ("font_fredoka_one", "FredokaOne-Regular"),
    ("font_amatic_sc", "AmaticSC-Bold"),
)


@cache
def load_font(face: int, size: float) -> ImageFont.FreeTypeFont:
    """A font of `FACES` with `size` pixels an em.

    Raises:
        ImportError: its package is not installed.
    """
    module, name = FACES[face]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(
            f"The synthetic world is lettered with the fonts of package {module.replace('_', '-')}, which is missing: "
            'pip install "tcd-hf[synthetic]".'
        )
    (path,) = Path(spec.origin).parent.rglob(f"{name}.[ot]tf")
    return ImageFont.truetype(str(path), size)


def _paint_lettering(lettering: Lettering, size: int, shutter: float) -> Image.Image:
    """The sprite of a text, as large as its box: letters on their board, in perspective, blurred."""
    width, height, em = (part * size for part in lettering.extent)
    side = max(1, round(width)), max(1, round(height))
    flat = side[0] * SUPERSAMPLING, side[1] * SUPERSAMPLING
    color = lettering.plate or lettering.edge or lettering.ink
    sprite = Image.new("RGBA", flat, (*color, 0 if lettering.plate is None else 255))
    draw = ImageDraw.Draw(sprite)
    if lettering.plate is not None:
        frame = tuple(value // 2 + (64 if sum(lettering.plate) < 384 else 0) for value in lettering.plate)
        draw.rectangle((0, 0, flat[0] - 1, flat[1] - 1), outline=(*frame, 255), width=max(1, flat[1] // 24))
    font = load_font(lettering.face, max(1, round(em * SUPERSAMPLING)))
    left, top, right, bottom = font.getbbox(lettering.text)
    corner = (flat[0] - right - left) / 2, (flat[1] - bottom - top) / 2
    stroke = {} if lettering.edge is None else {"stroke_width": em * 0.1, "stroke_fill": (*lettering.edge, 255)}
    draw.text(corner, lettering.text, (*lettering.ink, 255), font, **stroke)
    if any(lettering.tilt):
        sprite = sprite.transform(flat, Image.Transform.PERSPECTIVE, _perspective(flat, lettering.tilt),
                                  Image.Resampling.BICUBIC)  # fmt: skip
    sprite = sprite.resize(side, Image.Resampling.BOX)
    radius = tuple(lettering.blur * size + abs(speed) * shutter * size / 2 for speed in lettering.speed())
    return sprite.convert("RGBa").filter(ImageFilter.BoxBlur(radius)).convert("RGBA") if max(radius) > 0.2 else sprite


def _perspective(size: tuple[int, int], tilt: tuple[float, float, float, float]) -> list[float]:
    """Coefficients for PIL that shorten the sides of an image by the parts of `tilt`: left, right, top, bottom."""
    width, height = size
    left, right, top, bottom = (part / 2 for part in tilt)
    target = np.array([(top, left), (1 - top, right), (1 - bottom, 1 - right), (bottom, 1 - left)]) * size
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=float)
    rows, wanted = [], []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        wanted += [u, v]
    return np.linalg.solve(np.array(rows), np.array(wanted)).tolist()
