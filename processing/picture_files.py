"""What no reader of ours decodes: pictures in memory, decoders of torchcodec, and animated WebP, which is Pillow's."""

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
from .video_inputs import FrameSource, unwrap

__all__ = ["ImageDecoder", "PictureDecoder", "TorchcodecDecoder", "is_webp"]

IMAGE_LIST_FPS = 1.0
# Browsers show a frame that says 10 ms or less for so long (seconds).
SHORTEST, INSTEAD = 0.011, 0.1


def is_webp(head: bytes) -> bool:
    """Whether a file that begins so is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


class ImageDecoder(Decoder):
    """Frames that are in memory already: an array `(frames, height, width, 3)`, RGB uint8, or a list of PIL images and
    of such arrays `(height, width, 3)`."""

    backend = "memory"

    def __init__(
        self,
        images: "np.ndarray | Sequence[np.ndarray | Image.Image]",
        fps: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        name = "<array>" if isinstance(images, np.ndarray) else "<images>"
        for image in images:
            if isinstance(image, Image.Image):  # it may be a file that is not decoded yet
                check_size(name, image.width, image.height, max_pixels)
        if len(images) == 0:
            raise VideoReadError(name, "it has no frames", "Give at least one frame")
        fps = fps or IMAGE_LIST_FPS
        starts = np.arange(len(images)) / fps
        self._images = images
        self.timeline = Timeline.build(starts, starts + 1 / fps, np.arange(len(images)), fps)

    def read(self, index: int) -> np.ndarray:
        image = self._images[index]
        return image if isinstance(image, np.ndarray) else opaque_pixels(image)


class TorchcodecDecoder(Decoder):
    """A `torchcodec.decoders.VideoDecoder` of somebody else's, which tells no times but those of frames that it has
    decoded: its frames are taken one by one at their average rate. Where that is not constant, a frame is off by the
    difference."""

    backend = "torchcodec"

    def __init__(self, decoder: FrameSource, max_pixels: int = MAX_PIXELS):
        found = decoder.metadata
        check_size("<decoder>", found.width, found.height, max_pixels)
        self._decoder = decoder
        self._begin, fps = found.begin_stream_seconds, found.average_fps
        starts = np.arange(found.num_frames) / fps
        self._half_frame = 0.5 / fps  # seconds: in its middle there is no doubt which frame is shown
        self.timeline = Timeline.build(starts, starts + 1 / fps, [0], fps)

    def read(self, index: int) -> np.ndarray:
        time = self._begin + self.timeline.starts[index] + self._half_frame
        try:
            shown = self._decoder.get_frame_played_at(float(time))
        except (RuntimeError, IndexError) as error:
            raise DecodeError(f"torchcodec cannot decode frame {index} ({first_line(error)})") from error
        return unwrap([shown.data])[0][0]


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
