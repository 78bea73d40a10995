"""The models behind OCR engines: built once per process, with a fair share of its threads, or a clear error."""

import contextlib
import importlib
import multiprocessing
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .heartbeat import long_work

__all__ = [
    "OCREngineError",
    "cache_folder",
    "cached_model",
    "checked_num_threads",
    "default_num_threads",
    "import_engine",
    "is_pool_worker",
    "missing_weights",
    "model_file",
]

MAX_DEFAULT_THREADS = 8  # the text detector gains next to nothing from more

_models: dict[tuple, Any] = {}


class OCREngineError(RuntimeError):
    """A weight file of an OCR engine is missing or broken. The message names it and the engine that works offline."""


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


def cached_model(key: tuple, build: Callable[[], Any]) -> Any:
    """What `build` makes, made once in this process for equal keys."""
    # The process id is part of the key because the thread pool of a model does not survive a fork. What the parent
    # built stays in the dictionary, unused: destroying it in the child would wait for threads that are not there.
    key = (os.getpid(), *key)
    if key not in _models:
        with long_work():
            _models.setdefault(key, build())  # two threads may both build; all use the first one's
    return _models[key]


def checked_num_threads(num_threads: int | None) -> int | None:
    """The option of that name; a ValueError where it is neither `None` nor a number of threads."""
    if num_threads is not None and (not isinstance(num_threads, int) or num_threads < 1):
        raise ValueError(f"num_threads must be None or an int of at least 1, got {num_threads!r}.")
    return num_threads


def import_engine(engine: str, module: str, install: str):
    """A package of an engine; an ImportError that says how to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"The OCR engine {engine!r} needs a package that cannot be imported ({error}). Install it with `{install}`."
        ) from error


def cache_folder(name: str) -> Path:
    """A folder for files of one kind: in the folder of `TCD_HF_CACHE`, else in the user's cache folder for tcd-hf."""
    platformdirs = importlib.import_module("platformdirs")
    chosen = os.environ.get("TCD_HF_CACHE", "")
    if not chosen or "://" in chosen:  # an object store, from which no model can be loaded
        chosen = platformdirs.user_cache_path("tcd-hf", appauthor=False)
    return Path(chosen) / name


def model_file(settings: Any, folder: str | os.PathLike) -> Path:
    """The ONNX file of a `rapidocr` model of these settings, which lies in `folder` where it has no path of its own."""
    if path := settings.get("model_path"):
        return Path(path)
    base = importlib.import_module("rapidocr.inference_engine.base")
    kind = (settings.ocr_version, settings.task_type, settings.lang_type, settings.model_type)
    entry = base.InferSession.get_model_url(base.FileInfo(settings.engine_type, *kind))
    return Path(folder) / entry["model_dir"].rsplit("/", 1)[-1]


@contextlib.contextmanager
def missing_weights(engine: str, file: str):
    """Turns what a library raises when weights cannot be downloaded or read into one `OCREngineError`."""
    try:
        yield
    except ImportError:  # of a package that is missing: it says which
        raise
    except Exception as error:  # libraries raise OSError, RuntimeError, ValueError and exceptions of their own here
        cause = textwrap.shorten(f"{type(error).__name__}: {error}", 200)  # torch lists every key of a state dict
        raise OCREngineError(
            f"The OCR engine {engine!r} cannot load its weights, {file}: {cause}. Give it "
            'files that exist on this machine, connect it to the network once, or use the engine "rapidocr" with its '
            "default options, which works offline."
        ) from error
