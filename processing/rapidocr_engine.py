"""The built-in OCR engine: the PP-OCR models of the package `rapidocr`, in a pipeline of our own made for videos.

An image by itself is looked at in full size. Of the frames of a video, read one after the other, some are: the first of
each scene and each n-th. The others are looked at in a smaller size, which costs a third and finds other texts;
what was read before and stands there unchanged is not read again; and where the last frame showed no text, a small
look says where there may be some now, and only if some is read there, the frame is looked at.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np

from .denormals import denormals_are_zero, flush_in_threads
from .frame_skipping import Stretch, frame_by_frame
from .int8_detector import int8_detector
from .ocr_languages import checked_lang, file_digest, recogniser_params
from .ocr_models import (
    cached_model,
    checked_num_threads,
    default_num_threads,
    import_engine,
    missing_weights,
    model_file,
)
from .ocr_runtimes import INT8, checked_runtime, multiplies_int8, runtime_params
from .standing_text import StandingPicture
from .text_detection import UNSURE, Boxes, TextDetector, reading_size
from .text_glances import CLOSE, Place, likely_places, part_around
from .text_readings import TextReading
from .text_recognition import Reading, TextRecogniser
from .unchanged_boxes import ReadBoxes, bounds
from .unreadable_scripts import UnreadableScripts

__all__ = ["RapidOCREngine", "RapidOCRModels", "VideoTextReader"]

logger = logging.getLogger(__name__)

LIKELY_TEXT = 0.5  # confidence of a reading from which the next frame is looked at closely at once
STANDING_TEXT = 0.7  # the same of a reading in the mean of many frames
UNSURE_BOX = 0.9  # the same of a reading in a box that the detector is not sure of
TEXT_IN_PLACE = 0.6  # the same of a reading in a place that a small look shows: many read as a letter or two
PLACES = 2  # at most, that are looked at in a frame before it is left
MUCH = 0.5  # share of a frame above which there is no use in looking at places of it first
# Where sizes take turns, small frames are enlarged so much at most: enlarged further, they show no more text.
ENLARGED, ENLARGED_SIDE = 1.5, 960  # times, or to so many pixels on the longer side if that is more
TILTED = np.tan(np.radians(5.0))


class RapidOCREngine:
    """PP-OCR models (package `rapidocr`), offline from the wheel, run by onnxruntime or OpenVINO.

    Args:
        limit_side_len (`int`, *optional*, defaults to 1280):
            Longer side, in pixels, at which text is looked for in full size. Larger images are reduced for that alone:
            recognition reads crops of the image as given.
        enlarge (`bool`, *optional*, defaults to `True`):
            Whether smaller images are enlarged to the sizes: text a few pixels high is found no other way.
        num_threads (`int`, *optional*):
            Threads of the runtime. `default_num_threads()` of the process that reads, when not given.
        params (`dict[str, Any]`, *optional*):
            Further parameters of `rapidocr.RapidOCR(params=...)` that say which models are used and how boxes and
            characters come of their outputs, such as `{"Rec.model_path": "/models/rec.onnx"}`.
        between_side_len (`int`, *optional*, defaults to 736):
            In a video, longer side in pixels at which text is looked for between two looks in full size, which then
            enlarge small frames less. `None`: all frames are looked at in full size.
        full_size_every (`int`, *optional*, defaults to 3):
            In a video, each so many-th frame that is read is looked at in full size, as is the first of each scene.
        look_side_len (`int`, *optional*, defaults to 480):
            In a video, longer side in pixels of the small look by which frames without text are left early. `None`:
            none is.
        box_threshold (`float`, *optional*, defaults to 0.4):
            How sure the detector must be of a box, 0-1. What is no text gets a low confidence when it is read. In a
            frame that is looked at closely, a box counts from three quarters of it on if the recogniser is sure of what
            it reads there, by .9.
        reuse_unchanged (`bool`, *optional*, defaults to `True`):
            In a video, whether boxes that show what was surely read there before are not read again.
        lang (`str`, *optional*):
            Another recogniser than the shipped one, which reads Latin, Greek, Chinese and Japanese: a name of
            `LANGUAGES` such as `"korean"`, fetched at first use, or the path of an ONNX file.
        runtime (`str`, *optional*):
            `"onnxruntime"`, in float32, when not given. `"onnxruntime-int8"` (extra `[int8]`, for processors with VNNI)
            has the detector alone in int8, made at first use. `"openvino"` (extra `[openvino]`) computes in bfloat16
            where the processor can. Both take less time, and find other texts.
    """

    name = "rapidocr"

    def __init__(
        self,
        limit_side_len: int = 1280,
        enlarge: bool = True,
        num_threads: int | None = None,
        params: dict[str, Any] | None = None,
        between_side_len: int | None = 736,
        full_size_every: int = 3,
        look_side_len: int | None = 480,
        box_threshold: float = 0.4,
        reuse_unchanged: bool = True,
        runtime: str | None = None,
        lang: str | os.PathLike | None = None,
    ):
        self.limit_side_len = _checked_side("limit_side_len", limit_side_len)
        self.enlarge = enlarge
        self.num_threads = checked_num_threads(num_threads)
        self.params = dict(params or {})
        self.between_side_len = (
            None if between_side_len is None else _checked_side("between_side_len", between_side_len)
        )
        if isinstance(full_size_every, bool) or not isinstance(full_size_every, int) or full_size_every < 1:
            raise ValueError(f"full_size_every must be an int of at least 1, got {full_size_every!r}.")
        self.full_size_every = full_size_every
        self.look_side_len = None if look_side_len is None else _checked_side("look_side_len", look_side_len)
        if not isinstance(box_threshold, int | float) or not 0 <= box_threshold <= 1:
            raise ValueError(f"box_threshold must be in [0, 1], got {box_threshold!r}.")
        self.box_threshold = box_threshold
        self.reuse_unchanged = reuse_unchanged
        self.runtime = checked_runtime(runtime)
        self.lang = checked_lang(lang)

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]:
        """Reads images that have nothing to do with each other, each in full size."""
        models = self.models()
        readings = []
        with models.in_use():
            for image in images:
                boxes = models.detector.find(image, reading_size(image.shape, self.limit_side_len, self.enlarge))
                read = models.recogniser.read(image, list(boxes.quads))
                readings.append(as_text_readings(list(compress(read, _agreed(read, boxes))), image))
        return readings

    def video_reader(self, min_text_height: float = 0.0) -> Callable[[Sequence[Stretch]], list[list[TextReading]]]:
        """What reads the frames of one segment of a video, one after the other.

        Args:
            min_text_height (`float`, *optional*, defaults to 0.0):
                Boxes lower than this, relative to the height of the frame, are not read.
        """
        if type(self).__call__ is not RapidOCREngine.__call__:  # of a class of the user's, which reads in its own way
            return frame_by_frame(self)
        return VideoTextReader(self, min_text_height)

    def models(self) -> "RapidOCRModels":
        """The models of these options, loaded once per process."""
        threads, runtime = self.num_threads or default_num_threads(), self.runtime
        settings = json.dumps([self.box_threshold, self.lang, self.params], sort_keys=True, default=str)
        return cached_model((self.name, threads, runtime, settings), lambda: self._build(threads, runtime))

    def _build(self, threads: int, runtime: str) -> "RapidOCRModels":
        rapidocr = import_engine("rapidocr", "rapidocr", "pip install rapidocr onnxruntime")
        if runtime == "openvino":
            import_engine("rapidocr with runtime='openvino'", "openvino", 'pip install "tcd-hf[openvino]"')
        params = {
            "Global.log_level": "critical",
            **runtime_params(runtime, threads),
            **recogniser_params(self.lang),
            **self.params,
        }
        threshold = float(params.get("Det.box_thresh", self.box_threshold))
        params["Det.box_thresh"] = UNSURE * threshold
        asked = "the ONNX files that `params` and `lang` ask for"
        with missing_weights(self.name, asked):
            model = rapidocr.RapidOCR(params=params)
            shipped = model_file(model.cfg.Det, model.cfg.Global.model_root_dir) if runtime == INT8 else None
        if shipped is not None:
            if not multiplies_int8():
                logger.warning("runtime=%r without VNNI, as far as is known: it may be slower and less exact", INT8)
            model.cfg.Det.model_path = str(int8_detector(shipped))
        with missing_weights(self.name, asked):
            # models load at their first use: one blank image per model makes a missing file show here
            model(np.zeros((64, 64, 3), np.uint8), use_det=True, use_cls=False, use_rec=False)
            model.recognize_txt([np.zeros((48, 96, 3), np.uint8)])
            model(np.zeros((48, 192, 3), np.uint8), use_det=False, use_cls=True, use_rec=False)
            flush_in_threads(model.text_det.session, model_file(model.cfg.Det, model.cfg.Global.model_root_dir))
        is_unreadable = UnreadableScripts(model.text_rec.postprocess_op.character, file_digest(model.text_rec))
        recogniser = TextRecogniser(model.text_rec, model.text_cls, is_unreadable)
        return RapidOCRModels(TextDetector(model.text_det, threshold), recogniser)


class RapidOCRModels:
    """A detector, a recogniser, and the lock under which they are used: runtimes keep state of what they compute."""

    def __init__(self, detector: TextDetector, recogniser: TextRecogniser):
        self.detector = detector
        self.recogniser = recogniser
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """For one thread at a time, in which numbers that are next to nothing take no longer than others."""
        with self.lock, denormals_are_zero():
            yield


class VideoTextReader:
    """Reads the frames of one segment of a video, in order; see `RapidOCREngine.video_reader`."""

    def __init__(self, engine: RapidOCREngine, min_text_height: float):
        self.engine = engine
        self.min_text_height = min_text_height
        self.full_size_in = 0  # so many frames are looked at closely before the next one in full size
        self.saw_text = False  # in the last frame
        side = engine.look_side_len
        self.glance_side = None if side is None or side >= engine.limit_side_len else side
        self.known = ReadBoxes()
        self.standing = StandingPicture()
        self.standing_texts: list[tuple[TextReading, list[int]]] = []

    def __call__(self, stretches: Sequence[Stretch]) -> list[list[TextReading]]:
        """The readings of each frame. Each call goes on where the last one ended."""
        models = self.engine.models()
        with models.in_use():
            return [as_text_readings(self._read(models, stretch), stretch.frame) for stretch in stretches]

    def read_standing(self) -> list[tuple[TextReading, list[int]]]:
        """What stands still through the frames so far and was read in none of them: in their mean. With each text come
        the numbers of the frames that show it, from 0."""
        models = self.engine.models()
        with models.in_use():
            self._look_at_mean(models)
        return self.standing_texts

    def _look_at_mean(self, models: "RapidOCRModels") -> None:
        """Reads the mean of the frames since it was looked at last."""
        if (picture := self.standing.mean()) is not None:
            boxes = self._high(models.detector.find(picture, self._size(picture, False)), picture)
            quads = [quad for quad in boxes.quads[boxes.are_sure] if self.standing.may_show_more(quad)]
            readings = models.recogniser.read(picture, quads) if quads else []
            for reading in readings:
                if reading.text.strip() and reading.confidence >= STANDING_TEXT:
                    frames = self.standing.frames_with(reading.quad, reading.text)
                    self.standing_texts += [(text, frames) for text in as_text_readings([reading], picture) if frames]
        self.standing.begin_anew()

    def _read(self, models: "RapidOCRModels", stretch: Stretch) -> list[Reading]:
        if stretch.after_cut:
            self.full_size_in, self.saw_text = 0, False
        image, readings = stretch.frame, []
        was_text = self.saw_text
        side = None if was_text else self.glance_side
        if side is None or self._shows_text(models, image, side):
            in_full_size = self.full_size_in == 0
            self.full_size_in = self.engine.full_size_every - 1 if in_full_size else self.full_size_in - 1
            boxes = models.detector.find(image, self._size(image, in_full_size))
            if side is not None and in_full_size and not boxes.are_sure.any():  # small text alone is missed there
                boxes = models.detector.find(image, self._size(image, False))
            readings = self._read_boxes(models.recogniser, image, self._high(boxes, image), in_full_size)
            if was_text and not _likely(readings):  # it is gone, or missed in this size
                readings = self._look_again(models, image, self._size(image, in_full_size)) or readings
        likely = _likely(readings)
        self.saw_text = bool(likely)
        if self.standing.is_full:
            self._look_at_mean(models)
        self.standing.add(image, [(reading.quad, reading.text) for reading in likely], stretch.after_cut)
        if self.engine.reuse_unchanged:
            self.known.keep(readings)
        return readings

    def _look_again(self, models: "RapidOCRModels", image: np.ndarray, looked_at: tuple[int, int]) -> list[Reading]:
        """What is read in the largest size, if that is another than the one that was looked at."""
        largest = reading_size(image.shape, self.engine.limit_side_len, self.engine.enlarge)
        if largest == looked_at:
            return []
        self.full_size_in = self.engine.full_size_every - 1
        boxes = self._high(models.detector.find(image, largest), image)
        return self._read_boxes(models.recogniser, image, boxes, True)

    def _shows_text(self, models: "RapidOCRModels", image: np.ndarray, side: int) -> bool:
        """Whether a small look shows places that may be text, and text is read in one of them."""
        glance = models.detector.probabilities(image, reading_size(image.shape, side, self.engine.enlarge))
        places = likely_places(glance[0, 0])
        if sum(place.area for place in places) > MUCH:
            return True
        return any(self._is_text(models, image, place) for place in places[:PLACES])

    def _is_text(self, models: "RapidOCRModels", image: np.ndarray, place: Place) -> bool:
        """Whether text is read in a place, as the smaller size shows it or, around its peak, as the full one does."""
        for in_full_size in (False, True):
            scale = max(self._size(image, in_full_size)) / max(image.shape[:2])
            (rows, columns), size = part_around(place, image.shape, scale, limit=CLOSE if in_full_size else None)
            part = image[rows, columns]
            boxes = self._high(models.detector.find(part, size), image)
            quads = list(boxes.quads[boxes.are_sure])
            readings = models.recogniser.read(part, quads) if quads else []
            if any(reading.text.strip() and reading.confidence >= TEXT_IN_PLACE for reading in readings):
                return True
        return False

    def _high(self, boxes: Boxes, image: np.ndarray) -> Boxes:
        """The boxes that are high enough to be read."""
        return boxes.only(np.ptp(boxes.quads[..., 1], axis=1) >= self.min_text_height * image.shape[0])

    def _size(self, image: np.ndarray, in_full_size: bool) -> tuple[int, int]:
        """Height and width at which text is looked for, pixels."""
        full, between = self.engine.limit_side_len, self.engine.between_side_len
        if between is None:
            side = full
        elif in_full_size:
            side = min(full, max(ENLARGED_SIDE, round(ENLARGED * max(image.shape[:2]))))
        else:
            side = min(full, between)
        return reading_size(image.shape, side, self.engine.enlarge)

    def _read_boxes(
        self, recogniser: TextRecogniser, image: np.ndarray, boxes: Boxes, in_full_size: bool
    ) -> list[Reading]:
        quads = list(boxes.quads)
        if self.engine.reuse_unchanged:
            self.known.look(image)
        readings = [self.known.recall(quad) for quad in quads]
        new = iter(recogniser.read(image, [quad for quad, known in zip(quads, readings, strict=True) if known is None]))
        readings = [known if known is not None else next(new) for known in readings]
        agreed = _agreed(readings, boxes)
        readings = list(compress(readings, agreed))
        if not in_full_size:  # what only a look in full size finds is still there
            readings += self.known.beside(list(boxes.quads[agreed]))
        return [reading for reading in readings if reading.text.strip()]


def _agreed(readings: Sequence[Reading], boxes: Boxes) -> np.ndarray:
    """Whether the detector or the recogniser is sure of each box: `(num_boxes,)` bool."""
    confidences = np.array([reading.confidence for reading in readings])
    return boxes.are_sure | (confidences >= UNSURE_BOX)


def _likely(readings: Sequence[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.confidence >= LIKELY_TEXT]


def as_text_readings(readings: list[Reading], image: np.ndarray) -> list[TextReading]:
    """Readings in pixels of an image, `(height, width, 3)`, as readings relative to it; empty ones are left out."""
    size = np.array(image.shape[1::-1], np.float32)
    found = []
    for reading in readings:
        if reading.text.strip():
            corners = np.clip(reading.quad / size, 0, 1)
            x0, y0, x1, y1 = bounds(corners).tolist()
            right, down = reading.quad[1] - reading.quad[0]
            level = right > 0 and abs(down) <= TILTED * right
            points = None if level else tuple((x, y) for x, y in corners.tolist())
            found.append(TextReading(reading.text, float(reading.confidence), (x0, y0, x1, y1), points))
    return found


def _checked_side(name: str, side: int) -> int:
    if isinstance(side, bool) or not isinstance(side, int) or side < 32:
        raise ValueError(f"{name} must be an int of at least 32 pixels, got {side!r}.")
    return side
