"""OCR engines behind one small protocol: a list of images in, a list of text readings per image out.

`"rapidocr"` is the default: its weights lie inside its wheel, so it works offline. `"doctr"` is the other one built in.
Any callable of yours with the same shape works too. Engine objects hold options only; the models behind them are
cached per process at module level, so that engines can be copied, pickled, forked and hashed at no cost.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import textwrap
import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from .heartbeat import long_work

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

MAX_DEFAULT_THREADS = 8  # the text detector gains next to nothing from more

_models: dict[tuple, Any] = {}


class OCREngineError(RuntimeError):
    """A weight file of an OCR engine is missing or broken. The message names it and the engine that works offline."""


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


class OCREngine(Protocol):
    """Reads RGB uint8 images of shape `(height, width, 3)`; one list of readings per image comes back."""

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]: ...


def normalize_text(text: str) -> str:
    """NFKC-normalised `text` with every run of whitespace made one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def default_num_threads() -> int:
    """Threads an engine takes when the user does not say: a share of the machine, not the machine.

    `OMP_NUM_THREADS` where it is set; one inside a worker of a pool or data loader (there, as in
    `datasets.map(num_proc=...)`, the workers fill the cores); else the usable cores divided by the processes that
    `torchrun`/`accelerate` started on this machine (`LOCAL_WORLD_SIZE`), at most 8.
    """
    from_environment = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if from_environment.isdigit() and int(from_environment) > 0:
        return int(from_environment)
    if is_pool_worker():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    world_size = os.environ.get("LOCAL_WORLD_SIZE", "1")
    processes = int(world_size) if world_size.isdigit() and int(world_size) > 0 else 1
    return max(1, min(cores // processes, MAX_DEFAULT_THREADS))


def is_pool_worker() -> bool:
    """Whether this process was started by `multiprocessing`, or by datasets' kin of it."""
    # datasets runs its workers with `multiprocess`, a fork of multiprocessing with process objects of its own
    modules = (multiprocessing, sys.modules.get("multiprocess"))
    return any(module is not None and module.parent_process() is not None for module in modules)


def _cached_model(key: tuple, build: Callable[[], Any]) -> Any:
    # The process id is part of the key because the thread pool of a model does not survive a fork. What the parent
    # built stays in the dictionary, unused: destroying it in the child would wait for threads that are not there.
    key = (os.getpid(), *key)
    if key not in _models:
        with long_work():
            _models.setdefault(key, build())  # two threads may both build; all use the first one's
    return _models[key]


class RapidOCREngine:
    """PP-OCR models run by onnxruntime (package `rapidocr`), offline from the wheel.

    Args:
        limit_side_len (`int`, *optional*, defaults to 1280):
            Longer side, in pixels, at which text is detected. Larger images are reduced for detection alone:
            recognition reads crops of the image as given. 960 takes some 60 % of the time and misses small text.
        enlarge (`bool`, *optional*, defaults to `True`):
            Whether smaller images are enlarged to `limit_side_len`: text a few pixels high is found no other way.
        num_threads (`int`, *optional*):
            Threads of onnxruntime. `default_num_threads()` of the process that reads, when not given.
        params (`dict[str, Any]`, *optional*):
            Further parameters of `rapidocr.RapidOCR(params=...)`, such as `{"Rec.model_path": "/models/rec.onnx"}`.
    """

    name = "rapidocr"

    def __init__(
        self,
        limit_side_len: int = 1280,
        enlarge: bool = True,
        num_threads: int | None = None,
        params: dict[str, Any] | None = None,
    ):
        if isinstance(limit_side_len, bool) or not isinstance(limit_side_len, int) or limit_side_len < 32:
            raise ValueError(f"limit_side_len must be an int of at least 32 pixels, got {limit_side_len!r}.")
        self.limit_side_len = limit_side_len
        self.enlarge = enlarge
        self.num_threads = _checked_num_threads(num_threads)
        self.params = dict(params or {})

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]:
        model, lock = self._model()
        with lock:  # a RapidOCR object keeps state of the image it is reading
            return [self._read(model, image) for image in images]

    def _model(self):
        threads = self.num_threads or default_num_threads()
        key = (self.name, self.limit_side_len, threads, json.dumps(self.params, sort_keys=True, default=str))
        return _cached_model(key, lambda: (self._build(threads), threading.Lock()))

    def _build(self, threads: int):
        rapidocr = _import_engine("rapidocr", "rapidocr", "pip install rapidocr onnxruntime")
        params = {
            "Global.log_level": "critical",
            "Global.text_score": 0.0,  # the captioner filters by confidence, in one place for every engine
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_type": "max",  # the package's default, "min", enlarges small frames
            "Det.limit_side_len": self.limit_side_len,
            # 0.5 in the package, which misses short texts such as numbers; what is no text gets a low confidence
            "Det.box_thresh": 0.3,
            **self.params,
        }
        with _missing_weights(self.name, "the ONNX files that `params` asks for"):
            model = rapidocr.RapidOCR(params=params)
            # models load at their first use: one blank image per model makes a missing file show here
            model(np.zeros((64, 64, 3), np.uint8), use_det=True, use_cls=False, use_rec=False)
            model.recognize_txt([np.zeros((48, 96, 3), np.uint8)])
        return model

    def _read(self, model, image: np.ndarray) -> list[TextReading]:
        scale = self.limit_side_len / max(image.shape)
        if self.enlarge and scale > 1:
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        height, width = image.shape[:2]
        bgr = np.ascontiguousarray(image[..., ::-1])
        # the flags stick to the object from call to call: always pass all three
        output = model(bgr, use_det=True, use_cls=False, use_rec=True)
        if output.boxes is None or output.txts is None:
            return []
        readings = []
        for corners, text, confidence in zip(output.boxes, output.txts, output.scores, strict=True):
            x, y = corners[:, 0] / width, corners[:, 1] / height
            box = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
            readings.append(TextReading(text, float(confidence), box))
        return readings


class DoctrEngine:
    """docTR (package `python-doctr`, extra `[doctr]`); one reading per word.

    Args:
        det_arch (`str`, *optional*, defaults to `"fast_base"`): detection architecture.
        reco_arch (`str`, *optional*, defaults to `"crnn_vgg16_bn"`): recognition architecture.
        pretrained (`bool`, *optional*, defaults to `True`): docTR's weights, downloaded once; `False`: random ones.
        det_weights (`str`, *optional*): local weight file (state dict) of the detector, in place of the pretrained one.
        reco_weights (`str`, *optional*): local weight file (state dict) of the recogniser.
        num_threads (`int`, *optional*): torch threads while reading. `default_num_threads()` when not given.
        predictor (*optional*): a ready `doctr.models.OCRPredictor`; of the other options only `num_threads` counts.
    """

    name = "doctr"

    def __init__(
        self,
        det_arch: str = "fast_base",
        reco_arch: str = "crnn_vgg16_bn",
        pretrained: bool = True,
        det_weights: str | os.PathLike | None = None,
        reco_weights: str | os.PathLike | None = None,
        num_threads: int | None = None,
        predictor: Any = None,
    ):
        self.det_arch = det_arch
        self.reco_arch = reco_arch
        self.pretrained = pretrained
        self.det_weights = os.fspath(det_weights) if det_weights is not None else None
        self.reco_weights = os.fspath(reco_weights) if reco_weights is not None else None
        self.num_threads = _checked_num_threads(num_threads)
        self.predictor = predictor

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]:
        predictor = self.predictor if self.predictor is not None else self._model()
        with _torch_threads(self.num_threads or default_num_threads()):
            document = predictor([np.ascontiguousarray(image) for image in images])
        return [
            [
                TextReading(word.value, float(word.confidence), _bounding_box(word.geometry))
                for block in page.blocks
                for line in block.lines
                for word in line.words
            ]
            for page in document.pages
        ]

    def _model(self):
        key = (self.name, self.det_arch, self.reco_arch, self.pretrained, self.det_weights, self.reco_weights)
        return _cached_model(key, self._build)

    def _build(self):
        models = _import_engine("doctr", "doctr.models", 'pip install "tcd-hf[doctr]"')
        detector = self._load(models.detection, self.det_arch, self.det_weights)
        recogniser = self._load(models.recognition, self.reco_arch, self.reco_weights)
        if self.det_arch.startswith("fast_"):
            # docTR does this itself only when it is given a name: fewer operations, the same output
            detector = models.detection.fast.reparameterize(detector)
        return models.ocr_predictor(detector, recogniser, pretrained=False, pretrained_backbone=False)

    def _load(self, zoo, arch: str, weights: str | None):
        allowed = importlib.import_module(f"{zoo.__name__}.zoo").ARCHS
        if arch not in allowed:
            raise ValueError(f"{arch!r} is no docTR architecture of {zoo.__name__}; allowed: {', '.join(allowed)}.")
        build = getattr(zoo, arch)
        if weights is None and not self.pretrained:
            return build(pretrained=False, pretrained_backbone=False)
        if weights is None:
            url = sys.modules[build.__module__].default_cfgs[arch]["url"]
            # docTR prints while it downloads
            with _missing_weights(self.name, url), contextlib.redirect_stdout(sys.stderr):
                return build(pretrained=True, pretrained_backbone=False)
        with _missing_weights(self.name, weights):
            if not Path(weights).is_file():
                raise FileNotFoundError("no such file")
            model = build(pretrained=False, pretrained_backbone=False)
            model.from_pretrained(weights)
            return model


