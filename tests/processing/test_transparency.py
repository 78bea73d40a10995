"""Pictures with transparent parts, and animated ones: what they show can be seen."""

import io
import warnings
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tcd_hf.processing.heartbeat import count_beats
from tcd_hf.processing.transparency import on_ground
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tests.clips import coded_frame, read_code


def overlay(number, color, size=(64, 48)):
    """RGBA: the number in blocks of a color, on nothing."""
    blocks = coded_frame(number, size)[..., :1]
    return np.concatenate([np.full((*blocks.shape[:2], 3), color, np.uint8), blocks], axis=-1)


def overlays(count, color):
    return [overlay(number + 1, color) for number in range(count)]


def shown(video, inverted):
    """The numbers that are seen; dark blocks are on white, light ones on black."""
    with warnings.catch_warnings(), open_video(video) as opened:
        warnings.simplefilter("error")
        frames = opened.frames_at(opened.frame_times)
    assert all(frame.dtype == np.uint8 and frame.shape == (48, 64, 3) for frame in frames)
    return [read_code(255 - frame if inverted else frame) for frame in frames]


def write_beside(path, pictures, codec):
    """RGBA pictures in WebM, which keeps what is transparent beside them."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10, options={"auto-alt-ref": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("color", "inverted"), [(0, True), (60, True), (255, False), (200, False)])
class TestWhatIsOpaqueIsSeen:
    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
    def test_images(self, color, inverted, mode):
        images = [Image.fromarray(pixels).convert(mode) for pixels in overlays(5, color)]
        assert shown(images, inverted) == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("name", "codec", "pixel_format"),
        [
            ("a.webm", "libvpx-vp9", "yuva420p"),
            ("vp8.webm", "libvpx", "yuva420p"),
            ("a.mov", "prores_ks", "yuva444p10le"),
            ("png.mov", "png", "rgba"),
            ("a.mkv", "ffv1", "bgra"),
            ("a.apng", "apng", "rgba"),
        ],
    )
    def test_files(self, tmp_path, color, inverted, name, codec, pixel_format):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            options = {"auto-alt-ref": "0"} if codec.startswith("libvpx") else {}
            stream = container.add_stream(codec, rate=10, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
            for pixels in overlays(20, color):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
            container.mux(stream.encode())
        assert shown(path, inverted) == list(range(1, 21))
        if name.endswith(("webm", "mov", "mkv")):
            with pytest.raises(VideoReadError, match="decord leaves out what is transparent"):
                open_video(path, backend="decord")

    @pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
    def test_files_that_do_not_say_so(self, tmp_path, color, inverted, codec):
        path = write_beside(tmp_path / "a.webm", overlays(20, color), codec)
        data = path.read_bytes().replace(b"\x53\xc0\x81\1", b"\x53\xc0\x81\0")
        with av.open(io.BytesIO(data)) as container:
            assert "alpha_mode" not in container.streams.video[0].metadata
        assert shown(data, inverted) == list(range(1, 21))
        with pytest.raises(VideoReadError, match="decord leaves out what is transparent"):
            open_video(data, backend="decord")

    def test_animations(self, tmp_path, color, inverted):
        images = [Image.fromarray(pixels) for pixels in overlays(5, color)]
        for name, options in (("a.gif", {"disposal": 2}), ("a.webp", {"lossless": True})):
            path = tmp_path / name
            images[0].save(path, save_all=True, append_images=images[1:], duration=200, **options)
            assert shown(path, inverted) == [1, 2, 3, 4, 5], name


def test_that_no_decoder_knows_what_is_transparent_is_told(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["alpha_mode"] = "1"
        for number in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(coded_frame(number), format="rgb24")))
        container.mux(stream.encode())
    for backend in ("auto", "pyav"):
        with pytest.warns(UserWarning, match="what is transparent in it is shown as if it were not"):
            video = open_video(path, backend=backend)
        with video:
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(10))


def test_what_is_whole_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    assert np.array_equal(on_ground(pixels), pixels[..., :3])
    pixels[..., 3] = 0
    assert (on_ground(pixels) == 255).all()  # nothing is seen
    half = np.full((2, 2, 4), (40, 60, 80, 51), np.uint8)
    assert np.abs(on_ground(half)[0, 0].astype(int) - [212, 216, 220]).max() <= 1


class TestAnimatedWebP:
    @pytest.fixture
    def path(self, tmp_path):
        images = [Image.fromarray(coded_frame(number)) for number in range(6)]
        durations = [100, 300, 200, 100, 0, 100]
        images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=durations, lossless=True)
        return tmp_path / "a.webp"

    def test_that_it_goes_on_is_seen_while_it_is_opened(self, path):
        before = count_beats()
        with open_video(path):
            assert count_beats() - before >= 6

    @pytest.mark.parametrize("kind", ["path", "bytes", "file object"])
    @pytest.mark.parametrize("backend", ["auto", "decord", "pyav"])
    def test_frames_and_times(self, path, kind, backend):
        video = {"path": path, "bytes": path.read_bytes(), "file object": io.BytesIO(path.read_bytes())}[kind]
        with open_video(video, backend=backend) as opened:
            assert opened.frame_times == pytest.approx([0, 0.1, 0.4, 0.6, 0.7, 0.8])
            assert (opened.duration, opened.backend) == (pytest.approx(0.9), "pillow")
            times = [0.35, 0.05, 0.85, 5, 0.45, 0.65, 0.75]
            assert [read_code(frame) for frame in opened.iter_frames_at(times)] == [1, 0, 5, 5, 2, 3, 4]

    def test_a_still_picture_is_none(self, tmp_path):
        Image.fromarray(coded_frame(3)).save(tmp_path / "still.webp")
        with pytest.raises(VideoReadError, match=r"still\.webp.*still picture"):
            open_video(tmp_path / "still.webp")

    def test_a_broken_one_is_named(self, tmp_path, path):
        data = path.read_bytes()
        for content in (data[: len(data) // 2], data[:40], data[:12] + bytes(200)):
            (tmp_path / "broken.webp").write_bytes(content)
            with pytest.raises(VideoReadError, match=r"broken\.webp.*Pillow cannot"):
                open_video(tmp_path / "broken.webp")


@pytest.mark.parametrize("ending", ["gif", "apng"])
def test_animations_keep_their_times(tmp_path, ending):
    images = [Image.fromarray(coded_frame(number)) for number in range(6)]
    options = {} if ending == "gif" else {"format": "PNG"}
    path = tmp_path / f"a.{ending}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100, 300, 200, 100, 500, 400], **options)
    with open_video(path) as video:
        assert video.frame_times == pytest.approx([0, 0.1, 0.4, 0.6, 0.7, 1.2], abs=0.011)
        assert video.duration == pytest.approx(1.6, abs=0.011)
        assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(6))
