"""What an OCR engine gives: pieces of text, each with its place in the image."""

import unicodedata
from dataclasses import dataclass

__all__ = ["TextReading", "normalize_text"]


@dataclass(frozen=True)
class TextReading:
    """One piece of text read in one image.

    Args:
        text (`str`): what was read; NFKC-normalised, single spaces.
        confidence (`float`): 0-1.
        box (`tuple[float, float, float, float]`): x0, y0, x1, y1 relative to the image, 0-1, origin at the top left.
        corners (`tuple[tuple[float, float], ...]`, *optional*):
            Where the text does not lie level: x, y of its four corners, relative to the image, in the order top left,
            top right, bottom right, bottom left as a reader of the text sees them. `None`: those of `box`.
    """

    text: str
    confidence: float
    box: tuple[float, float, float, float]
    corners: tuple[tuple[float, float], ...] | None = None


def normalize_text(text: str) -> str:
    """NFKC-normalised `text` with every run of whitespace made one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split())