class CallableEngine:
    """A callable of yours as an engine.

    Its output, one list per image, may hold `TextReading`s or plain `(text, confidence, box)` tuples. Anything else
    raises a `TypeError` or `ValueError` that says what was returned.
    """

    name = None  # not to be had by name: a saved processor cannot bring it back

    def __init__(self, function: Callable[[list[np.ndarray]], Sequence[Sequence[Any]]]):
        self.function = function

    def __call__(self, images: list[np.ndarray]) -> list[list[TextReading]]:
        outputs = self.function(images)
        if not isinstance(outputs, Sequence) or isinstance(outputs, str):
            raise TypeError(f"The OCR engine must return a list with one list per image, got {type(outputs).__name__}.")
        if len(outputs) != len(images):
            raise ValueError(f"The OCR engine was given {len(images)} images and returned readings of {len(outputs)}.")
        return [[_as_reading(reading) for reading in readings] for readings in outputs]


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


def _bounding_box(geometry) -> tuple[float, float, float, float]:
    # two corners for straight pages, four for rotated ones
    points = np.asarray(geometry, dtype=float)[:, :2]
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _checked_num_threads(num_threads: int | None) -> int | None:
    if num_threads is not None and (not isinstance(num_threads, int) or num_threads < 1):
        raise ValueError(f"num_threads must be None or an int of at least 1, got {num_threads!r}.")
    return num_threads


def _import_engine(engine: str, module: str, install: str):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"The OCR engine {engine!r} needs a package that cannot be imported ({error}). Install it with `{install}`."
        ) from error


@contextlib.contextmanager
def _missing_weights(engine: str, file: str):
    """Turns what a library raises when weights cannot be downloaded or read into one `OCREngineError`."""
    try:
        yield
    except Exception as error:  # libraries raise OSError, RuntimeError, ValueError and exceptions of their own here
        cause = textwrap.shorten(f"{type(error).__name__}: {error}", 200)  # torch lists every key of a state dict
        raise OCREngineError(
            f"The OCR engine {engine!r} cannot load its weights, {file}: {cause}. Give it "
            'files that exist on this machine, connect it to the network once, or use the engine "rapidocr" with its '
            "default options, which works offline."
        ) from error


@contextlib.contextmanager
def _torch_threads(num_threads: int):
    torch = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
