"""Draws how a video and a query become a score, for the documentation.

    python -m scripts.pictures.architecture --out docs/pictures/architecture.svg

Needs the extra `[plot]`.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tcd_hf.visualization.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 124, 70  # of the drawing, in its own units
BOX_HEIGHT = 8

# Boxes by name: centre, width, colour of the edge, text. What is above the line is done once per video.
BOXES = {
    "frames": (11, 60, 18, BLUE, "12 frames"),
    "captions": (11, 42, 18, VERMILLION, "12 captions:\ntext read per window"),
    "query": (11, 13, 18, INK, "query"),
    "image tower": (37, 60, 16, BLUE, "image tower"),
    "text tower": (37, 42, 16, VERMILLION, "text tower"),
    "query tower": (37, 13, 16, INK, "text tower"),
    "coarse": (61, 60, 20, GREY, "one coarse vector"),
    "co-attention": (61, 47, 20, GREY, "co-attention:\nthey read each other"),
    "gate": (61, 31, 20, INK, "text condition:\nthe query weighs both"),
    "text-video": (87, 43, 20, BLUE, "text-video cosine"),
    "text-hybrid": (87, 31, 20, GREEN, "hybrid clue (CTCD),\ntext-hybrid cosine"),
    "text-OCR": (87, 19, 20, VERMILLION, "text-OCR cosine"),
    "recall": (87, 60, 20, GREY, "recall of candidates,\nby vector and spelling"),
    "lexical": (87, 7, 20, ORANGE, "lexical score:\nspelling of the texts"),
    "score": (113, 31, 14, INK, "similarity S:\nthe mean"),
    "rank": (113, 13, 18, INK, "search score:\n(1 - w) S + w L"),
}
# Lines from one side of a box to a side of another: r(ight), l(eft), t(op), b(ottom); points between them.
ARROWS = [
    ("frames", "r", "image tower", "l", []),
    ("captions", "r", "text tower", "l", []),
    ("query", "r", "query tower", "l", []),
    ("image tower", "r", "co-attention", "l", [(48, 60), (48, 47)]),
    ("text tower", "r", "co-attention", "l", [(48, 42), (48, 47)]),
    ("image tower", "r", "coarse", "l", []),
    ("coarse", "r", "recall", "l", []),
    ("co-attention", "b", "gate", "t", []),
    ("query tower", "r", "gate", "b", [(61, 13)]),
    ("gate", "r", "text-video", "l", [(74, 31), (74, 43)]),
    ("gate", "r", "text-hybrid", "l", []),
    ("gate", "r", "text-OCR", "l", [(74, 31), (74, 19)]),
    ("text-video", "r", "score", "l", [(101, 43), (101, 31)]),
    ("text-hybrid", "r", "score", "l", []),
    ("text-OCR", "r", "score", "l", [(101, 19), (101, 31)]),
    ("score", "b", "rank", "t", []),
    ("lexical", "r", "rank", "b", [(113, 7)]),
    ("query", "b", "lexical", "l", [(11, 7)]),
]


def main(argv: list[str] | None = None) -> int:
    """Writes the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path("docs/pictures/architecture.svg")
    parser.add_argument("--out", type=Path, default=default, metavar="FILE", help=f".svg or .png (default: {default})")
    args = parser.parse_args(argv)
    try:
        draw(args.out)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def draw(path: Path) -> None:
    """Draws all boxes and arrows."""
    with new_figure(9.6, 9.6 * HEIGHT / WIDTH, path, layout=None) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
        axes.axis("off")
        draw_stage(axes, 1.0, 36.6, 72.5, 68.5, "once per video: kept in an index")
        for arrow in ARROWS:
            draw_arrow(axes, *arrow)
        axes.annotate(
            "",
            (37, 46.2),
            (37, 55.8),
            arrowprops={"arrowstyle": "<->", "color": GREEN, "linestyle": "--", "shrinkA": 0, "shrinkB": 0},
        )
        axes.text(35.5, 51, "calibrated in training (HSC)", color=GREEN, fontsize=7.5, ha="right", va="center")
        for box in BOXES.values():
            draw_box(axes, *box)


def draw_stage(axes: "Axes", left: float, bottom: float, right: float, top: float, text: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = {"boxstyle": "round,pad=0,rounding_size=1.5", "facecolor": "#F4F4F4", "edgecolor": "none"}
    axes.add_patch(FancyBboxPatch((left, bottom), right - left, top - bottom, **style))
    axes.text(left + 1.5, top - 1.2, text, color=GREY, fontsize=8, va="top")


def draw_box(axes: "Axes", x: float, y: float, width: float, colour: str, text: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = {"boxstyle": "round,pad=0,rounding_size=1", "facecolor": "white", "edgecolor": colour, "linewidth": 1.4}
    axes.add_patch(FancyBboxPatch((x - width / 2, y - BOX_HEIGHT / 2), width, BOX_HEIGHT, **style))
    axes.text(x, y, text, color=INK, fontsize=8, ha="center", va="center", linespacing=1.25)


def draw_arrow(axes: "Axes", start: str, side: str, end: str, other_side: str, corners: list) -> None:
    points = [side_of(start, side), *corners, side_of(end, other_side)]
    if corners and other_side in "lr":  # enters its box level, at the height of the last corner
        points[-1] = (points[-1][0], corners[-1][1])
    if len(points) > 2:
        axes.plot(*zip(*points[:-1], strict=True), color=GREY, linewidth=1.1, solid_joinstyle="round")
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    axes.annotate("", points[-1], points[-2], arrowprops=style)


def side_of(name: str, side: str) -> tuple[float, float]:
    x, y, width, *_ = BOXES[name]
    half_width, half_height = width / 2, BOX_HEIGHT / 2
    return {
        "l": (x - half_width, y),
        "r": (x + half_width, y),
        "t": (x, y + half_height),
        "b": (x, y - half_height),
    }[side]


if __name__ == "__main__":
    raise SystemExit(main())
