"""
Models and their processors by a name: all that loads one comes here.

A name is `"tcd-mini"`, for the checkpoint inside the package; a folder; or a Hub id. It stands for a TCD checkpoint, or
for a dual encoder that a new model is built on.

Whoever made a checkpoint, or an index that names one, may be anybody. So both are read as data only: classes are those
of transformers and of this package, whatever `auto_map` says; weights are safetensors, or pickles read by
`weights_only`; and nobody is asked whether code may be run.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import CONFIG_MAPPING, AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file
from transformers.utils.import_utils import is_peft_available

from tcd_hf.checkpoints import MINI
from tcd_hf.hub import WEIGHT_FILES, ask_hub, pinned, split_revision
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.modeling.pretrained import check_overrides
from tcd_hf.processing.ocr_languages import LANGUAGES
from tcd_hf.processing.ocr_runtimes import RUNTIMES
from tcd_hf.processing.processing_tcd import TCDProcessor, engine_at_hand

if TYPE_CHECKING:
    from tcd_hf.index.schema import IndexMetadata
    from tcd_hf.processing.ocr_engines import OCREngine

__all__ = [
    "READING_OPTIONS",
    "LoadOptions",
    "load",
    "load_checkpoint",
    "load_for_index",
    "load_processor",
    "read_as_index",
]

logger = logging.getLogger(__name__)

# Of a processor: what says how text is read.
READING_OPTIONS = (
    *("ocr_engine", "ocr_options", "ocr_preset", "ocr_fps", "reading_interval"),
    *("min_confidence", "min_text_height", "max_side", "window_scale"),
)
PROCESSOR_OPTIONS = (
    *READING_OPTIONS,
    *("num_frames", "max_length", "video_backend", "max_pixels", "query_prefix", "caption_prefix", "text_padding"),
)


class LoadOptions(TypedDict, total=False):
    """The options of [`load`], whose meaning it tells."""

    overrides: Mapping[str, Any] | None
    seed: int
    num_frames: int | None
    max_length: int | None
    ocr_engine: "str | OCREngine | Callable | None"
    device: str | torch.device | None
    dtype: str | torch.dtype | None
    device_map: Any
    revision: str | None


def load(
    name: str | os.PathLike = MINI.name,
    *,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    num_frames: int | None = None,
    max_length: int | None = None,
    ocr_engine: "str | OCREngine | Callable | None" = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    device_map: Any = None,
    revision: str | None = None,
) -> tuple[TCDModel, TCDProcessor]:
    """A model and its processor: a TCD checkpoint, or one built on a dual encoder, which is neutral at first.

    No code that a checkpoint brings is run. A Hub id that is not in the cache is downloaded, which a warning tells.

    Args:
        name (`str` or `os.PathLike`, *optional*, defaults to `"tcd-mini"`): the checkpoint inside the package; a
            folder; or a Hub id, such as `"openai/clip-vit-base-patch32"`, also with a revision,
            `"openai/clip-vit-base-patch32@3d74acf"`.
        overrides (`dict`, *optional*): fields of [`TCDConfig`] to set. Modules that a checkpoint does not have yet
            start neutral.
        seed (`int`, *optional*, defaults to 0): of the weights of new modules. Torch's own generator is left as it is.
        num_frames (`int`, *optional*): frames and windows of a segment; those of the checkpoint by default, 12 with a
            dual encoder. What a checkpoint learned for places in time is interpolated ([`TCDModel.resize_frames`]).
        max_length (`int`, *optional*): tokens of a query or caption at most; by default as many as the processor, the
            tokenizer and the text tower take.
        ocr_engine (`str`, `OCREngine` or callable, *optional*): what reads text, in place of the processor's own.
        device (`str` or `torch.device`, *optional*): such as `"cuda:1"`; `"auto"` is the GPU where there is one. The
            CPU by default.
        dtype (`str` or `torch.dtype`, *optional*): of the weights; `"auto"` is the one that they are saved in, which is
            also the default, but on a CPU: there it is float32, because CPUs are many times slower with halves.
        device_map (*optional*): in place of `device`, where parts of a TCD checkpoint go, see
            `PreTrainedModel.from_pretrained`.
        revision (`str`, *optional*): branch, tag or commit on the Hub. An index keeps it with the name of its model.

    Returns:
        `tuple[TCDModel, TCDProcessor]`, the model in evaluation mode.

    Raises:
        ValueError: nothing that can be loaded as data, no such device, or an override or option that is none or out of
            its range.

    Example:

    ```python
    >>> from tcd_hf import load

    >>> model, processor = load("openai/clip-vit-base-patch32", num_frames=8, device="auto")
    ```"""
    return load_checkpoint(
        name,
        {"revision": revision},
        overrides={**(overrides or {}), **_given({"num_frames": num_frames})},
        seed=seed,
        device=device,
        model_options={"dtype": dtype, "device_map": device_map},
        processor_options={"max_length": max_length, "ocr_engine": ocr_engine},
    )


def load_processor(
    name: str | os.PathLike = MINI.name,
    *,
    num_frames: int | None = None,
    max_length: int | None = None,
    ocr_engine: "str | OCREngine | Callable | None" = None,
    revision: str | None = None,
) -> TCDProcessor:
    """The processor of [`load`] alone: no weights are read.

    Args:
        name, num_frames, max_length, ocr_engine, revision: see there.

    Raises:
        ValueError: see there.
    """
    options = {"num_frames": num_frames, "max_length": max_length, "ocr_engine": ocr_engine}
    with _reading(name, {"revision": revision}, ["config.json"]) as (place, hub):
        return _read_processor(place, hub, _read_config(place, hub, {}), _given(options))


def load_checkpoint(
    name: str | os.PathLike,
    hub: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    model_options: Mapping[str, Any] | None = None,
    processor_options: Mapping[str, Any] | None = None,
) -> tuple[TCDModel, TCDProcessor]:
    """[`load`] with all options of transformers; those that are `None` are not given.

    Args:
        name, overrides, seed, device: see there.
        hub (`dict`): of both parts: `revision`, `token`, `cache_dir`, `subfolder`, `local_files_only`.
        model_options (`dict`, *optional*): of `PreTrainedModel.from_pretrained`: `dtype`, `device_map`, ...
        processor_options (`dict`, *optional*): of [`TCDProcessor`].
    """
    overrides, model_options = dict(overrides or {}), _given(model_options or {})
    check_overrides(overrides)
    if device is not None:
        if "device_map" in model_options:
            raise ValueError(f"Give device={device!r} or device_map={model_options['device_map']!r}, not both.")
        device = _check_device(device)
    with _reading(name, hub) as (place, hub):
        config = _read_config(place, hub, overrides)
        model = _read_model(place, hub, config, overrides, seed, model_options)
        options = {**_given(processor_options or {}), "num_frames": model.config.num_frames}
        processor = _read_processor(place, hub, config, options)
    model.name_or_path = pinned(place, hub.get("revision"))  # an index keeps it
    if "device_map" not in model_options:
        model = model.to(device or "cpu")
    if "dtype" not in model_options and {weight.device.type for weight in model.parameters()} == {"cpu"}:
        model = model.float()
    return model.eval(), processor


def load_for_index(
    uri: str,
    metadata: "IndexMetadata",
    device: str | torch.device | None = "auto",
    name: str | os.PathLike | None = None,
) -> tuple[TCDModel, TCDProcessor]:
    """The model of an index, and its processor, which reads text as in the index.

    Args:
        uri (`str`): of the index, for messages.
        metadata ([`IndexMetadata`]): what the index says. Compare the fingerprints of what comes back with it.
        device (`str` or `torch.device`, *optional*, defaults to `"auto"`): see [`load`].
        name (`str` or `os.PathLike`, *optional*): what the user says that the model is loaded by; by default what the
            index says.

    Raises:
        ValueError: a model without a name, or one that cannot be loaded.
    """
    if name is not None:
        model, processor = load(name, device=device)
        read_as_index(processor, metadata.reading)
        return model, processor
    if not metadata.model_name:
        raise ValueError(
            f"The index {uri} was made by a model without a name: give that model, with its processor, to "
            "`VideoIndex.open`, or its folder by --model."
        )
    try:
        model, processor = load(metadata.model_name, device=device)
    except ValueError as error:
        raise ValueError(f"The index {uri} was made by a model that cannot be loaded. {error}") from error
    read_as_index(processor, {"ocr_options": processor.ocr_options, **metadata.reading})
    return model, processor


def read_as_index(processor: TCDProcessor, reading: Mapping[str, Any]) -> None:
    """Has a processor read text as an index says.

    Of the options of an engine only numbers, none, and the names of a recogniser and of a runtime are taken: others may
    lead to files, and anybody may have made the index or the folder that it names; they are for the user to give again.
    """
    for name in set(READING_OPTIONS).intersection(reading):  # and nothing else that an index may name
        value = reading[name]
        if isinstance(value, dict):
            value = {key: option for key, option in value.items() if _is_harmless(key, option)} or None
        setattr(processor, name, value)


def _is_harmless(key: str, option: Any) -> bool:
    names = {"lang": LANGUAGES, "runtime": RUNTIMES}.get(key, ())
    return option is None or isinstance(option, int | float) or (isinstance(option, str) and option in names)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check_device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter: torch was built without CUDA
        raise ValueError(
            f"The device {str(device)!r} cannot be used: {_first_line(error)} Give cpu, cuda, cuda:1, mps, ..."
        ) from error


@contextmanager
def _reading(
    name: str | os.PathLike, hub: Mapping[str, Any], files: Sequence[str] = WEIGHT_FILES
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where to read from, and how: without progress bars, and with errors that say what was to be loaded."""
    place, hub = _with_revision(os.fspath(name), _given(hub))
    bars, download_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()  # either kind
    try:
        if not os.path.isdir(place):
            hub = ask_hub(place, hub, files)
        yield place, hub
    except Exception as error:  # OSError, SafetensorError, UnpicklingError, KeyError, ...: folders may hold anything
        cause = _first_line(error)
        if "trust_remote_code" in str(error):
            cause = "it cannot be loaded without code of its own, and code that a model brings is never run."
        raise ValueError(
            f"Cannot load a model from {place!r}: {cause} Give (--model) a folder that `save_pretrained` wrote, or a "
            "Hub id."
        ) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
        if bars and not download_bars:
            disable_progress_bars()
        elif download_bars:
            enable_progress_bars()


