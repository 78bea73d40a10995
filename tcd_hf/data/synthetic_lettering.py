"""Texts of synthetic clips, each in a style of its own."""

import random

from .synthetic_scene import FACES, RGB, Lettering, Thing

__all__ = ["draw_lettering"]


def draw_lettering(
    rng: random.Random, text: str, times: tuple[float, float], lane: str, carrier: Thing | None
) -> Lettering:
    """A text in a style of its own: letters on the picture, a board in perspective, a label on a thing, a crawl.

    Args:
        lane: `"top"` or `"bottom"`; with `"left"` or `"right"`, a small text in that corner.
        carrier: the thing that the text may be fixed to.
    """
    corner = " " in lane
    height = rng.uniform(0.03, 0.045) if corner else rng.uniform(0.05, 0.095)
    y = {"top": 0.05 if corner else rng.uniform(0.16, 0.22), "bottom": 0.95 if corner else rng.uniform(0.78, 0.84)}
    x = 0.2 if "left" in lane else 0.8 if "right" in lane else rng.uniform(0.3, 0.7)
    ink, board = _draw_inks(rng)
    way = rng.choices(("fixed", "drift", "crawl", "label"), (4, 3, 2, 3))[0]
    shift = rng.choice((-1, 1)) * rng.uniform(*{"drift": (0.1, 0.25), "crawl": (0.5, 0.9)}.get(way, (0.0, 0.0)))
    has_plate = rng.random() < 0.55 or way == "label"
    tilts = [0.0] * 4
    tilts[rng.randrange(4)] = rng.uniform(0.1, 0.35) if has_plate and rng.random() < 0.5 else 0.0
    center, face = y[lane.split()[0]], rng.randrange(len(FACES))
    blur = rng.uniform(0.001, 0.005) if rng.random() < 0.2 else 0.0
    return Lettering(
        text,
        *times,
        face=face,
        height=height,
        ink=ink,
        plate=board if has_plate else None,
        edge=None if has_plate else board,
        tilt=(tilts[0], tilts[1], tilts[2], tilts[3]),
        blur=blur,
        origin=(x, center) if corner else (x - shift / 2, center),
        target=(x, center) if corner else (x + shift / 2, center),
        carrier=carrier if way == "label" else None,
    )


def _draw_inks(rng: random.Random) -> tuple[RGB, RGB]:
    """Colours of letters and of what is behind them: far apart, now and then less so."""
    dark = (rng.randrange(0, 80), rng.randrange(0, 80), rng.randrange(0, 80))
    light = (rng.randrange(190, 256), rng.randrange(190, 256), rng.randrange(190, 256))
    ink, board = (dark, light) if rng.random() < 0.5 else (light, dark)
    if rng.random() < 0.2:  # faded
        share = rng.uniform(0.45, 0.72)
        red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(ink, board, strict=True))
        ink = (red, green, blue)
    return ink, board
