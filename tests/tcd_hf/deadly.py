"""An OCR engine that some frames are too much for, as some files are for a decoder."""

import os
import time
from collections.abc import Mapping, Sequence

import numpy as np

from tests.clips import read_code

FOREVER = 600  # seconds


class DeadlyReader:
    """Reads the codes of frames as texts, `"code 5"`, or as a table of texts says.

    Args:
        aborts_at (`int`, *optional*): the code that ends the process.
        hangs_at (`int`, *optional*): the code that it gives no answer to.
        fails_at (`int`, *optional*): the code that it raises an error at.
        texts (`dict[int, list[str]]`, *optional*): of codes; others then show none.
    """

    def __init__(
        self,
        aborts_at: int | None = None,
        hangs_at: int | None = None,
        fails_at: int | None = None,
        texts: Mapping[int, Sequence[str]] | None = None,
    ):
        self.aborts_at, self.hangs_at, self.fails_at, self.texts = aborts_at, hangs_at, fails_at, texts

    def __call__(self, images: list[np.ndarray]) -> list[list[tuple]]:
        codes = list(map(read_code, images))
        if self.aborts_at in codes:
            os.abort()
        if self.hangs_at in codes:
            time.sleep(FOREVER)
        if self.fails_at in codes:
            raise ValueError("cannot read this")
        texts = [[f"code {code}"] if self.texts is None else self.texts.get(code, []) for code in codes]
        return [
            [(text, 0.9, (0.1, 0.1 + 0.2 * line, 0.9, 0.25 + 0.2 * line)) for line, text in enumerate(of_image)]
            for of_image in texts
        ]
