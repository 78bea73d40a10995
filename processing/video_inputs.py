"""What people hand over as a video, in the few forms that `video_reading` reads."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from .video_files import ALLOWED

__all__ = ["FrameSource", "TensorLike", "VideoInput", "is_frame", "unwrap"]


class TensorLike(Protocol):
    """A `torch.Tensor`, for modules that need no torch."""

    def detach(self) -> Any: ...


class FrameSource(Protocol):
    """A `torchcodec.decoders.VideoDecoder`, for modules that need no torchcodec."""

    metadata: Any

    def get_frame_played_at(self, seconds: float) -> Any: ...


Frame = Image.Image | np.ndarray | TensorLike
VideoInput = (
    str | os.PathLike | bytes | BinaryIO | np.ndarray | TensorLike | FrameSource | Sequence[Frame] | Mapping[str, Any]
)


def unwrap(video: Any) -> tuple[Any, float | None]:
    """
    A video in the form that is read, and its frames per second where it is frames that come with them.

    Args:
        video: a path, bytes or a file object; frames, as an array or a tensor `(frames, height, width, 3)` or `(frames,
            3, height, width)`, RGB, uint8 or floats in [0, 1]; a list of such frames or of PIL images; a
            `torchcodec.decoders.VideoDecoder`; or a dictionary that stands for a video elsewhere: `{"path": ...,
            "bytes": ...}` of the `Video` column of datasets, `{"video": ...}` and `{"array": frames, "video_metadata":
            {"fps": ...}}` of sentence-transformers.

    Returns:
        A path, bytes, a file object or a decoder, as it was; or frames: an array `(frames, height, width, 3)`, RGB
        uint8, or a list of PIL images and of such arrays `(height, width, 3)`. Anything else comes back as it is.

    Raises:
        ValueError: an array of another shape or dtype, or with values out of range; a dictionary without a video.
        TypeError: a list that holds something that is no frame.
    """
    if isinstance(video, Mapping):
        return _out_of_mapping(video)
    encoded = getattr(video, "_hf_encoded", None)  # what datasets decodes, beside its decoder: a file has more to tell
    if encoded and (encoded["bytes"] is not None or os.path.isfile(encoded["path"])):
        return unwrap(encoded)
    if isinstance(video, np.ndarray) or _is_tensor(video):
        return _pixels(video, 4), None
    if isinstance(video, list | tuple):
        return [_frame(each) for each in video], None
    return video, None


def is_frame(value: Any) -> bool:
    """Whether it is a picture, so that a list of such is one video, and not several."""
    return isinstance(value, Image.Image) or ((isinstance(value, np.ndarray) or _is_tensor(value)) and value.ndim == 3)


def _out_of_mapping(video: Mapping[str, Any]) -> tuple[Any, float | None]:
    if "video" in video:
        return unwrap(video["video"])
    if "array" in video:
        return unwrap(video["array"])[0], (video.get("video_metadata") or {}).get("fps")
    sources = [video[name] for name in ("bytes", "path") if video.get(name) is not None]
    if not sources:
        raise ValueError(
            f"A dictionary that is a video has `path`, `bytes`, `array` or `video`; got {dict(video)!r:.100}."
        )
    return unwrap(sources[0])


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "ndim")


def _frame(frame: Any) -> Any:
    if isinstance(frame, Image.Image):
        return frame
    if not is_frame(frame):
        raise TypeError(f"A video must be {ALLOWED}; got a list with {type(frame)}.")
    return _pixels(frame, 3)


def _pixels(pixels: Any, ndim: int) -> np.ndarray:
    """Pixels as RGB uint8 with the channels last. Nothing is copied that is so, or has them first."""
    if _is_tensor(pixels):
        pixels = pixels.detach().cpu()
        pixels = (pixels.float() if pixels.is_floating_point() else pixels).numpy()  # NumPy has no bfloat16
    given = pixels
    if pixels.ndim == ndim and pixels.shape[-1] != 3 and pixels.shape[-3] == 3:
        pixels = np.moveaxis(pixels, -3, -1)
    is_float = np.issubdtype(pixels.dtype, np.floating)
    if pixels.ndim != ndim or pixels.shape[-1] != 3 or not (is_float or pixels.dtype == np.uint8):
        frames = "frames, " if ndim == 4 else ""
        raise ValueError(
            f"Pixels must be RGB of shape ({frames}height, width, 3) or ({frames}3, height, width), uint8 or floats in "
            f"[0, 1], got {given.dtype} of shape {given.shape}."
        )
    if not is_float:
        return pixels
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN too
        raise ValueError(
            f"Pixels that are floats must be in [0, 1], got {pixels.min()} to {pixels.max()}: give those from before "
            "any normalisation, or uint8 of 0-255."
        )
    return np.rint(pixels * 255).astype(np.uint8)
