"""Cards, small pictures that carry their own number in blocks of pixels, which survive compression.

What can be read on a card is kept in a table, so that `CardReader` reads it as an OCR engine without error would, or
with the slips of `tcd_hf.data.ocr_noise`. Cards stand 8 s, one after the other; an hour takes a second or two to write.

Readings are `(text, confidence, (x0, y0, x1, y1))`, times seconds; the picture may change each half second (a *tick*).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tcd_hf.data.ocr_noise import OCRNoise

__all__ = ["TICK", "Card", "CardReader", "Reading", "lines", "read_code", "write_cards"]

TICK = 0.5  # seconds that one frame is on screen
WIDTH, HEIGHT, BLOCK = 128, 72, 8
COLUMNS, ROWS, CODE_ROWS = WIDTH // BLOCK, HEIGHT // BLOCK, 2
STATE_BITS = 12
CARD_SECONDS = 8

Reading = tuple[str, float, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Card:
    """What is on screen for a while.

    Attributes:
        readings: what can be read of each of its pictures.
        ticks: number of the picture shown in each half second.
    """

    readings: tuple[tuple[Reading, ...], ...]
    ticks: tuple[int, ...]

    @classmethod
    def still(cls, texts: Sequence[str], seconds: float = CARD_SECONDS) -> "Card":
        """One picture with a text on each line."""
        return cls((lines(texts),), (0,) * round(seconds / TICK))

    def moving(self) -> "Card":
        """The same, another picture each half second: an engine reads it again and again."""
        return Card(tuple(self.readings[picture] for picture in self.ticks), tuple(range(len(self.ticks))))

    def shortened(self, num_ticks: int) -> "Card":
        return replace(self, ticks=self.ticks[:num_ticks])

    @property
    def seconds(self) -> float:
        return len(self.ticks) * TICK


class CardReader:
    """An OCR engine for cards. Can be pickled; a picture that is no card shows no text.

    Args:
        table (`dict[int, Sequence[Sequence[Reading]]]`): what each picture of each card shows.
        noise (`float`, *optional*, defaults to 0): level of [`OCRNoise`]; the slips of a picture are always the same.
    """

    def __init__(self, table: dict[int, Sequence[Sequence[Reading]]], noise: float = 0.0):
        self.table, self.noise = table, noise

    def __call__(self, images: list[np.ndarray]) -> list[list[Reading]]:
        return [self._read(image) for image in images]

    def _read(self, image: np.ndarray) -> list[Reading]:
        code = read_code(image)
        if code is None:
            return []
        card, picture = code
        readings = list(self.table[card][picture])
        if not self.noise:
            return readings
        rng, slips = random.Random(f"{card} {picture}"), OCRNoise(self.noise)
        read = [(" ".join(slips(text.split(), rng)), *rest) for text, *rest in readings]
        return [reading for reading in read if reading[0]]


def lines(texts: Sequence[str]) -> tuple[Reading, ...]:
    """One text a line, too far apart for a block."""
    step = min(0.1, 0.98 / max(1, len(texts)))
    return tuple(
        (text, 0.9, (0.05, 0.01 + i * step, 0.05 + min(0.9, 0.02 * len(text)), 0.01 + (i + 0.45) * step))
        for i, text in enumerate(texts)
    )


# pictures -----------------------------------------------------------------------------------------------------------
def draw_card(card: int, picture: int) -> np.ndarray:
    """The picture as YUV 4:2:0, `(HEIGHT * 3 / 2, WIDTH)` uint8.

    Two rows of blocks are the code, the others chance, so that cards differ as much as the scenes of a film; grey
    levels and colours belong to the card.
    """
    dark, light, u, v = np.random.default_rng(card).integers((30, 150, 110, 110), (70, 210, 147, 147))
    grey = np.where(_blocks(card, picture), light, dark).astype(np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    planes = np.repeat(np.array([u, v], np.uint8), HEIGHT * WIDTH // 4)
    return np.concatenate([grey, planes.reshape(-1, WIDTH)])


def read_code(image: np.ndarray) -> tuple[int, int] | None:
    """Number of the card and of its picture, from RGB `(height, width, 3)`; `None` where the picture is no card."""
    if image.shape[:2] != (HEIGHT, WIDTH):
        return None
    cells = image.mean(axis=2).reshape(ROWS, BLOCK, COLUMNS, BLOCK)[:, 2:-2, :, 2:-2].mean(axis=(1, 3))
    blocks = cells > (cells.min() + cells.max()) / 2
    code = int("".join("01"[bit] for bit in blocks[:CODE_ROWS].ravel().astype(int)), 2)
    card, picture = code >> STATE_BITS, code & ((1 << STATE_BITS) - 1)
    return (card, picture) if (blocks == _blocks(card, picture)).all() else None


def _blocks(card: int, picture: int) -> np.ndarray:
    code = card << STATE_BITS | picture
    shifts = np.arange(CODE_ROWS * COLUMNS)[::-1]
    bits = (code >> shifts & 1).astype(bool).reshape(CODE_ROWS, COLUMNS)
    check = np.random.default_rng([7, code]).random((ROWS - CODE_ROWS, COLUMNS)) < 0.5
    return np.concatenate([bits, check])


def write_cards(path: Path, cards: Sequence[Card], first: int = 0) -> None:
    """Writes cards one after the other, H.264, a frame a tick; the first one has the number `first`."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(1 / TICK), options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1  # the pictures are too small to share
        time = 0
        for number, card in enumerate(cards, start=first):
            frame = shown = None
            for picture in card.ticks:
                if picture != shown:
                    frame, shown = av.VideoFrame.from_ndarray(draw_card(number, picture), format="yuv420p"), picture
                frame.pts, time = time, time + 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
