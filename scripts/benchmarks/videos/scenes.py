"""Videos of full size, to be decoded: a moving camera, grain and moving text."""

from pathlib import Path

import numpy as np

__all__ = ["FPS", "repeat_video", "write_scene"]

FPS = 25
BITS_PER_PIXEL = 0.11


def write_scene(path: Path, size: tuple[int, int], seconds: float) -> None:
    """A video with a moving camera, grain and moving text, H.264 (libx264, veryfast), 25 fps, 2.5 Mbit/s at 720p."""
    import av
    from PIL import Image, ImageDraw, ImageFont

    width, height = size
    rng = np.random.default_rng(0)
    scene = sum(  # detail of all sizes
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (9 * scale, 32 * scale, 3), np.uint8)).resize(
                (2 * width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        / (2 * scale**0.5)
        for scale in (1, 4, 16, 64)
    )
    scene = (scene * (235 / scene.max())).astype(np.int16)
    grain = [rng.normal(0, 4, (height, width, 1)).astype(np.int16) for _ in range(8)]
    font = ImageFont.load_default(max(8, height // 12))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.bit_rate = round(BITS_PER_PIXEL * FPS * width * height)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(FPS * seconds)):
            left = abs((2 * number) % (2 * width) - width)  # to and fro
            pixels = (scene[:, left : left + width] + grain[number % len(grain)]).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels)
            draw = ImageDraw.Draw(image)
            for line in range(4):
                place = ((number * (line + 1)) % width, height * (line + 0.5) / 4)
                draw.text(place, f"Line {line} of {number // (2 * FPS)}", "white", font)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def repeat_video(piece: Path, path: Path, times: int) -> None:
    """A video that shows another several times over, by copying its packets: nothing is encoded."""
    import av

    with av.open(str(path), "w") as target:
        stream = None
        length = 0
        for number in range(times):
            with av.open(str(piece)) as source:
                origin = source.streams.video[0]
                stream = stream or target.add_stream_from_template(origin)
                length = length or round(origin.frames / origin.average_rate / origin.time_base)
                for packet in source.demux(origin):
                    if packet.dts is None:
                        continue  # the empty one at the end
                    packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                    packet.stream = stream
                    target.mux(packet)
