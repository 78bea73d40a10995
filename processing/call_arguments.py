"""What a call of a processor is given: texts, videos and options, checked and in one form."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.processing_utils import ImagesKwargs, ProcessingKwargs, TextKwargs, VideosKwargs
from transformers.utils import logging

from .video_inputs import VideoInput, is_frame

__all__ = ["TCDProcessorKwargs", "as_batch", "checked_texts", "split_options"]

logger = logging.get_logger(__name__)


class TCDProcessorKwargs(ProcessingKwargs, total=False):
    """
    Options of a call of [`TCDProcessor`], given one by one, or by modality as transformers' processors take them:
    `text_kwargs={"padding": "max_length"}`, `videos_kwargs={"fps": 25}`, `common_kwargs={"return_tensors": "np"}`;
    those of `images_kwargs`, and what else image processors take, such as `do_rescale`, go to the image processor.
    """

    fps: float | None
    num_frames: int
    max_length: int | None
    padding: bool | str
    truncation: bool
    return_tensors: str | None


def checked_texts(text: str | Sequence[str]) -> list[str]:
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, (list, tuple)) or not all(isinstance(each, str) for each in texts):
        raise TypeError(f"`text` must be a string or a list of strings, got {text!r:.100}.")
    if not texts:
        raise ValueError("`text` is an empty list; give at least one query.")
    for index, each in enumerate(texts):
        if not each.strip():
            raise ValueError(f"Query {index} is empty ({each!r}); a query must say something.")
    return list(texts)


def as_batch(videos: VideoInput | Sequence[VideoInput]) -> list[Any]:
    """One video or several, as a list of videos."""
    given: Any = videos
    if getattr(given, "ndim", 0) == 5:  # an array or a tensor (batch_size, frames, height, width, 3)
        return list(given)
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Sequence):
        return [given]
    several = list(given)  # a column of a data set is no list
    if not several:
        raise ValueError("`videos` is an empty list; give at least one video.")
    return [several] if all(map(is_frame, several)) else several


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a call, see [`TCDProcessorKwargs`]: those of the image processor, and all others on one level."""
    flat = dict(options)
    image_options = flat.pop("images_kwargs", {})
    groups = [flat.pop(name, {}) for name in ("common_kwargs", "audio_kwargs", "videos_kwargs", "text_kwargs")]
    for group in reversed(groups):
        flat = {**group, **flat}
    known = TCDProcessorKwargs.__annotations__.keys() - ProcessingKwargs.__annotations__.keys()
    others = flat.keys() - known
    image_options = {**{name: flat.pop(name) for name in others & ImagesKwargs.__annotations__.keys()}, **image_options}
    for name in flat.keys() & (TextKwargs.__annotations__.keys() | VideosKwargs.__annotations__.keys()) - known:
        logger.warning_once(f"`{name}={flat.pop(name)!r}` means nothing to a TCDProcessor, and is ignored.")
    unknown = sorted(flat.keys() - known)
    if unknown:
        raise TypeError(f"A TCDProcessor has no option {', '.join(map(repr, unknown))}; it has {sorted(known)}.")
    return image_options, flat
