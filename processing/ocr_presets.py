"""What reading may cost: a preset trades text found against time (ours)."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["OCR_PRESETS", "OCRPreset", "ocr_preset"]


@dataclass(frozen=True)
class OCRPreset:
    """How much is read.

    Args:
        interval (`float`, *optional*, defaults to 1.0): times the captioner's `reading_interval`.
        engine_options (`dict[str, Any]`, *optional*):
            Of `RapidOCREngine`, beneath those that the user gives. Other engines have no presets.
    """

    interval: float = 1.0
    engine_options: dict[str, Any] = field(default_factory=dict)


OCR_PRESETS = {
    "fast": OCRPreset(interval=2.5, engine_options={"full_size_every": 4}),
    "balanced": OCRPreset(),  # the defaults of the captioner and of the engine
    "thorough": OCRPreset(engine_options={"between_side_len": None, "look_side_len": None, "reuse_unchanged": False}),
}


def ocr_preset(name: str) -> OCRPreset:
    """The preset of a name.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(name, str) or name not in OCR_PRESETS:
        raise ValueError(f"The OCR preset must be one of {', '.join(map(repr, OCR_PRESETS))}, got {name!r}.")
    return OCR_PRESETS[name]
