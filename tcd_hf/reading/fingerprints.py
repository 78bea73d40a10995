"""Fingerprints of what captions and features depend on, so that none of other settings are ever served."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcd_hf.checkpoints import MINI
from tcd_hf.processing.ocr_engines import DoctrEngine, RapidOCREngine, get_engine
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tcd_hf.reading.files import absolute_path, hash_file

if TYPE_CHECKING:  # nobody waits for torch and transformers to read a caption
    from torch.nn import Module
    from transformers import PreTrainedConfig

    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = [
    "all_fingerprints",
    "caption_fingerprint",
    "fingerprint",
    "frame_fingerprint",
    "hash_weights",
    "model_fingerprint",
    "model_name",
    "tokenizer_fingerprint",
]

ENGINE_PACKAGES = {"rapidocr": "rapidocr", "doctr": "python-doctr"}  # their models come or change with the release
FIRST_SETTINGS = frozenset(  # of a captioner: they have counted from the first release on
    (
        *("engine", "engine_options", "num_windows", "window_scale", "ocr_fps"),
        *("min_confidence", "min_text_height", "max_side", "reading_interval", "version"),
    )
)
NOT_IN_FEATURES = frozenset({"search_calibration"})  # settings of a model that only a search reads


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Short digest of settings of JSON types, the same for the same settings in any order."""
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def all_fingerprints(model: "TCDModel", processor: "TCDProcessor") -> dict[str, str]:
    """What an index is made by, as the fields of its [`IndexMetadata`]."""
    return {
        "model_fingerprint": model_fingerprint(model),
        "tokenizer_fingerprint": tokenizer_fingerprint(processor),
        "caption_fingerprint": caption_fingerprint(processor.captioner),
        "frame_fingerprint": frame_fingerprint(processor),
    }


def model_name(model: "TCDModel") -> str:
    """What to load a model by: a Hub id, a folder, `"tcd-mini"` for the package's own; empty if that is unknown."""
    name = model.name_or_path or ""
    if not os.path.isdir(name):
        return name
    return MINI.name if Path(name).resolve() == MINI else absolute_path(name)


def model_fingerprint(model: "TCDModel") -> str:
    """The fingerprint of a model: its weights, their dtype included, and its configuration, but for what only a search
    reads (`search_calibration`): an index stays that of a model that is calibrated anew.

    It is the same before and after saving, in any folder, and in any release of transformers that gives new settings
    defaults which change nothing.
    """
    return fingerprint({"config": _own_settings(model.config), "weights": hash_weights(model)})


def tokenizer_fingerprint(processor: "TCDProcessor") -> str:
    """The fingerprint of what makes tokens of queries and captions."""
    tokenizer = processor.tokenizer
    later = {name: getattr(processor, name) for name in ("query_prefix", "caption_prefix", "text_padding")}
    return fingerprint(
        {
            "tokenizer": _tokenizer_state(tokenizer),
            "padding_side": tokenizer.padding_side,
            "max_length": min(processor.max_length or tokenizer.model_max_length, tokenizer.model_max_length),
            **{name: value for name, value in later.items() if value},  # those of before are as they were
        }
    )


def frame_fingerprint(processor: "TCDProcessor") -> str:
    """The fingerprint of what makes frames: their number and the image processor."""
    settings = processor.image_processor.to_dict()
    for name in ("auto_map", "processor_class"):  # set when it is saved
        settings.pop(name, None)
    settings = {name: value for name, value in settings.items() if value is not None}
    return fingerprint({"num_frames": processor.num_frames, "image_processor": _plain(settings)})


def caption_fingerprint(captioner: WindowOCRCaptioner) -> str:
    """The fingerprint of a captioner: its settings and version, and its OCR engine by name, release and options.

    An engine of your own counts by its state. A file that an option names counts by its content, so that new weights
    under an old name are noticed. Threads do not count: what they change is rounding. Nor does the default runtime, as
    others read other texts. Nor does what a later release has added, while it is at its default: what was read
    before is not read again.
    """
    added = vars(captioner).keys() - FIRST_SETTINGS
    defaults = vars(type(captioner)()) if added else {}
    settings = {
        name: value
        for name, value in vars(captioner).items()
        if name in FIRST_SETTINGS or value != defaults.get(name, value)
    }
    engine, options = settings.pop("engine"), settings.pop("engine_options")
    if engine is not None:
        built = get_engine(engine, **options)
        settings["engine"] = _engine_state(built if isinstance(built, RapidOCREngine | DoctrEngine) else engine)
    return fingerprint(settings)


def hash_weights(model: "Module") -> str:
    """Hexadecimal digest of a model's parameters and buffers: names, shapes, dtypes and values."""
    import torch

    digest = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _own_settings(config: "PreTrainedConfig") -> dict[str, Any]:
    """
    What its own class adds to the base class of configurations, where it differs from the default, in all depths; a
    field of ours that came later, where the model does not behave as all did before.
    """
    from transformers import PreTrainedConfig

    from tcd_hf.modeling.configuration_tcd import DEFAULTS_BEFORE

    before = DEFAULTS_BEFORE[1] if config.model_type == "tcd" else {}
    inherited = {field.name for field in fields(PreTrainedConfig)}  # of files and outputs, not of the model
    settings: dict[str, Any] = {"model_type": config.model_type}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in NOT_IN_FEATURES:
            continue
        if isinstance(value, PreTrainedConfig):
            settings[field.name] = _own_settings(value)
        elif field.name not in inherited and _plain(value) != _plain(before.get(field.name, field.default)):
            settings[field.name] = _plain(value)
    return settings


def _engine_state(engine: Any) -> Any:
    if not isinstance(engine, RapidOCREngine | DoctrEngine):
        return _state(engine)
    try:
        release = metadata.version(ENGINE_PACKAGES[engine.name])
    except metadata.PackageNotFoundError:  # at the first frame the engine itself says what to install
        release = None
    options = {name: _state(value) for name, value in vars(engine).items() if name != "num_threads"}
    if options.get("runtime") in (None, "onnxruntime"):
        options.pop("runtime", None)
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


def _plain(value: Any) -> Any:
    """A setting as it comes back from a JSON file: a tuple as a list, for example."""
    return json.loads(json.dumps(value, default=str))


def _tokenizer_state(tokenizer: Any) -> Any:
    if not hasattr(tokenizer, "backend_tokenizer"):  # every fast one has it; the vocabulary is the next best thing
        return tokenizer.get_vocab()
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["padding"] = state["truncation"] = None  # left over from the last call
    return state
