"""The text detector in int8: made from the shipped one where it is first asked for, and kept (ours).

Static quantisation by onnxruntime: weights in int8, a scale for each channel; activations in uint8, between the least
and the largest value they take on generated frames. The two layers that bring the map back to full size stay in
float32. Processors with VNNI multiply such numbers four at a time; others lose exactness, and gain nothing.
"""

import hashlib
import importlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .ocr_models import OCREngineError, cache_folder, import_engine
from .text_detection import fill_planes

__all__ = ["calibration_frames", "int8_detector"]

logger = logging.getLogger(__name__)

RECIPE = 1  # part of the file's name: a change of what follows makes another file
OPSET = 17  # the shipped file's, 11, knows no scales for each channel
QUANTISED = ("Conv", "Add", "Mul", "Relu", "Resize", "Concat", "MaxPool", "GlobalAveragePool")
NUM_FRAMES, FRAME_SIZE = 24, (736, 416)  # width and height, pixels
WORDS = (
    "OPEN CAFE Exit 24 North Sale today 12:30 Platform 9 Breaking news the quick brown fox jumps over a lazy dog "
    "3.14 Total $45.00 Welcome to GOAL 2-1 www.example.org"
)


def int8_detector(detector: str | os.PathLike, folder: str | os.PathLike | None = None) -> Path:
    """The ONNX file of a detector in int8, made where it is not there yet, which takes seconds.

    Args:
        detector (`str | os.PathLike`): the ONNX file in float32.
        folder (`str | os.PathLike`, *optional*):
            Where it is kept: `detectors` in the folder of `TCD_HF_CACHE`, else in the user's cache folder for tcd-hf.

    Raises:
        ImportError: the package `onnx` is not installed.
        OCREngineError: it cannot be kept there.
    """
    detector = Path(detector)
    folder = cache_folder("detectors") if folder is None else Path(folder)
    digest = hashlib.sha256(detector.read_bytes()).hexdigest()[:12]
    path = folder / f"{detector.stem}-int8-{digest}-{RECIPE}.onnx"
    if not path.is_file():
        logger.warning("Making the text detector in int8 once: %s", path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _make(detector, path)
        except OSError as error:
            raise OCREngineError(
                f"The text detector in int8 cannot be kept in {folder}: {error}. Free some space there, name another "
                'folder by TCD_HF_CACHE, or choose runtime="onnxruntime".'
            ) from error
    return path


def _make(detector: Path, path: Path) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        _quantise(detector, partial)
        partial.replace(path)  # whole or not at all: several processes may make it at once
    finally:
        partial.unlink(missing_ok=True)


def calibration_frames(count: int = NUM_FRAMES, seed: int = 0) -> Iterator[np.ndarray]:
    """Frames, `(416, 736, 3)` RGB uint8: up to 24 texts, 10 to 160 pixels high, on plain, painted and noisy grounds."""
    rng = np.random.default_rng(seed)
    words = WORDS.split()
    for _ in range(count):
        image = _ground(rng)
        draw = ImageDraw.Draw(image)
        for _ in range(rng.integers(0, 25)):
            text = " ".join(rng.choice(words, rng.integers(1, 6)))
            font = ImageFont.load_default(int(np.exp(rng.uniform(np.log(10), np.log(160)))))
            place: tuple[float, float] = int(rng.integers(0, image.width)), int(rng.integers(0, image.height))
            draw.text(place, text, fill=tuple(rng.integers(0, 256, 3).tolist()), font=font, anchor="mm")
        yield np.asarray(image)


def _ground(rng: np.random.Generator) -> Image.Image:
    width, height = FRAME_SIZE
    kinds = [(1, 1), (int(rng.integers(2, 12)), int(rng.integers(2, 16))), (height // 4, width // 4)]
    cells = kinds[rng.integers(len(kinds))]
    small = Image.fromarray(rng.integers(0, 256, (*cells, 3)).astype(np.uint8))
    return small.resize(FRAME_SIZE, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(int(rng.integers(0, 4))))


def _quantise(detector: Path, target: Path) -> None:
    onnx = import_engine("rapidocr with runtime='onnxruntime-int8'", "onnx", 'pip install "tcd-hf[int8]"')
    quantization = importlib.import_module("onnxruntime.quantization")
    prepare = importlib.import_module("onnxruntime.quantization.shape_inference").quant_pre_process
    convert = importlib.import_module("onnx.version_converter").convert_version
    model = onnx.load(detector)
    if model.opset_import[0].version < OPSET:
        model = convert(model, OPSET)
    (image,) = model.graph.input

    class Frames(quantization.CalibrationDataReader):
        def __init__(self):
            self.frames = calibration_frames()

        def get_next(self) -> dict[str, np.ndarray] | None:
            frame = next(self.frames, None)
            if frame is None:
                return None
            batch = np.empty((1, 3, *frame.shape[:2]), np.float32)
            fill_planes(batch[0], frame)
            return {image.name: batch}

    with tempfile.TemporaryDirectory() as folder:
        converted, prepared = (os.path.join(folder, name) for name in ("converted.onnx", "prepared.onnx"))
        onnx.save(model, converted)
        prepare(converted, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            Frames(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
