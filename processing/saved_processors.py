"""What a processor's file says, and what it cannot."""

from collections.abc import Mapping
from typing import Any

from transformers.utils import logging

from .ocr_engines import get_engine

__all__ = ["engine_at_hand", "remove_mark"]

logger = logging.get_logger(__name__)


def engine_at_hand(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The OCR engine of a saved processor, and its options, less one that was an object, which a warning names."""
    engine = saved.get("ocr_engine")
    try:
        if engine is not None:
            get_engine(engine)
    except ValueError:
        logger.warning(
            f"The processor was saved with an OCR engine of class {engine!r}, which is not saved with it: it reads no "
            "text until it is given one, `from_pretrained(..., ocr_engine=...)`."
        )
        return {"ocr_engine": None, "ocr_options": None}
    return {}


def remove_mark(settings: dict[str, Any]) -> None:
    """Takes out the class of ours to load: that is for the file, but saving leaves it in a processor and its parts."""
    settings.get("auto_map", {}).pop("AutoProcessor", None)
    if not settings.get("auto_map", True):
        del settings["auto_map"]
