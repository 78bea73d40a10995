"""Small clips with moving text, drawn here, and queries for them: what `tcd-hf demo` searches."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DEMO_CLIPS", "DEMO_QUERIES", "DemoClip", "MovingText", "render_demo_clips"]

FPS = 10
SECONDS = 3
WIDTH, HEIGHT = 480, 270


@dataclass(frozen=True)
class MovingText:
    """One text of a demo clip, on screen from `start` to `end` (seconds) while it moves from `origin` to `target`.

    Positions are of the text's centre, relative to the frame, (x, y) in 0-1; `size` in pixels; `color` as PIL names it.
    """

    text: str
    origin: tuple[float, float]
    target: tuple[float, float]
    size: int = 33
    color: str = "white"
    start: float = 0.0
    end: float = float(SECONDS)


@dataclass(frozen=True)
class DemoClip:
    """A clip of the demo: file name, the two colours of its background's gradient, and its texts."""

    name: str
    background: tuple[str, str]
    texts: tuple[MovingText, ...] = ()


DEMO_CLIPS = (
    DemoClip(
        "cafe.mp4",
        ("saddlebrown", "peru"),
        (
            MovingText("HARBOUR CAFE", (0.35, 0.3), (0.6, 0.3), size=42),
            MovingText("open 7 am to 10 pm", (0.5, 0.75), (0.5, 0.65), size=27, color="lemonchiffon", start=1.5),
        ),
    ),
    DemoClip(
        "station.mp4",
        ("midnightblue", "black"),
        (
            MovingText("DEPARTURES", (0.3, 0.2), (0.3, 0.2), size=30, color="gold"),
            MovingText("17:45 Lindenberg", (0.45, 0.5), (0.55, 0.5), color="gold"),
            MovingText("Platform 9", (0.5, 0.8), (0.5, 0.75), color="orange", start=1.0),
        ),
    ),
    DemoClip(
        "traffic.mp4",
        ("dimgray", "silver"),
        (MovingText("KX73 LMT", (0.2, 0.7), (0.75, 0.6), size=36, color="black"),),
    ),
    DemoClip(
        "market.mp4",
        ("darkgreen", "yellowgreen"),
        (
            MovingText("Fresh mangoes", (0.5, 0.25), (0.5, 0.35), size=38),
            MovingText("$2.40", (0.3, 0.7), (0.7, 0.7), size=54, color="yellow"),
        ),
    ),
    DemoClip(
        "football.mp4",
        ("seagreen", "darkolivegreen"),
        (
            MovingText("ROVERS 0 - 0 UNITED", (0.5, 0.12), (0.5, 0.12), size=27, end=1.5),
            MovingText("ROVERS 1 - 0 UNITED", (0.5, 0.12), (0.5, 0.12), size=27, start=1.5),
            MovingText("GOAL!", (0.3, 0.6), (0.7, 0.5), size=68, color="yellow", start=1.5),
        ),
    ),
    DemoClip("sunset.mp4", ("orangered", "indigo")),
)

DEMO_QUERIES = {
    "the cafe called Harbour": "cafe.mp4",
    "a shop that is open until 10 pm": "cafe.mp4",
    "train to Lindenberg at 17:45": "station.mp4",
    "waiting for departure on platform 9": "station.mp4",
    "a car with the number plate KX73 LMT": "traffic.mp4",
    "fruit for sale": "market.mp4",  # found by what its sign means
    "mangoes on sale for $2.40": "market.mp4",
    "Rovers score a goal against United": "football.mp4",
}
"""Each query with the name of the clip it describes."""


def render_demo_clips(folder: str | os.PathLike) -> list[Path]:
    """Draws the demo's clips into a folder (made if need be) as H.264 files, 3 s each, and returns their paths.

    Raises:
        FileExistsError: a file of a clip's name is there already; it may be the user's own.
    """
    import av

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    taken = [clip.name for clip in DEMO_CLIPS if (folder / clip.name).exists()]
    if taken:
        raise FileExistsError(f"{folder} already holds {', '.join(taken)}: choose another folder, or remove them.")
    paths = []
    for clip in DEMO_CLIPS:
        path = folder / clip.name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for pixels in _draw_frames(clip):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        paths.append(path)
    return paths


def _draw_frames(clip: DemoClip) -> Iterator[np.ndarray]:
    from PIL import Image, ImageDraw, ImageFont

    top, bottom = (Image.new("RGB", (WIDTH, HEIGHT), color) for color in clip.background)
    background = Image.composite(bottom, top, Image.linear_gradient("L").resize((WIDTH, HEIGHT)))
    fonts = {text.size: ImageFont.load_default(text.size) for text in clip.texts}
    for index in range(FPS * SECONDS):
        time = index / FPS
        frame = background.copy()
        draw = ImageDraw.Draw(frame)
        for text in clip.texts:
            if text.start <= time < text.end:
                x, y = (a + (b - a) * time / SECONDS for a, b in zip(text.origin, text.target, strict=True))
                draw.text((x * WIDTH, y * HEIGHT), text.text, text.color, fonts[text.size], anchor="mm")
        yield np.asarray(frame)
