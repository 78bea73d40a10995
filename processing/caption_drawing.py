"""Pictures of what was read: boxes with labels on a frame, and a contact sheet of window captions."""

import functools
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .video_files import ANY_PIXELS, lasting_backend
from .video_reading import opened_video

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont  # of PIL itself, or of a file

__all__ = ["BOX_COLOR", "draw_boxes", "draw_captions"]

MARGIN = 8  # pixels
FONT_SIZE = 13
CAPTION_LINES = 4
BOX_COLOR = (240, 228, 66)  # the yellow of Okabe and Ito: with a dark edge, seen on any picture by any eye
STRIP_COLOR = (20, 20, 20)
# What PIL's own font lacks: with accents, currency signs and other scripts. PIL looks where the system keeps its fonts.
SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc", "DejaVuSans.ttf")

Box = Sequence[float]


def draw_boxes(image: Image.Image, boxes: Sequence[Box], labels: Sequence[str] = ()) -> Image.Image:
    """Outlines boxes on a picture, each with its label on a dark strip beside it.

    Args:
        image (`PIL.Image.Image`): of any size.
        boxes (`Sequence`): two opposite corners each, (x0, y0, x1, y1), relative to the picture, 0-1. What lies outside
            is cut off.
        labels (`Sequence[str]`, *optional*): one per box; none: boxes alone. They stand where they cover no box and no
            other label, if there is such a place, and are cut to the width of the picture.

    Returns:
        `PIL.Image.Image`: a copy, RGB. Labels are in the first font found of Noto Sans CJK, Arial Unicode, Microsoft
        YaHei and DejaVu Sans, else in PIL's own, which has little more than ASCII; glyphs that a font lacks, such as
        Chinese ones in DejaVu Sans, are drawn as empty boxes.

    Raises:
        ValueError: another number of labels than of boxes.
    """
    if labels and len(labels) != len(boxes):
        raise ValueError(f"There must be one label per box, got {len(labels)} labels for {len(boxes)} boxes.")
    picture = image.convert("RGB")  # a copy, always
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 320))
    corners = np.sort(np.clip(np.reshape(boxes, (-1, 2, 2)), 0, 1), axis=1) * (picture.width - 1, picture.height - 1)
    outlines: list[tuple[float, ...]] = [tuple(corner.ravel()) for corner in corners]
    for x0, y0, x1, y1 in outlines:
        draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=STRIP_COLOR)
        draw.rectangle((x0, y0, x1, y1), outline=BOX_COLOR, width=line)
    size = max(FONT_SIZE, round(max(picture.size) / 48))
    font = label_font(size)
    taken: list[Box] = [*outlines]
    for outline, label in zip(outlines, labels, strict=False):
        label = _fitted(label, font, picture.width - size)
        strip = _place(outline, font.getlength(label) + size * 0.7, size * 1.5, picture.size, taken)
        draw.rectangle(strip, fill=STRIP_COLOR)
        middle = ((strip[0] + strip[2]) / 2, (strip[1] + strip[3]) / 2)
        draw.text(middle, label, fill="white", font=font, anchor="mm")
        taken.append(strip)
    return picture


def draw_captions(video: Any, captions: Sequence[Any], columns: int = 3, tile_width: int = 426) -> Image.Image:
    """Draws window captions onto frames of their windows: those in which most of their texts were read.

    Args:
        video: anything `open_video` takes, or a list of as many frames (arrays `(height, width, 3)` RGB uint8 or PIL
            images) as there are captions.
        captions (`Sequence[WindowCaption]`): the captions of the video.
        columns (`int`, *optional*, defaults to 3): windows side by side.
        tile_width (`int`, *optional*, defaults to 426): width of one frame on the sheet, pixels.

    Returns:
        `PIL.Image.Image`. Which glyphs can be drawn depends on the fonts at hand, see [`draw_boxes`].
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
    given: Any = video
    if isinstance(video, Sequence) and not isinstance(video, str | bytes) and len(video) == len(captions):
        return [frame if isinstance(frame, Image.Image) else Image.fromarray(frame) for frame in given]
    with opened_video(given, backend=lasting_backend(), max_pixels=ANY_PIXELS) as opened:
        times = [_shown_time(caption) for caption in captions]
        return [Image.fromarray(frame) for frame in opened.frames_at(times, max_side=2 * max_side)]


def _shown_time(caption: Any) -> float:
    """The time at which most texts of the caption were read; the centre of its window where there are none."""
    times = Counter(track.box_time for track in caption.tracks)
    return times.most_common(1)[0][0] if times else (caption.start + caption.end) / 2


def _draw_tile(frame: Image.Image, caption: Any, width: int) -> Image.Image:
    font = label_font(FONT_SIZE)
    line_height = FONT_SIZE + 3
    picture = frame.convert("RGB").resize((width, max(1, round(width * frame.height / frame.width))))
    shown = _shown_time(caption)
    picture = draw_boxes(picture, [track.box for track in caption.tracks if track.box_time == shown])
    tile = Image.new("RGB", (width, picture.height + (CAPTION_LINES + 1) * line_height), "white")
    tile.paste(picture)
    draw = ImageDraw.Draw(tile)
    lines = [f"{_clock(caption.start)} - {_clock(caption.end)}"]
    characters = round(0.9 * width * len(caption.text) / max(1, font.getlength(caption.text)))  # of a line
    lines += textwrap.wrap(caption.text, max(8, characters), max_lines=CAPTION_LINES, placeholder=" ...")
    for number, line in enumerate(lines):
        draw.text((2, picture.height + 1 + number * line_height), line, fill="black", font=font)
    return tile


def _clock(seconds: float) -> str:
    """Writes a time as `tcd_hf.clock` does, which a copy of this file on the Hub does not have."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{tenths // 10:02d}.{tenths % 10}"


@functools.cache
def label_font(size: int) -> Font:
    """The font of labels, `size` pixels high: one of the system that has all letters, or else PIL's own."""
    for name in SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not installed
            continue
    return ImageFont.load_default(size)


def _fitted(label: str, font: Font, width: float) -> str:
    """The label on one line, cut with an ellipsis where it is too wide."""
    label = " ".join(label.split())
    if font.getlength(label) <= width:
        return label
    while label and font.getlength(label + "...") > width:
        label = label[:-1]
    return label + "..."


def _place(outline: Box, width: float, height: float, size: tuple[int, int], taken: Sequence[Box]) -> Box:
    """Where a label goes: above its box, else below, else at its foot or head; the first place that is free."""
    x0, y0, _, y1 = outline
    left = max(0, min(x0, size[0] - width))
    gap = height / 8
    tops = [y0 - gap - height, y1 + gap, y1 - height, y0]
    places = [(left, top, left + width, top + height) for top in tops if 0 <= top <= size[1] - height]
    others = [box for box in taken if box is not outline]
    free = [place for place in places if not any(_overlap(place, box) for box in others)]
    return [*free, *places, (left, 0, left + width, height)][0]


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
