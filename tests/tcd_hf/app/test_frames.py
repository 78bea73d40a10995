import builtins

import av
import numpy as np
import pytest

from tcd_hf.app import frames
from tcd_hf.app.frames import frames_at
from tcd_hf.app.library import Clip
from tcd_hf.index.hits import Hit
from tcd_hf.processing.caption_drawing import draw_captions
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.processing.window_ocr import WindowCaption
from tests.clips import coded_frames, read_code, write_clip

TIMES = [0.0, 0.04, 0.1, 0.95, 1.0, 2.55, 3.999, 7.9, 8.0, 99.0]


def clip_of(path, seconds=8.0):
    return Clip("0" * 24, path.as_posix(), "hash", 1, 1, seconds, True)


@pytest.fixture
def sought(monkeypatch):
    """Every clip is long enough to be sought in; what is opened whole is noted."""
    opened = []
    monkeypatch.setattr(frames, "SOUGHT_SECONDS", 0.0)
    monkeypatch.setattr(
        frames, "open_video", lambda video, **options: opened.append(video) or open_video(video, **options)
    )
    return opened


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mkv", {}),
        ("late.mp4", {"start": 5.0}),
        ("turned.mp4", {"rotation": 90}),
        ("keys.mp4", {"keyframe_interval": 7}),
        ("uneven.mp4", {"pts": [place / 10 + 0.03 * (place % 3) for place in range(80)]}),
    ],
)
def test_a_frame_that_is_sought_is_the_one_that_is_read(tmp_path, sought, name, options):
    path = write_clip(tmp_path / name, coded_frames(80), fps=10, **options)
    found = list(frames_at(clip_of(path), TIMES, max_side=48))
    assert not [video for video in sought if isinstance(video, str)]
    with open_video(path) as video:
        expected = video.frames_at(TIMES, max_side=48)
    assert [frame.shape for frame in found] == [frame.shape for frame in expected]
    if "rotation" not in options:
        assert [read_code(frame) for frame in found] == [read_code(frame) for frame in expected]
    assert np.abs(np.stack(found).astype(int) - np.stack(expected)).max() <= 2


def test_what_cannot_be_sought_is_read_whole(tmp_path, sought):
    stream = write_clip(tmp_path / "bare.h264", coded_frames(80), fps=10)
    assert [read_code(frame) for frame in frames_at(clip_of(stream), [0.0, 2.5], 64)] == [
        0,
        62,
    ]  # a bare stream: 25 frames a second
    assert sought == [stream.as_posix()]
    with pytest.raises(VideoReadError, match="no such file"):
        list(frames_at(clip_of(tmp_path / "lost.mp4"), [1.0], 64))


@pytest.mark.parametrize("name", ["joined.ts", "joined.mkv", "old.avi"])
def test_where_the_clock_is_not_that_of_the_video_it_is_read_whole(tmp_path, sought, name):
    parts = [write_clip(tmp_path / f"{start}{name}", coded_frames(40, start=start), fps=10) for start in (0, 40)]
    path = tmp_path / name
    if name == "old.avi":  # of decoding
        write_clip(path, coded_frames(80), fps=10, options={"bf": "3"})
    else:  # it starts again
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found = list(frames_at(clip_of(path), [0.05, 1.55, 4.05, 6.25], max_side=48))
    assert [read_code(frame) for frame in found] == [0, 15, 40, 62]
    assert sought == [path.as_posix()]


def test_without_pyav_files_are_read_whole(tmp_path, sought, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", coded_frames(80), fps=10)
    imported = builtins.__import__

    def without_av(name, *args, **options):
        if name.partition(".")[0] == "av":
            raise ImportError(name)
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_av)
    assert [read_code(frame) for frame in frames_at(clip_of(path), [1.0], 64)] == [10]
    assert sought == [path.as_posix()]


def test_a_short_clip_is_read_whole(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", coded_frames(80), fps=10)
    assert [read_code(frame) for frame in frames_at(clip_of(path), TIMES[:6], 64)] == [0, 0, 1, 9, 10, 25]


def test_decord_is_not_let_near_a_page_that_is_to_go_on(tmp_path, no_decord):
    path = write_clip(tmp_path / "clip.mp4", coded_frames(20), fps=10)
    assert [read_code(frame) for frame in frames_at(clip_of(path, 2.0), [0.5, 1.5], max_side=48)] == [5, 15]


@pytest.mark.parametrize("sought_from", [0.5, 120.0])
def test_what_was_indexed_is_shown_whatever_the_size_of_its_frames(tmp_path, monkeypatch, sought_from):
    monkeypatch.setattr(frames, "SOUGHT_SECONDS", sought_from)
    path, size = tmp_path / "wall.mkv", 8200  # of more than 2^26 pixels
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1, width=size, height=size, pix_fmt="yuvj420p")
        frame = av.VideoFrame.from_ndarray(np.full((size * 3 // 2, size), 128, np.uint8), format="yuvj420p")
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(VideoReadError, match="max_pixels"):
        open_video(path)
    (shown,) = frames_at(clip_of(path, 1.0), [0.0], max_side=48)
    assert shown.shape == (48, 48, 3)
    hit = Hit(str(path), 0.5, 0.1, 0.2, 0.3, 0.4, 0.0, 1.0)
    assert hit.draw(max_side=48).size == (48, 48)
    assert draw_captions(str(path), [WindowCaption(0.0, 1.0)], tile_width=48).width > 48
