"""Which of several videos in a file is read, and that covers are none."""

import warnings

import av
import pytest
from av.stream import Disposition

from tcd_hf.processing.video_reading import VideoReadError, open_video
from tests.clips import coded_frame, coded_frames, read_code, write_audio


def write_streams(path, *streams, cover_at=None, default=None):
    """A file with several videos: `(size, first number)` of each; one may be a cover, one the default."""
    with av.open(str(path), "w") as container:
        encoders = []
        for number, (size, _) in enumerate(streams):
            is_cover = number == cover_at
            stream = container.add_stream("mjpeg" if is_cover else "libx264", rate=10)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if is_cover else "yuv420p"
            stream.disposition = (
                Disposition.attached_pic if is_cover else Disposition.default if number == default else Disposition(0)
            )
            encoders.append(stream)
        for number, (size, first) in enumerate(streams):
            for frame in coded_frames(1 if number == cover_at else 20, size, first):
                container.mux(encoders[number].encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for stream in encoders:
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_the_largest_is_read_and_the_others_are_named(tmp_path, name, backend):
    path = write_streams(tmp_path / name, ((64, 48), 100), ((128, 96), 0), ((96, 64), 200))
    message = r"is read in part: its video stream 1 \(128x96\) is read, not 0 \(64x48\), 2 \(96x64\)"
    with pytest.warns(UserWarning, match=message) as caught, open_video(path, backend=backend) as video:
        assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(20))
    assert len(caught) == 1
    if not name.endswith("ts"):
        with pytest.raises(VideoReadError, match="chooses for itself"):
            open_video(path, backend="decord")


def test_of_equals_the_default_is_read_else_the_first(tmp_path):
    streams = ((64, 48), 100), ((64, 48), 0)
    for default, first in ((None, 100), (0, 100), (1, 0)):
        path = write_streams(tmp_path / f"{default}.mkv", *streams, default=default)
        with pytest.warns(UserWarning, match="in part"), open_video(path) as video:
            assert read_code(video.frames_at([0.0])[0]) == first


@pytest.mark.parametrize("cover_at", [0, 1])
def test_a_cover_is_no_video_however_large(tmp_path, cover_at):
    streams = [((64, 48), 0), ((64, 48), 0)]
    streams[cover_at] = ((640, 480), 999)
    path = write_streams(tmp_path / "a.mp4", *streams, cover_at=cover_at)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    for backend in ("auto", "decord", "pyav"):
        with warnings.catch_warnings(), open_video(path, backend=backend) as video:
            warnings.simplefilter("error")
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(20))


def test_sound_with_a_cover_has_no_video(tmp_path):
    sound, path = write_audio(tmp_path / "sound.m4a"), tmp_path / "cover.m4a"
    with av.open(str(sound)) as source, av.open(str(path), "w", format="mp4") as container:
        copy = container.add_stream_from_template(source.streams.audio[0])
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        for packet in source.demux():
            if packet.size:
                packet.stream = copy
                container.mux(packet)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(coded_frame(3), format="rgb24")))
        container.mux(cover.encode())
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    for backend in ("auto", "decord", "pyav"):
        with pytest.raises(VideoReadError, match="no video stream"):
            open_video(path, backend=backend)
