"""OCR engines behind one small protocol: a list of images in, a list of text readings per image out.

`"rapidocr"` is the default: its weights lie inside its wheel, so it works offline. `"doctr"` is the other one built in.
Any callable of yours with the same shape works too. Engine objects hold options only; the models behind them are
cached per process at module level, so that engines can be copied, pickled, forked and hashed at no cost.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .doctr_engine import DoctrEngine
from .frame_skipping import Stretch, frame_by_frame
from .ocr_models import OCREngineError, default_num_threads, is_pool_worker
from .rapidocr_engine import RapidOCREngine
from .text_readings import TextReading, normalize_text

__all__ = [
    "CallableEngine",
    "DoctrEngine",
    "OCREngine",
    "OCREngineError",
    "RapidOCREngine",
    "TextReading",
    "default_num_threads",
    "get_engine",
    "is_pool_worker",
    "normalize_text",
]


class OCREngine(Protocol):
    """Reads RGB uint8 images of shape `(height, width, 3)`; one list of readings per image comes back.

    An engine may also have `video_reader(min_text_height)`. Then each segment of a video is read by a reader of its
    own, which is given the frames in order and may use what it saw before: a callable that takes a list of `Stretch`es
    and returns as many lists of readings. Texts lower than `min_text_height`, relative to the frame, are not asked for.
    A reader may have `read_standing()`, which is asked for when all frames are read: for what they show only together,
    pairs of a `TextReading` and the numbers, from 0, of the frames that it is added to.
    """

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]: ...


class CallableEngine:
    """A callable of yours as an engine.

    Its output, one list per image, may hold `TextReading`s or plain `(text, confidence, box)` tuples. Anything else
    raises a `TypeError` or `ValueError` that says what was returned.
    """

    name = None  # not to be had by name: a saved processor cannot bring it back

    def __init__(self, function: Callable[[list[np.ndarray]], Sequence[Sequence[Any]]]):
        self.function = function

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]:
        return _checked_outputs(self.function(images), len(images))

    def video_reader(self, min_text_height: float = 0.0) -> Callable[[Sequence[Stretch]], list[list[TextReading]]]:
        """The callable's own reader of a video where it has one; else each frame is read by itself."""
        if not hasattr(self.function, "video_reader"):
            return frame_by_frame(self)
        return _CheckedReader(self.function.video_reader(min_text_height))


class _CheckedReader:
    """A video's reader of yours."""

    def __init__(self, reader: Any):
        self._reader = reader
        if hasattr(reader, "read_standing"):
            self.read_standing = reader.read_standing

    def __call__(self, stretches: Sequence[Stretch]) -> list[list[TextReading]]:
        return _checked_outputs(self._reader(stretches), len(stretches))


def get_engine(engine: str | OCREngine | Callable, **options) -> OCREngine:
    """The OCR engine behind a name or an object.

    Args:
        engine: `"rapidocr"`, `"doctr"`, a ready docTR predictor, or a callable that follows `OCREngine`.
        **options: options of `RapidOCREngine` or `DoctrEngine`; none are allowed with an object.

    Raises:
        ValueError: unknown name, unknown option, or options given with an object.
        TypeError: `engine` is neither a name nor callable.
    """
    engines = {RapidOCREngine.name: RapidOCREngine, DoctrEngine.name: DoctrEngine}
    if isinstance(engine, str):
        if engine not in engines:
            names = ", ".join(repr(name) for name in engines)
            raise ValueError(
                f"Unknown OCR engine {engine!r}. Allowed: {names}, or a callable of yours. If a processor was "
                "saved with an engine object of this class, give it again: `from_pretrained(..., ocr_engine=...)`."
            )
        try:
            return engines[engine](**options)
        except TypeError as error:
            raise ValueError(f"Wrong options for the OCR engine {engine!r}, {options!r}: {error}.") from error
    if not callable(engine):
        raise TypeError(f"An OCR engine is a name or a callable, got {type(engine).__name__}.")
    if options:
        raise ValueError(f"Engine options go with an engine's name; got {options!r} together with an object.")
    if isinstance(engine, RapidOCREngine | DoctrEngine | CallableEngine):
        return engine
    if type(engine).__module__.startswith("doctr."):
        return DoctrEngine(predictor=engine)
    return CallableEngine(engine)


def _checked_outputs(outputs: Any, count: int) -> list[list[TextReading]]:
    if not isinstance(outputs, Sequence) or isinstance(outputs, str):
        raise TypeError(f"The OCR engine must return a list with one list per image, got {type(outputs).__name__}.")
    if len(outputs) != count:
        raise ValueError(f"The OCR engine was given {count} images and returned readings of {len(outputs)}.")
    return [[_as_reading(reading) for reading in readings] for readings in outputs]


def _as_reading(reading: Any) -> TextReading:
    if not isinstance(reading, TextReading):
        try:
            text, confidence, box = reading
        except (TypeError, ValueError):
            raise TypeError(
                f"An OCR engine returns TextReadings or (text, confidence, (x0, y0, x1, y1)) tuples, got {reading!r}."
            ) from None
        numbers: Any = tuple(float(value) for value in box)
        reading = TextReading(text, float(confidence), numbers)
    if not isinstance(reading.text, str) or len(reading.box) != 4:
        raise TypeError(f"A reading needs a text and a box of four numbers (x0, y0, x1, y1), got {reading!r}.")
    return reading
