"""What was read in a clip, as it is listed beside the player: to be filtered, and kept for the clips seen last."""

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from tcd_hf.index.lexical import fold
from tcd_hf.index.transcript import transcript
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.text_files import Cue

__all__ = ["Transcript", "Transcripts"]

KEPT = 16  # clips; an hour full of text takes two megabytes, and a third of a second to make


class Transcript(NamedTuple):
    """The texts of a clip in the order of time, and each folded."""

    cues: Sequence[Cue]
    folded: Sequence[str]

    def filter(self, text: str) -> Sequence[Cue]:
        """The cues that hold a text somewhere, compared without case, accents and signs; all for an empty one."""
        wanted = fold(text)
        return [cue for cue, folded in zip(self.cues, self.folded, strict=True) if wanted in folded]


class Transcripts:
    """Makes the transcripts of clips. May be called from any thread; of several who ask for one, one waits for another.

    Args:
        read (`Callable[[str], Sequence[WindowCaption]]`): gives the captions of a clip, by its path.
    """

    def __init__(self, read: Callable[[str], Sequence[WindowCaption]]):
        self._read = read
        self._one_at_a_time = threading.Lock()
        self._kept = lru_cache(KEPT)(self._make)

    def get(self, path: str, version: int) -> Transcript:
        """The transcript of the clip at a path, as it is in a version of the index."""
        with self._one_at_a_time:
            return self._kept(path, version)

    def _make(self, path: str, version: int) -> Transcript:
        cues = transcript(self._read(path))
        return Transcript(cues, [fold(cue.text) for cue in cues])
