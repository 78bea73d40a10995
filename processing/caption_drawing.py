"""A contact sheet of window captions: the frame of each window with the boxes of its texts, and the caption below."""

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .video_reading import opened_video

__all__ = ["draw_captions"]

MARGIN = 8  # pixels
FONT_SIZE = 13
CAPTION_LINES = 4
BOX_COLOR = (255, 64, 64)


def draw_captions(video: Any, captions: Sequence[Any], columns: int = 3, tile_width: int = 426) -> Image.Image:
    """Draws window captions onto frames of their windows: those in which most of their texts were read.

    Args:
        video: anything `open_video` takes, or a list of as many frames (arrays `(height, width, 3)` RGB uint8 or PIL
            images) as there are captions.
        captions (`Sequence[WindowCaption]`): the captions of the video.
        columns (`int`, *optional*, defaults to 3): windows side by side.
        tile_width (`int`, *optional*, defaults to 426): width of one frame on the sheet, pixels.

    Returns:
        `PIL.Image.Image`. Glyphs that PIL's own font lacks, such as Chinese ones, are drawn as empty boxes.
    """
    if not captions:
        raise ValueError("There are no captions to draw: give the list that a captioner returned.")
    if columns < 1 or tile_width < 32:
        raise ValueError(f"columns must be at least 1 and tile_width at least 32, got {columns} and {tile_width}.")
    tiles = [
        _draw_tile(frame, caption, tile_width)
        for frame, caption in zip(_frames_of(video, captions, tile_width), captions, strict=True)
    ]
    height = max(tile.height for tile in tiles)
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * (tile_width + MARGIN) + MARGIN, rows * (height + MARGIN) + MARGIN), "white")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (MARGIN + column * (tile_width + MARGIN), MARGIN + row * (height + MARGIN)))
    return sheet


def _frames_of(video: Any, captions: Sequence[Any], max_side: int) -> list[Any]:
    if isinstance(video, Sequence) and not isinstance(video, str | bytes) and len(video) == len(captions):
        return [frame if isinstance(frame, Image.Image) else Image.fromarray(frame) for frame in video]
    with opened_video(video) as opened:
        times = [_shown_time(caption) for caption in captions]
        return [Image.fromarray(frame) for frame in opened.frames_at(times, max_side=2 * max_side)]


def _shown_time(caption: Any) -> float:
    """The time at which most texts of the caption were read; the centre of its window where there are none."""
    times = Counter(track.box_time for track in caption.tracks)
    return times.most_common(1)[0][0] if times else (caption.start + caption.end) / 2


def _draw_tile(frame: Image.Image, caption: Any, width: int) -> Image.Image:
    font = ImageFont.load_default(FONT_SIZE)
    line_height = FONT_SIZE + 3
    picture = frame.convert("RGB").resize((width, max(1, round(width * frame.height / frame.width))))
    tile = Image.new("RGB", (width, picture.height + (CAPTION_LINES + 1) * line_height), "white")
    tile.paste(picture)
    draw = ImageDraw.Draw(tile)
    shown = _shown_time(caption)
    for track in (track for track in caption.tracks if track.box_time == shown):
        x0, y0, x1, y1 = np.clip(track.box, 0, 1) * ([picture.width, picture.height] * 2)
        draw.rectangle((x0, y0, x1, y1), outline=BOX_COLOR, width=2)
    lines = [f"{caption.start:.1f} - {caption.end:.1f} s"]
    lines += textwrap.wrap(caption.text, width // 7, max_lines=CAPTION_LINES, placeholder=" ...")
    for number, line in enumerate(lines):
        draw.text((2, picture.height + 1 + number * line_height), line, fill="black", font=font)
    return tile
