"""Fingerprints of what captions and features depend on, so that the cache never serves those of other settings."""

import hashlib
import json
from importlib import metadata
from typing import Any

import torch

from tcd_hf.index.cache import fingerprint
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tcd_hf.version import __version__

__all__ = ["caption_fingerprint", "feature_fingerprint"]

ENGINE_PACKAGES = {"rapidocr": "rapidocr", "doctr": "python-doctr"}  # their models come or change with the release
VOLATILE_SETTINGS = ("_name_or_path", "transformers_version", "name_or_path")  # where a thing came from, not what it is


def caption_fingerprint(captioner: WindowOCRCaptioner) -> str:
    """Of the captioner's settings and version, and its OCR engine: name and release, or state if it is an object."""
    settings = dict(vars(captioner))
    engine = settings.pop("engine")
    if engine is None or isinstance(engine, str):
        settings["engine"] = engine
        settings["engine_release"] = metadata.version(ENGINE_PACKAGES[engine]) if engine in ENGINE_PACKAGES else None
    else:
        from datasets.fingerprint import Hasher  # as in datasets.map: equal state, equal hash

        settings["engine"] = Hasher.hash(engine)
    return fingerprint(settings)


def feature_fingerprint(model: TCDModel, processor: TCDProcessor) -> str:
    """Of all that features are made by: captions, settings, image processor, tokenizer, weights, our release."""
    return fingerprint(
        {
            "captions": caption_fingerprint(processor.captioner),
            "config": _stable(model.config.to_dict()),
            "image_processor": _stable(processor.image_processor.to_dict()),
            "tokenizer": _digest(_tokenizer_bytes(processor.tokenizer)),
            "max_length": processor.max_length or processor.tokenizer.model_max_length,
            "release": __version__,
            "weights": hash_weights(model),
        }
    )


def hash_weights(model: torch.nn.Module) -> str:
    """Hexadecimal digest of a model's parameters and buffers: names, shapes, dtypes and values."""
    digest = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _stable(settings: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in VOLATILE_SETTINGS}, default=str))


def _tokenizer_bytes(tokenizer: Any) -> bytes:
    if hasattr(tokenizer, "backend_tokenizer"):  # every fast tokenizer; the vocabulary alone is the next best thing
        return tokenizer.backend_tokenizer.to_str().encode()
    return json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