def _with_revision(name: str, hub: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A name without its revision, and the options with it."""
    place, revision = split_revision(name)
    given = hub.get("revision", revision)
    if given == "":
        raise ValueError(f"The revision of {place!r} is empty: name a branch, tag or commit, or leave it out.")
    if place == MINI.name:
        if given is not None:
            raise ValueError(f"{place!r} is inside the package, and has no revision {given!r}: leave it out.")
        place = str(MINI)
    if given is not None and os.path.isdir(place):
        raise ValueError(f"{place!r} is a folder, which has no revision {given!r}: revisions are of models on the Hub.")
    if given != revision and revision is not None:
        raise ValueError(f"{name!r} names a revision, and {given!r} is another: give one of them.")
    return place, _given({**hub, "revision": given})


def _first_line(error: BaseException) -> str:
    first, *others = str(error).strip().split("\n")
    cause = f"{first} {others[0].strip()}" if first.endswith(":") and others else first
    return cause or type(error).__name__


def _read_config(place: str, hub: Mapping[str, Any], overrides: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration of a TCD checkpoint, with overrides, or of a dual encoder, less what would bring in code."""
    settings = _without_code(PreTrainedConfig.get_config_dict(place, **hub)[0])
    kind = settings.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise ValueError(
            f"its config.json is of the model_type {kind!r}, which neither transformers nor tcd-hf knows; code that a "
            "model brings is never run."
        )
    # transformers would load the adapter too, or in place of this model one that the adapter names
    quiet = {"_raise_exceptions_for_missing_entries": False}
    if is_peft_available() and cached_file(place, "adapter_config.json", **hub, **quiet):
        raise ValueError("it holds an adapter (adapter_config.json): merge it into its model, and save that.")
    if kind == TCDConfig.model_type:
        settings |= {name: value for name, value in overrides.items() if name != "num_frames"}  # see `_read_model`
    return CONFIG_MAPPING[kind].from_dict(settings)


def _without_code(value: Any) -> Any:
    """Settings in all depths without those that name code beside the weights, or kernels on the Hub."""
    if isinstance(value, dict):
        name_code = ("auto_map", "attn_implementation", "experts_implementation")
        return {key: _without_code(each) for key, each in value.items() if key.strip("_") not in name_code}
    return [_without_code(each) for each in value] if isinstance(value, list) else value


def _read_model(
    place: str,
    hub: Mapping[str, Any],
    config: PreTrainedConfig,
    overrides: Mapping[str, Any],
    seed: int,
    options: Mapping[str, Any],
) -> TCDModel:
    options = {**options, **hub, "config": config, "weights_only": True, "trust_remote_code": False}
    # The new modules get the same weights in every run, so that an index knows its model.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not those of GPUs, which are not set back
        if isinstance(config, TCDConfig):
            model = TCDModel.from_pretrained(place, **options)
            return model.resize_frames(overrides.get("num_frames", config.num_frames))
        if "device_map" in options:
            raise ValueError("`device_map` is for TCD checkpoints, and this is none: give `device`.")
        tower = AutoModel.from_pretrained(place, **options)  # nosec B615 # `options` hold the revision
        return TCDModel.from_backbone(tower, **overrides)


def _read_processor(
    place: str, hub: Mapping[str, Any], config: PreTrainedConfig, options: Mapping[str, Any]
) -> TCDProcessor:
    """Its parts one by one: `from_pretrained` would copy an OCR engine, and load whatever else a folder names."""
    options_of_parts = {**hub, "trust_remote_code": False}
    image_processor = AutoImageProcessor.from_pretrained(place, **options_of_parts)  # nosec B615 # `hub` has the revision
    tokenizer = AutoTokenizer.from_pretrained(place, **options_of_parts)  # nosec B615 # likewise
    saved = _saved_options(place, hub) if isinstance(config, TCDConfig) else {}
    if options.get("ocr_engine", saved.get("ocr_engine")) != saved.get("ocr_engine"):
        saved["ocr_options"] = None  # they are the other engine's
    if "ocr_engine" not in options:
        saved |= engine_at_hand(saved)
    options = {**saved, **options}
    towers = config.backbone_config if isinstance(config, TCDConfig) else config
    positions = getattr(getattr(towers, "text_config", None), "max_position_embeddings", None)
    if options.get("max_length") is None and positions is not None and positions < tokenizer.model_max_length:
        options["max_length"] = positions  # some tokenizers tell no limit, or one that is not their tower's
    return TCDProcessor(image_processor, tokenizer, **options)


def _saved_options(place: str, hub: Mapping[str, Any]) -> dict[str, Any]:
    with open(cached_file(place, "processor_config.json", **hub) or "", encoding="utf-8") as file:
        saved = json.load(file)
    return {name: saved[name] for name in PROCESSOR_OPTIONS if name in saved}
