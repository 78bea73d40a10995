"""Painted clips with lettering, made to be looked at: what the screenshots of the page show."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tcd_hf.data.synthetic_backgrounds import Background, paint_background
from tcd_hf.data.synthetic_scene import load_font
from tests.clips import write_clip
from tests.tcd_hf.app.long_videos import write_stills

WIDTH, HEIGHT = 640, 360
FPS = 10
SECONDS = 6


class Sign(NamedTuple):
    """A text on a board: on screen from `start` to `end` (seconds), its middle at (x, y) of the frame at the start."""

    text: str
    start: float
    end: float
    x: float
    y: float
    size: int = 40
    ink: str = "white"
    board: str = "#12263f"


SCENES = {
    "old_town_walk.mp4": (
        Background("city", 11),
        [
            Sign("HARBOUR CAFE", 0, 3, 0.35, 0.3, 46, "#fff4d6", "#7a2e1d"),
            Sign("open 7 am to 10 pm", 1, 3.5, 0.4, 0.55, 26),
            Sign("City Museum", 3.5, 6, 0.6, 0.35, 42, "#1d2b3a", "#e9e4d8"),
        ],
    ),
    "evening_platform.mp4": (
        Background("lights", 5),
        [
            Sign("DEPARTURES", 0, 6, 0.3, 0.2, 30, "#f5c542", "#111111"),
            Sign("17:45 Lindenberg", 1.5, 6, 0.45, 0.45, 44, "#f5c542", "#111111"),
            Sign("Platform 9", 3, 6, 0.6, 0.72, 34, "white", "#0b3d91"),
        ],
    ),
    "saturday_market.mp4": (
        Background("bricks", 21),
        [
            Sign("Fresh mangoes", 0.5, 6, 0.45, 0.3, 44, "#133b1c", "#f7e9b0"),
            Sign("2.40 a kilo", 2, 6, 0.5, 0.6, 40, "#a61c1c", "#fff8e7"),
        ],
    ),
    "cup_final.mp4": (
        Background("hills", 8),
        [
            Sign("ROVERS 0 - 0 UNITED", 0, 3, 0.5, 0.12, 28),
            Sign("ROVERS 1 - 0 UNITED", 3, 6, 0.5, 0.12, 28),
            Sign("GOAL!", 3.2, 5.5, 0.5, 0.55, 90, "#ffe14d", "#0f5132"),
        ],
    ),
    "coast_road.mp4": (
        Background("road", 14),
        [
            Sign("Lighthouse 3 km", 1, 4.5, 0.6, 0.3, 38, "white", "#1b5e20"),
            Sign("SLOW", 4, 6, 0.4, 0.75, 60, "white", "#3a3a3a"),
        ],
    ),
    "pharmacy_corner.mp4": (
        Background("tiles", 2),
        [Sign("PHARMACY", 0, 6, 0.4, 0.35, 56, "white", "#1f8a4c"), Sign("open all night", 2, 6, 0.5, 0.6, 30)],
    ),
    "reading_room.mp4": (
        Background("room", 17),
        [Sign("Silence please", 2, 5, 0.6, 0.35, 38, "#2b2118", "#efe6d2")],
    ),
    "open_sea.mp4": (Background("sea", 3), []),
}


# An hour: what is shown of which scene, from which of its seconds, for how long. The cafe is passed five times.
CAFE = ("old_town_walk.mp4", 2.0, 40)
TOUR = [
    *(("coast_road.mp4", 0.0, 240), ("coast_road.mp4", 2.0, 60), ("open_sea.mp4", 1.0, 320), CAFE),
    *(("reading_room.mp4", 0.0, 200), ("reading_room.mp4", 3.0, 40), ("open_sea.mp4", 3.0, 300), CAFE),
    *(("saturday_market.mp4", 3.0, 120), ("open_sea.mp4", 5.0, 360), CAFE),
    *(("cup_final.mp4", 4.0, 80), ("coast_road.mp4", 0.5, 760), CAFE),
    *(("evening_platform.mp4", 4.0, 60), ("open_sea.mp4", 2.0, 480), CAFE, ("reading_room.mp4", 0.5, 380)),
]


def write_tour(path: Path) -> Path:
    """Writes the hour, in pictures that stand still."""
    stills = {}
    for name, second, _ in TOUR:
        stills.setdefault((name, second), list(_paint(*SCENES[name]))[round(second * FPS)])
    return write_stills(path, [(stills[name, second], seconds) for name, second, seconds in TOUR])


def write_scenes(folder: Path) -> list[Path]:
    """Paints the clips into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_clip(folder / name, _paint(background, signs), fps=FPS, faststart=True)
        for name, (background, signs) in SCENES.items()
    ]


def _paint(background: Background, signs: list[Sign]) -> Iterator[np.ndarray]:
    side = 720
    scenery = paint_background(background, side)
    for number in range(FPS * SECONDS):
        time = number / FPS
        pan = round((side - WIDTH) * time / SECONDS)
        frame = scenery.crop((pan, 200, pan + WIDTH, 200 + HEIGHT))
        for sign in signs:
            if sign.start <= time < sign.end:
                _paint_sign(frame, sign, shift=-0.008 * (time - sign.start))
        yield np.asarray(frame)


def _paint_sign(frame: Image.Image, sign: Sign, shift: float) -> None:
    draw, font = ImageDraw.Draw(frame), load_font(0, sign.size)
    middle = ((sign.x + shift) * WIDTH, sign.y * HEIGHT)
    x0, y0, x1, y1 = draw.textbbox(middle, sign.text, font, anchor="mm")
    margin = sign.size * 0.4
    draw.rounded_rectangle((x0 - margin, y0 - margin, x1 + margin, y1 + margin), margin, sign.board)
    draw.text(middle, sign.text, sign.ink, font, anchor="mm")
