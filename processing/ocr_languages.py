"""Recognisers of other scripts than the shipped one reads: their names, what each reads, and how its file is had.

The recogniser inside rapidocr's wheel reads Latin, Greek, Chinese and Japanese. PP-OCR has others, a script each, which
rapidocr names and knows the address and checksum of. They are fetched once, or given as a file.
"""

import hashlib
import importlib
import logging
import os
import textwrap
import threading
from pathlib import Path
from typing import Any

from .ocr_models import OCREngineError, cache_folder, model_file

__all__ = ["LANGUAGES", "checked_lang", "fetch_recogniser", "file_digest", "recogniser_params"]

logger = logging.getLogger(__name__)

# What each reads, by the dictionaries of the models; Latin letters without accents and digits besides. Their names are
# those of PP-OCR, where "ka" is Kannada.
LANGUAGES = {
    "arabic": "Arabic script: Arabic, Persian, Urdu, Uyghur, Kurdish",
    "ch": "Chinese, Japanese",
    "chinese_cht": "Traditional Chinese",
    "cyrillic": "Cyrillic: Russian, Ukrainian, Bulgarian, Serbian, Mongolian, languages of the Caucasus",
    "devanagari": "Devanagari: Hindi, Marathi, Nepali, Sanskrit",
    "el": "Greek",
    "en": "English",
    "eslav": "Cyrillic of the East Slavs: Russian, Ukrainian, Belarusian",
    "japan": "Japanese",
    "ka": "Kannada",
    "korean": "Korean",
    "latin": "Latin with the accents of European languages and Vietnamese",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
}
FETCH_TIMEOUT = 10  # seconds without an answer after which there is no network


def checked_lang(lang: str | os.PathLike | None) -> str | None:
    """`lang` as a name of `LANGUAGES` or a path.

    Raises:
        ValueError: it is neither a known name nor a path of an ONNX file.
    """
    if lang is None:
        return None
    if isinstance(lang, os.PathLike):
        lang = os.fspath(lang)
    if not isinstance(lang, str) or (lang not in LANGUAGES and not lang.endswith(".onnx")):
        raise ValueError(
            f"lang must be one of {', '.join(LANGUAGES)}, or the path of a recogniser's .onnx file, got {lang!r}."
        )
    return lang


def recogniser_params(lang: str | None) -> dict[str, Any]:
    """Parameters of `rapidocr.RapidOCR` for the recogniser of a language; its file is fetched if it is not there.

    Args:
        lang (`str`, *optional*): a name of `LANGUAGES`, or the path of an ONNX file. `None`: the shipped recogniser.

    Raises:
        OCREngineError: it cannot be fetched, or there is no such file.
    """
    if lang is None:
        return {}
    if lang not in LANGUAGES:
        if not Path(lang).is_file():
            raise OCREngineError(f"There is no recogniser {lang!r}. Give the path of a file, or a name: {_names()}.")
        return {"Rec.model_path": lang}
    return {"Rec.model_path": str(fetch_recogniser(lang)), "Rec.lang_type": lang}


def fetch_recogniser(lang: str, folder: str | os.PathLike | None = None) -> Path:
    """The ONNX file of a language's recogniser, downloaded where it is not there yet.

    Args:
        lang (`str`): a name of `LANGUAGES`.
        folder (`str | os.PathLike`, *optional*):
            Where it is kept: `recognisers` in the folder of `TCD_HF_CACHE`, else in the user's cache folder for tcd-hf.

    Raises:
        OCREngineError: it cannot be fetched or written; the message names the address and what to do.
    """
    entry = _entry(lang)
    folder = cache_folder("recognisers") if folder is None else Path(folder)
    path = folder / entry["model_dir"].rsplit("/", 1)[-1]
    if path.is_file():
        return path
    download = importlib.import_module("rapidocr.utils.download_file")
    quiet = logging.Logger("rapidocr download", logging.CRITICAL)  # what it says is said here
    fetch = type("Fetch", (download.DownloadFile,), {"REQUEST_TIMEOUT": FETCH_TIMEOUT})
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    logger.warning("Fetching the recogniser %r once: %s to %s", lang, entry["model_dir"], path)
    try:
        fetch.run(download.DownloadFileInput(entry["model_dir"], partial, quiet, entry["SHA256"]))
        if not fetch.check_file_sha256(str(partial), entry["SHA256"]):
            raise OSError("what came has another checksum")
        partial.replace(path)  # whole or not at all: several processes may fetch at once
    except Exception as error:  # the library has exceptions of its own, and those of requests behind them
        cause = textwrap.shorten(str(_root(error)), 200)
        raise OCREngineError(
            f"The recogniser {lang!r} cannot be fetched from {entry['model_dir']}: {cause}. Connect this machine to "
            f'the network once, put the file at {path}, or give its path in place of the name: lang="rec.onnx".'
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def file_digest(recogniser: Any) -> str:
    """SHA-256 of the file of a `rapidocr` text recogniser; empty if it has none that is known."""
    path = model_file(recogniser.cfg, recogniser.cfg.model_root_dir)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _entry(lang: str) -> Any:
    """Address (`model_dir`) and checksum (`SHA256`) of a recogniser, of the newest family that has it."""
    rapidocr = importlib.import_module("rapidocr")
    routes = importlib.import_module("rapidocr.utils.model_resolver")
    base = importlib.import_module("rapidocr.inference_engine.base")
    task, mobile = rapidocr.utils.typings.TaskType.REC, rapidocr.ModelType.MOBILE
    versions = (rapidocr.OCRVersion.PPOCRV5, rapidocr.OCRVersion.PPOCRV4)
    for version in versions:
        if lang in routes.list_supported_langs(task, version, mobile):
            info = base.FileInfo(rapidocr.EngineType.ONNXRUNTIME, version, task, lang, mobile)
            return base.InferSession.get_model_url(info)
    raise OCREngineError(f"The installed rapidocr has no recogniser {lang!r}. It may be newer: pip install -U rapidocr")


def _root(error: BaseException) -> BaseException:
    """What an error began with: of a failed download, what the network said."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def _names() -> str:
    return ", ".join(LANGUAGES)
