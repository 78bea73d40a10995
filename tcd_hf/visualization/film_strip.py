"""A clip as a model sees it: the frame of each window, the text read in it, and what the model makes of both."""

import itertools
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from tcd_hf.clock import clock
from tcd_hf.visualization.style import GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.modeling.outputs import TCDVideoFeatures
    from tcd_hf.processing.processing_tcd import TCDProcessor
    from tcd_hf.processing.video_inputs import VideoInput
    from tcd_hf.processing.window_ocr import WindowCaption

__all__ = ["DrawnClip", "film_strip", "read_clip"]

FRAME_SIDE = 256  # pixels of the longer side, enough for a column of an inch
# inches: width of a window's column, height of a line of its caption, and what is left free around the rows
COLUMN, LINE = 1.05, 0.13
ABOVE, LEGEND, LABELS, BELOW, LEFT, RIGHT = 0.3, 0.35, 0.45, 0.1, 0.9, 0.1
CAPTION_WIDTH, CAPTION_LINES = 15, 6  # characters, lines
# of the title: characters per inch, so few that Chinese ones have room too; lines; and the height of one, inches
TITLE_WIDTH, TITLE_LINES, TITLE_LINE = 7, 3, 0.18


class DrawnClip(NamedTuple):
    """What is drawn of one video.

    Attributes:
        name (`str`): of the file, or what the input is.
        frames (`list[np.ndarray]`): one per window, RGB uint8 `(height, width, 3)`.
        captions (`list[WindowCaption]`): as many.
        features ([`TCDVideoFeatures`]): of this one video.
    """

    name: str
    frames: list[np.ndarray]
    captions: "list[WindowCaption]"
    features: "TCDVideoFeatures"


def read_clip(model: "TCDModel", processor: "TCDProcessor", video: "VideoInput") -> DrawnClip:
    """Reads and embeds a video, with the model in evaluation mode and left as it was.

    Raises:
        ValueError: the model does not read OCR.
        VideoReadError: the video cannot be read.
    """
    import torch

    from tcd_hf.reading.cache import CaptionCache
    from tcd_hf.reading.video_reader import VideoReader

    if not model.config.reads_ocr:
        raise ValueError(
            "This model does not read OCR captions (`use_ocr=False` or `interaction='tib'`): it has no windows to draw."
        )
    frames, captions = VideoReader.of(processor, CaptionCache()).read(video)
    inputs = processor.process_frames(frames, captions)
    was_training = model.training
    with torch.inference_mode():
        features = model.eval().get_video_features(**inputs.to(model.device))
    model.train(was_training)
    name = Path(video).name if isinstance(video, str | os.PathLike) else "the clip"
    shown: Any = itertools.accumulate(frames, lambda before, frame: before if frame is None else frame)
    return DrawnClip(name, list(shown), captions, features)


@contextmanager
def film_strip(
    clip: DrawnClip, title: str, height: float, path: str | Path | None
) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure with a title, the clip's frames in a row above, its captions below, and axes to draw on between them.

    In these axes window `i`, from 0, spans x = `i` - 0.5 to `i` + 0.5, as it does above and below.

    Args:
        clip ([`DrawnClip`])
        title (`str`): wrapped to the width of the figure, and cut at its end where it is very long.
        height (`float`): of the axes, inches.
        path (`str` or `Path`, *optional*): see [`new_figure`].
    """
    count = len(clip.frames)
    tallest = max(frame.shape[0] / frame.shape[1] for frame in clip.frames)
    texts = [_wrapped(caption.text, CAPTION_WIDTH, CAPTION_LINES) or "–" for caption in clip.captions]
    caption_height = LINE * (1 + max(text.count("\n") for text in texts))
    width = LEFT + COLUMN * count + RIGHT
    title = _wrapped(title, round(TITLE_WIDTH * width), TITLE_LINES)
    above = ABOVE + TITLE_LINE * (1 + title.count("\n"))
    total = BELOW + caption_height + LABELS + height + LEGEND + COLUMN * tallest + above
    with new_figure(width, total, path, layout=None) as figure:

        def add_row(bottom: float, height: float) -> "Axes":
            return figure.add_axes((LEFT / width, bottom / total, COLUMN * count / width, height / total))

        captions = add_row(BELOW, caption_height)
        middle = add_row(BELOW + caption_height + LABELS, height)
        frames = add_row(total - above - COLUMN * tallest, COLUMN * tallest)
        figure.suptitle(title, y=1 - 0.08 / total)
        _show_frames(frames, clip, tallest)
        for place, text in enumerate(texts):
            captions.text(place, 1, text, ha="center", va="top", fontsize=7, linespacing=1.2)
        captions.axis("off")
        for axes in (frames, middle, captions):
            axes.set_xlim(-0.5, count - 0.5)
        yield figure, middle


def _show_frames(axes: "Axes", clip: DrawnClip, tallest: float) -> None:
    for place, (frame, caption) in enumerate(zip(clip.frames, clip.captions, strict=True)):
        picture = Image.fromarray(frame)
        picture.thumbnail((FRAME_SIDE, FRAME_SIDE))
        top = 0.94 * picture.height / picture.width  # in columns, as x is
        axes.imshow(picture, extent=(place - 0.47, place + 0.47, 0, top), interpolation="antialiased")
        time = clock((caption.start + caption.end) / 2)
        axes.text(place, top + 0.04, time, ha="center", va="bottom", fontsize=7, color=GREY)
    axes.set(ylim=(0, tallest), aspect="auto")
    axes.axis("off")


def _wrapped(text: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" ..."))
