"""Pictures in the place of a video: those in memory, and animated WebP, which FFmpeg does not decode but Pillow."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from .heartbeat import beat
from .joined_files import second_file_in, tell_second_file
from .timelines import Timeline
from .transparency import opaque_pixels
from .video_decoders import DecodeError, Decoder
from .video_files import MAX_PIXELS, Source, VideoReadError, check_size, first_line

__all__ = ["ImageDecoder", "PictureDecoder", "is_webp"]

IMAGE_LIST_FPS = 1.0
# Browsers show a frame that says 10 ms or less for so long (seconds).
SHORTEST, INSTEAD = 0.011, 0.1


def is_webp(head: bytes) -> bool:
    """Whether a file that begins so is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


class ImageDecoder(Decoder):
    """Frames that are in memory already."""

    backend = "memory"

    def __init__(
        self, images: "np.ndarray | Sequence[Image.Image]", fps: float | None = None, max_pixels: int = MAX_PIXELS
    ):
        name = "<array>" if isinstance(images, np.ndarray) else "<images>"
        if isinstance(images, np.ndarray) and (images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8):
            raise ValueError(
                f"A video array must be RGB uint8 of shape (frames, height, width, 3), got {images.dtype} of shape "
                f"{images.shape}. Move the channels last and scale the values to 0-255."
            )
        if not isinstance(images, np.ndarray):
            for image in images:
                if not isinstance(image, Image.Image):
                    raise TypeError(f"A list given as a video must hold PIL images, got {type(image)}; stack arrays.")
                check_size(name, image.width, image.height, max_pixels)  # it may be a file that is not decoded yet
        if len(images) == 0:
            raise VideoReadError(name, "it has no frames", "Give at least one frame")
        fps = fps or IMAGE_LIST_FPS
        starts = np.arange(len(images)) / fps
        self._images = images
        self.timeline = Timeline.build(starts, starts + 1 / fps, np.arange(len(images)), fps)

    def read(self, index: int) -> np.ndarray:
        image = self._images[index]
        return image if isinstance(image, np.ndarray) else opaque_pixels(image)


class PictureDecoder(Decoder):
    """Pillow; it goes from frame to frame, and begins anew for an earlier one."""

    backend = "pillow"

    def __init__(self, source: Source, num_threads: int):
        size = 8 + int.from_bytes(source.head[4:8], "little")
        self.left_out = tell_second_file(second_file_in(source.file, source.head, "webp", size))
        file = source.rewound()
        try:
            self._image = Image.open(file if isinstance(file, str) else io.BytesIO(file.read()))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DecodeError(f"Pillow cannot open it ({first_line(error)})") from error
        num_frames = getattr(self._image, "n_frames", 1)
        if num_frames == 1:
            self.close()
            raise VideoReadError(source.name, "it is a still picture, not a video", "Give an animated one, or a video")
        lasts = np.array([self._seconds(number) for number in range(num_frames)])
        ends = np.cumsum(lasts)
        self.timeline = Timeline.build(ends - lasts, ends, [0], 1 / lasts[-1])

    def read(self, index: int) -> np.ndarray:
        try:
            self._image.seek(index)
            return opaque_pixels(self._image)
        except (OSError, ValueError, EOFError) as error:
            raise DecodeError(f"Pillow cannot decode frame {index} ({first_line(error)})") from error

    def close(self) -> None:
        self._image.close()

    def _seconds(self, number: int) -> float:
        """How long a frame is shown."""
        try:
            self._image.seek(number)
            self._image.load()  # which tells it
            beat()
        except (OSError, ValueError, EOFError) as error:
            raise DecodeError(f"Pillow cannot decode frame {number} ({first_line(error)})") from error
        seconds = self._image.info["duration"] / 1000
        return seconds if seconds >= SHORTEST else INSTEAD
