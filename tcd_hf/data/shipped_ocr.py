"""OCR results that data sets ship with their videos, in one form: readings with the frames that show them.

A reading is a dict of `text`, `confidence` (in [0, 1], `None` where it is not told), `start_frame` and `end_frame`
(frames of the video counted from its first; the end is the first frame without the text).
"""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["ocr_in_seconds", "read_kwai_ocr", "read_vitevqa_ocr"]


def read_kwai_ocr(content: dict[str, Any]) -> list[dict]:
    """Readings of a file in `Kwai_VideoOCR` of TextVR: `{track_id: {recommend_box, score, text, tracks}}`, where
    `tracks` is `{frame: corners in pixels and more}`. (Source: `TextVR_dataset.py` in github.com/callsys/TextVR.)
    """
    readings = []
    for track in content.values():
        frames = [int(frame) for frame in track["tracks"]]
        if frames and track["text"].strip():
            readings.append(_reading(track["text"], float(track["score"]), min(frames), max(frames) + 1))
    return _in_order(readings)


def read_vitevqa_ocr(content: dict[str, Any]) -> list[dict]:
    """Readings of a file in `video_ocr` of M4-ViteVQA: `{frame: [{ocr, points}]}`. A text that is read in frame after
    frame is one reading. (Source: the M4-ViteVQA loader in github.com/zhangyan-ucas/TEA.)
    """
    shown: dict[str, dict] = {}  # latest reading of each text
    readings = []
    for frame, items in sorted((int(frame), items) for frame, items in content.items()):
        for text in dict.fromkeys(item["ocr"] for item in items if item["ocr"].strip()):
            if text in shown and shown[text]["end_frame"] == frame:
                shown[text]["end_frame"] = frame + 1
            else:
                shown[text] = _reading(text, None, frame, frame + 1)
                readings.append(shown[text])
    return _in_order(readings)


def ocr_in_seconds(ocr: Iterable[dict], fps: float) -> list[tuple[float, float, str]]:
    """Readings as `(start, end, text)` in seconds, which [`WindowOCRCaptioner.caption_texts`] makes captions of.

    Args:
        ocr: readings, such as a row's `ocr` of [`load_retrieval_dataset`].
        fps (`float`): frames per second that the readings count in, as a rule the video's.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps!r}.")
    return [(reading["start_frame"] / fps, reading["end_frame"] / fps, reading["text"]) for reading in ocr]


def _reading(text: str, confidence: float | None, start_frame: int, end_frame: int) -> dict:
    return {
        "text": " ".join(text.split()),
        "confidence": confidence,
        "start_frame": start_frame,
        "end_frame": end_frame,
    }


def _in_order(readings: Sequence[dict]) -> list[dict]:
    return sorted(readings, key=lambda reading: reading["start_frame"])
