"""The one style of all plots: colours that colour-blind readers can tell apart, and line styles beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "INK", "LINES", "ORANGE", "VERMILLION", "new_figure"]

# Okabe and Ito: told apart by colour-blind readers too. Their yellow is too pale for a line on white.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, GREY = "#1A1A1A", "#6B6B6B"
LINES = [
    (colour, line)
    for line, colour in product(("-", "--", ":", "-."), (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#000000"))
]
"""Pairs of a colour and a line style, in the order in which curves of one plot take them."""

# Matplotlib takes a glyph from the first of these that has it; all but the first are used where they are installed.
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Arial Unicode MS", "Microsoft YaHei")
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a caption may hold dollar signs
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 150,
}


@contextmanager
def new_figure(
    width: float, height: float, path: str | Path | None = None, layout: Literal["constrained"] | None = "constrained"
) -> Iterator["Figure"]:
    """An empty figure in this style, to be drawn on in a `with` block; written to `path` at its end.

    It belongs to no window and needs no display.

    Args:
        width, height (`float`): inches.
        path (`str` or `Path`, *optional*): in the format of its ending: `.png`, `.svg`, `.pdf`. Its folder is made if
            need be. By default nothing is written.
        layout (`str`, *optional*, defaults to `"constrained"`): Matplotlib's layout engine; `None` for axes that are
            placed by hand.

    Raises:
        ImportError: Matplotlib is not installed; says how to install it.
        ValueError: an ending that Matplotlib does not write.
    """
    try:
        from matplotlib import font_manager, rc_context
        from matplotlib.figure import Figure  # not pyplot, which keeps every figure and asks for a display
    except ImportError as error:
        raise ImportError(f'Plots need Matplotlib ({error}): pip install "tcd-hf[plot]"') from error

    installed = set(font_manager.get_font_names())
    style: dict[Any, Any] = {**STYLE, "font.family": [font for font in FONTS if font in installed]}
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout=layout)
        yield figure
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
