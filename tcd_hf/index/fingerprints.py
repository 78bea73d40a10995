"""Fingerprints of what captions and features depend on, so that none of other settings are ever served."""

import hashlib
import json
import os
from importlib import metadata
from typing import Any

import torch

from tcd_hf.index.cache import fingerprint, hash_file
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.ocr_engines import DoctrEngine, RapidOCREngine, get_engine
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.window_ocr import WindowOCRCaptioner

__all__ = ["caption_fingerprint", "hash_weights", "model_fingerprint", "processor_fingerprint"]

ENGINE_PACKAGES = {"rapidocr": "rapidocr", "doctr": "python-doctr"}  # their models come or change with the release
VOLATILE_SETTINGS = ("_name_or_path", "transformers_version", "name_or_path")  # where a thing came from, not what it is


def caption_fingerprint(captioner: WindowOCRCaptioner) -> str:
    """Of the captioner's settings and version, and its OCR engine: name, release and options, or state if it is yours.

    A file that an option names counts by its content, so that new weights under an old name are noticed. Threads do not
    count: they change no reading.
    """
    settings = dict(vars(captioner))
    engine, options = settings.pop("engine"), settings.pop("engine_options")
    if engine is not None:
        built = get_engine(engine, **options)
        settings["engine"] = _engine_state(built if isinstance(built, RapidOCREngine | DoctrEngine) else engine)
    return fingerprint(settings)


def model_fingerprint(model: TCDModel) -> str:
    """Of a model's configuration and weights, their dtype included."""
    return fingerprint({"config": _stable(model.config.to_dict()), "weights": hash_weights(model)})


def processor_fingerprint(processor: TCDProcessor) -> str:
    """Of what makes frames, captions and tokens: the captioner, the image processor and the tokenizer."""
    return fingerprint(
        {
            "captions": caption_fingerprint(processor.captioner),
            "image_processor": _stable(processor.image_processor.to_dict()),
            "tokenizer": _digest(_tokenizer_bytes(processor.tokenizer)),
            "max_length": processor.max_length or processor.tokenizer.model_max_length,
        }
    )


def hash_weights(model: torch.nn.Module) -> str:
    """Hexadecimal digest of a model's parameters and buffers: names, shapes, dtypes and values."""
    digest = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _engine_state(engine: Any) -> Any:
    if not isinstance(engine, RapidOCREngine | DoctrEngine):
        return _state(engine)
    try:
        release = metadata.version(ENGINE_PACKAGES[engine.name])
    except metadata.PackageNotFoundError:  # at the first frame the engine itself says what to install
        release = None
    options = {name: _state(value) for name, value in vars(engine).items() if name != "num_threads"}
    return {"name": engine.name, "release": release, "options": options}


def _state(value: Any) -> Any:
    """A value as plain JSON types, a file by its content."""
    if isinstance(value, dict):
        return {str(name): _state(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_state(item) for item in value]
    if isinstance(value, str | os.PathLike):
        return {"file": hash_file(value)} if os.path.isfile(value) else os.fspath(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    from datasets.fingerprint import Hasher  # as in datasets.map: equal state, equal hash

    return Hasher.hash(value)


def _stable(settings: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in VOLATILE_SETTINGS}, default=str))


def _tokenizer_bytes(tokenizer: Any) -> bytes:
    if hasattr(tokenizer, "backend_tokenizer"):  # every fast tokenizer; the vocabulary alone is the next best thing
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        state["padding"] = state["truncation"] = None  # left over from the last call
        return json.dumps(state, sort_keys=True).encode()
    return json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
