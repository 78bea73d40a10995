"""Which of a file's video streams is read, and what is said of the others."""

from typing import Any

import numpy as np

__all__ = [
    "alpha_decoder",
    "alpha_left_out",
    "brings_alpha",
    "choose_stream",
    "has_alpha",
    "hides_alpha",
    "is_transparent",
    "keeps_decoding_times",
    "several_videos",
    "streams_left_out",
]

# Decoders that look for what is transparent beside the pictures, and what Matroska has there.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
BESIDE, ALPHA_ID = "matroska_block_additional", (1).to_bytes(8, "big")
DECODING_TIMES = ("avi", "asf", "mxf")  # containers that know no others, or of which FFmpeg gives no others


def choose_stream(container) -> Any:
    """The stream with the largest picture, of equals the default one, else the first; `None` where there is none."""
    streams = _moving(container)
    return max(streams, key=lambda stream: (_pixels(stream), _is("default", stream)), default=None)


def keeps_decoding_times(container, stream, times: np.ndarray) -> bool:
    """Whether `times`, in the order of the file, are when its frames are decoded, not shown: as with H.264 in AVI."""
    is_reordered = bool(stream.codec_context.has_b_frames) and bool((np.diff(times) >= 0).all())
    return is_reordered and container.format.name in DECODING_TIMES


def several_videos(container) -> bool:
    """Whether there is more than one video in a file."""
    return len(_moving(container)) > 1


def has_alpha(stream) -> bool:
    """Whether its pictures may be transparent in part."""
    form = stream.codec_context.format
    return hides_alpha(stream) or (form is not None and is_transparent(form))


def hides_alpha(stream) -> bool:
    """Whether what is transparent is said to lie beside the pictures, in Matroska."""
    return "1" in (stream.metadata.get("alpha_mode"), stream.metadata.get("ALPHA_MODE"))


def brings_alpha(packet) -> bool:
    """Whether what is transparent lies beside a picture, said or not."""
    if packet.stream.codec_context.name not in ALPHA_DECODERS or not packet.has_sidedata(BESIDE):
        return False
    return bytes(packet.get_sidedata(BESIDE))[:8] == ALPHA_ID


def is_transparent(form) -> bool:
    """Whether pictures of a `VideoFormat` may be transparent in part."""
    return form.has_palette or any(component.is_alpha for component in form.components)


def alpha_decoder(stream) -> Any:
    """A decoder that looks for what is transparent beside the pictures; `None` where there is none such."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    try:
        return type(stream.codec_context).create(name, "r") if name else None
    except ValueError:  # an FFmpeg that was built without it
        return None


def alpha_left_out(stream) -> str:
    """What to say where [`alpha_decoder`] has none."""
    name = ALPHA_DECODERS.get(stream.codec_context.name, "one that knows it")
    return f"what is transparent in it is shown as if it were not, as FFmpeg has no decoder for that here ({name})"


def streams_left_out(container, chosen) -> str | None:
    """What is not read of a file with several videos in it, in words."""
    others = [stream for stream in _moving(container) if stream.index != chosen.index]
    if not others:
        return None
    return f"its video stream {_name(chosen)} is read, not {', '.join(map(_name, others))}"


def _moving(container) -> list[Any]:
    """The video streams but for covers and previews, which are pictures in the guise of a video."""
    return [
        stream
        for stream in container.streams.video
        if not _is("attached_pic", stream) and not _is("timed_thumbnails", stream)
    ]


def _is(disposition: str, stream) -> bool:
    return bool(stream.disposition & getattr(type(stream.disposition), disposition))


def _pixels(stream) -> int:
    codec = stream.codec_context  # None where FFmpeg does not know the codec
    return codec.width * codec.height if codec is not None else 0


def _name(stream) -> str:
    codec = stream.codec_context
    return f"{stream.index} ({codec.width}x{codec.height})" if codec is not None else f"{stream.index} (unknown)"
