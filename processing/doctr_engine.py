"""docTR as an OCR engine."""

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .ocr_models import cached_model, checked_num_threads, default_num_threads, import_engine, missing_weights
from .text_readings import TextReading

__all__ = ["DoctrEngine"]


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
        self.num_threads = checked_num_threads(num_threads)
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
        return cached_model(key, self._build)

    def _build(self):
        models = import_engine("doctr", "doctr.models", 'pip install "tcd-hf[doctr]"')
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
            with missing_weights(self.name, url), contextlib.redirect_stdout(sys.stderr):
                return build(pretrained=True, pretrained_backbone=False)
        with missing_weights(self.name, weights):
            if not Path(weights).is_file():
                raise FileNotFoundError("no such file")
            model = build(pretrained=False, pretrained_backbone=False)
            model.from_pretrained(weights)
            return model


def _bounding_box(geometry) -> tuple[float, float, float, float]:
    # two corners for straight pages, four for rotated ones
    points = np.asarray(geometry, dtype=float)[:, :2]
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


@contextlib.contextmanager
def _torch_threads(num_threads: int):
    torch = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
