import gc
import io
import itertools
import math
import multiprocessing
import os
import sys
import warnings
import weakref
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tcd_hf.processing import video_decoders
from tcd_hf.processing.video_reading import Video, VideoReadError, open_video
from tests.clips import coded_frame, coded_frames, read_code, text_clip, write_audio, write_clip

BACKENDS = ["auto", "decord", "pyav"]


def noise_frames(count, size=(128, 96)):
    """Frames that do not compress, so that bytes of the file map to frames."""
    return [np.random.default_rng(i).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for i in range(count)]


def codes_at(video, times, **options):
    with open_video(video, num_threads=1, **options) as opened:
        return [read_code(frame) for frame in opened.frames_at(times)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder):
    """40 numbered frames at 10 a second, a keyframe every 8."""
    return write_clip(folder / "clip.mp4", coded_frames(40), fps=10, keyframe_interval=8)


@pytest.fixture(scope="module")
def noise(folder):
    return write_clip(folder / "noise.mp4", noise_frames(40), fps=10, keyframe_interval=10, faststart=True)


@pytest.fixture(scope="module")
def truncated(folder, noise):
    path = folder / "truncated.mp4"
    path.write_bytes(noise.read_bytes()[: noise.stat().st_size * 6 // 10])
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_frame_on_screen_at_a_time(clip, backend):
    with open_video(clip, backend=backend) as video:
        assert (video.num_frames, video.name) == (40, str(clip))
        assert video.backend == ("pyav" if backend == "pyav" else "decord")
        assert video.duration == pytest.approx(4.0, abs=1e-5)
        assert video.fps == pytest.approx(10.0, abs=1e-4)
    # Frame 3 appears at 0.3 and still shows at 0.398.
    times = [-1, 0, 0.05, 0.3, 0.398, 0.4, 2.55, 3.9, 4.0, 1e6, math.inf]
    assert codes_at(clip, times, backend=backend) == [0, 0, 0, 3, 3, 4, 25, 39, 39, 39, 39]


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_order_of_times(clip, backend):
    numbers = np.random.default_rng(0).permutation(40)
    assert codes_at(clip, [number / 10 + 0.05 for number in numbers], backend=backend) == list(numbers)


@pytest.mark.parametrize("backend", BACKENDS)
def test_variable_frame_rate(folder, backend):
    path = write_clip(folder / "vfr.mp4", coded_frames(6), pts=[1.0, 1.1, 1.15, 1.8, 2.6, 2.7])
    # Time 0 is the first frame's appearance, also where the file starts its clock later.
    times = [0, 0.12, 0.16, 0.79, 0.81, 1.59, 1.61, 1.71, 5]
    assert codes_at(path, times, backend=backend) == [0, 1, 2, 2, 3, 3, 4, 5, 5]


@pytest.mark.parametrize("backend", ["auto", "pyav"])
@pytest.mark.parametrize(
    ("name", "start"),
    [("late.mkv", 5e3), ("day.mkv", 9e4), ("day.ts", 9e4), ("clock.mp4", 1.7e9), ("clock.mkv", 1.7e9)],
)
def test_clocks_that_start_late(folder, name, start, backend):
    times = np.arange(60) / 30
    path = write_clip(folder / name, coded_frames(60), fps=30, start=start, keyframe_interval=20)
    with open_video(path, backend=backend) as video:
        assert video.backend == ("decord" if (backend, start) == ("auto", 5e3) else "pyav")
        assert video.duration == pytest.approx(2.0, abs=2e-3)
        assert [read_code(frame) for frame in video.frames_at(times + 0.01)] == list(range(60))
    if start > 5e3:
        with pytest.raises(VideoReadError, match=r"decord .*'auto' or 'pyav'"):
            open_video(path, backend="decord")


def test_clock_that_leaps(folder):
    path = write_clip(folder / "leap.mkv", coded_frames(3), pts=[0, 0.1, 1e8])
    assert codes_at(path, [0.05, 0.15, 9e7, 1.1e8]) == [0, 1, 1, 2]


def test_late_clock_without_pyav(folder, monkeypatch):
    path = write_clip(folder / "late.mp4", coded_frames(10), start=1.7e9)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoReadError, match=r"times as late.*pip install av"):
        open_video(path)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_honoured(folder, rotation):
    path = write_clip(folder / f"rotated{rotation}.mp4", coded_frames(12, (320, 240)), rotation=rotation)
    decord, pyav = (open_video(path, backend=backend).frames_at([0.75])[0] for backend in ("decord", "pyav"))
    assert decord.shape == ((320, 240, 3) if abs(rotation) == 90 else (240, 320, 3))
    assert np.array_equal(decord, pyav)
    assert read_code(np.rot90(decord, -rotation // 90)) == 7  # turned back, the stored frame


def test_narrow_rotated_clip_that_decord_mangles(folder):
    path = write_clip(folder / "narrow.mp4", coded_frames(12), rotation=90)
    frame = open_video(path).frames_at([0.75])[0]
    assert frame.shape == (64, 48, 3)
    assert read_code(np.rot90(frame, -1)) == 7


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", {"keyframe_interval": 8}),
        ("long_gop.mp4", {"fps": 29.97}),
        ("odd.mp4", {"size": (65, 49)}),
        ("one.mp4", {"count": 1}),
        ("turned.mp4", {"rotation": 90, "size": (320, 240)}),
        ("uneven.mp4", {"pts": np.cumsum(np.arange(30) % 4 + 1) / 20, "keyframe_interval": 7}),
        ("av1.mp4", {"codec": "libsvtav1", "options": {"preset": "12"}}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("h264.mkv", {"keyframe_interval": 8}),
        ("mpeg4.avi", {"codec": "mpeg4", "keyframe_interval": 8}),
    ],
)
def test_readers_are_bit_equal(folder, name, options):
    options = dict(options)
    frames = coded_frames(options.pop("count", 30), options.pop("size", (64, 48)))
    path = write_clip(folder / f"equal_{name}", frames, **options)
    with open_video(path, backend="decord", num_threads=1) as decord, open_video(path, backend="pyav") as pyav:
        assert (decord.num_frames, pyav.num_frames) == (len(frames), len(frames))
        assert decord.duration == pytest.approx(pyav.duration, abs=1e-5)
        times = np.arange(0, decord.duration + 0.2, 0.07)
        for max_side in (None, 40):
            for one, other in zip(decord.frames_at(times, max_side), pyav.frames_at(times, max_side), strict=True):
                assert np.array_equal(one, other)


class TestLongFiles:
    """PyAV stands in for decord where a file would not fit in memory."""

    @pytest.mark.parametrize("name", ["long.mp4", "long.mkv"])
    @pytest.mark.parametrize("fps", [24000 / 1001, 25, 30000 / 1001])
    @pytest.mark.parametrize("backend", ["auto", "decord"])
    def test_they_are_read_as_by_decord(self, folder, monkeypatch, name, fps, backend):
        path = write_clip(folder / f"{fps:.0f}_{name}", coded_frames(60), fps=fps)
        times = np.arange(0, 60 / fps + 0.2, 0.07)
        with open_video(path, backend=backend, num_threads=1) as video:
            assert video.backend == "decord"
            starts, duration, frames = video.frame_times, video.duration, video.frames_at(times)
        monkeypatch.setattr(video_decoders, "LOOK_AHEAD_BYTES", 59 * 64 * 48 * 3)
        with open_video(path, backend=backend, num_threads=1) as video:
            assert video.backend == "pyav"
            assert np.array_equal(video.frame_times, starts) and video.duration == duration
            for frame, other in zip(video.frames_at(times), frames, strict=True):
                assert np.array_equal(frame, other)

    def test_a_header_that_lies_does_not_help(self, folder, monkeypatch):
        path = write_clip(folder / "lying.mkv", coded_frames(60), fps=10)
        monkeypatch.setattr(video_decoders, "LOOK_AHEAD_BYTES", 59 * 64 * 48 * 3)
        monkeypatch.setattr(video_decoders, "fits_in_memory", lambda container, stream: True)
        with open_video(path, num_threads=1) as video:
            assert video.backend == "pyav" and video.num_frames == 60


@pytest.mark.parametrize("name", ["stream.ts", "bare.h264", "old.mpg", "flash.flv"])
def test_containers_without_a_full_index(folder, name):
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    path = write_clip(folder / name, coded_frames(40), fps=25, codec=codec, keyframe_interval=8)
    numbers = [0, 3, 17, 39, 20, 8]
    assert codes_at(path, [number / 25 + 0.01 for number in numbers]) == numbers
    with pytest.raises(VideoReadError, match="decord can return wrong frames"):
        open_video(path, backend="decord")


def test_fragmented_mp4_is_left_to_pyav(folder):
    path = folder / "fragmented.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 64, 48, "yuv420p", 8
        for frame in coded_frames(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    numbers = [31, 7, 8, 0, 39, 15, 16]
    assert codes_at(path, [number / 10 + 0.05 for number in numbers]) == numbers
    assert open_video(path).backend == "pyav"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["str", "path", "bytes", "bytesio", "file"])
def test_kinds_of_input(clip, kind, backend):
    with clip.open("rb") as file:
        file.read(100)  # wherever the file object stands
        video = {
            "str": str(clip),
            "path": clip,
            "bytes": clip.read_bytes(),
            "bytesio": io.BytesIO(clip.read_bytes()),
            "file": file,
        }[kind]
        assert codes_at(video, [0, 1.25, 3.95, 0.5], backend=backend) == [0, 12, 39, 5]
        assert not file.closed


@pytest.mark.skipif(os.name == "nt", reason="names cannot hold a colon")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["file:a.mp4", "http:a.mp4", "concat:a.mp4|b.mp4", "subfile,,start,9,end,0,,:a.mp4"])
def test_names_that_look_like_protocols(clip, tmp_path, monkeypatch, name, backend):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(clip.read_bytes())
    assert codes_at(name, [1.25, 3.95], backend=backend) == [12, 39]
    assert open_video(name, backend=backend).name == name


def test_metadata_that_makes_no_sense(folder):
    path = write_clip(folder / "metadata.mkv", coded_frames(10), title="cafX")
    data = path.read_bytes().replace(b"cafX", b"caf\xe9").replace(b"00:00:01.00", b"00:00:1.0.0")
    assert b"caf\xe9" in data and b"00:00:1.0.0" in data
    for backend in BACKENDS:
        assert codes_at(data, [0.55], backend=backend) == [5]


def test_arrays_and_images():
    frames = coded_frames(8)
    with open_video(np.stack(frames), fps=4) as video:
        assert (video.duration, video.fps, video.num_frames, video.backend) == (2.0, 4.0, 8, "memory")
        assert [read_code(frame) for frame in video.frames_at([0, 0.25, 0.6, 9])] == [0, 1, 2, 7]
    with open_video([Image.fromarray(frame).convert("RGBA") for frame in frames]) as video:
        assert (video.duration, video.fps) == (8.0, 1.0)
        assert all(map(np.array_equal, video.frames_at(range(8)), frames))
    assert open_video(video) is video


def test_reduction_keeps_the_aspect_and_never_enlarges(folder):
    path = write_clip(folder / "wide.mp4", text_clip([("OPEN", 0, 1)], 1.0, size=(320, 180)))
    with open_video(path) as video:
        full, half, large, thin = (video.frames_at([0.5], side)[0] for side in (None, 160, 1000, 1))
    assert (full.shape, half.shape, thin.shape) == ((180, 320, 3), (90, 160, 3), (1, 1, 3))
    assert np.array_equal(large, full)
    boxes = full.reshape(90, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - boxes).mean() < 2  # bicubic is close to the mean of 2 x 2 pixels


def test_fewer_frames_than_asked(folder):
    path = write_clip(folder / "single.mp4", [coded_frame(9)])
    with open_video(path) as video:
        times = [(i + 0.5) * video.duration / 12 for i in range(12)]
        assert [read_code(frame) for frame in video.frames_at(times)] == [9] * 12


def test_seeking_touches_few_frames(folder, monkeypatch):
    path = write_clip(folder / "long.mp4", coded_frames(400), keyframe_interval=20, options={"bf": "0"})
    decoded = counted_frames(monkeypatch)
    assert codes_at(path, [0.05, 10.05, 10.15, 10.35, 38.25], backend="pyav") == [0, 100, 101, 103, 382]
    assert decoded == [0, 100, 101, 102, 103, 380, 381, 382]


def test_frames_that_no_other_is_made_of_are_passed_over(folder, monkeypatch):
    two_between = {"bf": "2", "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
    path = write_clip(folder / "between.mp4", coded_frames(100), keyframe_interval=20, options=two_between)
    decoded = counted_frames(monkeypatch)
    numbers = [2, 5, 6, 13, 14, 17, 38, 61, 62, 75, 99]
    assert codes_at(path, [number / 10 + 0.05 for number in numbers], backend="pyav") == numbers
    assert set(numbers) <= set(decoded) and len(decoded) < 60
    # And those passed over are there when they are asked for.
    assert codes_at(path, [9.95, 1.65, 1.55, 1.45, 1.75], backend="pyav") == [99, 16, 15, 14, 17]


@pytest.mark.parametrize(
    ("name", "codec"), [("late.mp4", "libx264"), ("late_av1.mp4", "libsvtav1"), ("late.webm", "libvpx-vp9")]
)
def test_the_first_frame_wanted_is_a_late_one(folder, name, codec):
    """Some decoders ask only once, when they are opened, what to pass over."""
    options = {"preset": "12"} if codec == "libsvtav1" else {}
    path = write_clip(folder / name, coded_frames(40), fps=10, codec=codec, options=options)
    times = [number / 10 + 0.05 for number in range(40)]
    with open_video(path, backend="pyav") as video:
        frames = video.frames_at(times)
    for late in ([23, 24, 25, 27, 30, 39], [1], [38]):
        with open_video(path, backend="pyav") as video:
            for number, frame in zip(late, video.frames_at([times[number] for number in late]), strict=True):
                assert np.array_equal(frame, frames[number])


def counted_frames(monkeypatch):
    """The numbers of all frames that PyAV decodes from now on."""
    decoded, frames = [], video_decoders.PyAVDecoder.decoded_frames
    counting = lambda self: (decoded.append(index) or (index, frame) for index, frame in frames(self))  # noqa: E731
    monkeypatch.setattr(video_decoders.PyAVDecoder, "decoded_frames", counting)
    return decoded


@pytest.mark.parametrize("backend", ["decord", "pyav"])
def test_only_a_few_full_frames_are_in_memory(folder, backend, monkeypatch):
    path = write_clip(folder / f"large_{backend}.mp4", coded_frames(60, (640, 360)), options={"preset": "ultrafast"})
    decoder = {"decord": video_decoders.DecordDecoder, "pyav": video_decoders.PyAVDecoder}[backend]
    full_size, alive, read = [], [], decoder.read

    def watched_read(self, index):
        frame = read(self, index)
        full_size.append(weakref.ref(frame))
        alive.append(sum(reference() is not None for reference in full_size))
        return frame

    monkeypatch.setattr(decoder, "read", watched_read)
    with open_video(path, backend=backend, num_threads=1) as video:
        frames = video.frames_at([index / 10 for index in range(60)], max_side=64)
    assert [read_code(frame) for frame in frames] == list(range(60))
    assert all(frame.shape == (36, 64, 3) and frame.flags.owndata and frame.flags.writeable for frame in frames)
    assert len(alive) == 60 and max(alive) <= 2


def test_missing_decord_falls_back(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with open_video(clip) as video:
        assert video.backend == "pyav"
        assert read_code(video.frames_at([1.0])[0]) == 10
    with pytest.raises(ImportError, match="pip install decord2"):
        open_video(clip, backend="decord")


def test_decord_bridge_of_the_user_does_not_matter(clip):
    decord = pytest.importorskip("decord")
    decord.bridge.set_bridge("torch")
    try:
        frame = open_video(clip, backend="decord").frames_at([1.0])[0]
    finally:
        decord.bridge.reset_bridge()
    assert isinstance(frame, np.ndarray)
    assert read_code(frame) == 10


def test_missing_pyav_leaves_decord(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert codes_at(clip, [1.0, 0.2], backend="auto") == [10, 2]
    with pytest.raises(ImportError, match="pip install av"):
        open_video(clip, backend="pyav")


def test_broken_file_without_pyav_is_a_broken_file(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoReadError, match=r"decord cannot open it.*after `pip install av`"):
        open_video(np.random.default_rng(0).bytes(5000))


class Wrapper:
    """Stands in for a container, packet or frame, with some of its methods replaced."""

    def __init__(self, wrapped, **methods):
        self.__dict__.update(methods, wrapped=wrapped)

    def __getattr__(self, name):
        return getattr(self.wrapped, name)


def not_permitted(*args, **kwargs):
    raise av.error.PermissionError(1, "Operation not permitted")


def change_containers(monkeypatch, **replacements):
    """Lets PyAV open containers some of whose methods are replaced by functions of container and arguments."""
    open_container = video_decoders.open_container

    def open_changed(source, *options):
        container, stream = open_container(source)
        return Wrapper(container, **{name: partial(each, container) for name, each in replacements.items()}), stream

    monkeypatch.setattr(video_decoders, "open_container", open_changed)


def test_refused_seek_reads_from_the_start(clip, monkeypatch):
    change_containers(monkeypatch, seek=not_permitted)
    with warnings.catch_warnings(), open_video(clip, backend="pyav") as video:
        warnings.simplefilter("error")
        assert [read_code(frame) for frame in video.frames_at([2.05, 3.55, 0.85, 1.05])] == [20, 35, 8, 10]


def test_failing_demuxer_is_read_as_far_as_it_goes(clip, monkeypatch):
    looks = itertools.count()

    def demux(container, stream):
        is_first = next(looks) == 0  # which reads the times of all frames
        for packet in container.demux(stream):
            if not is_first and packet.pts is not None and packet.pts * packet.time_base >= 2:
                not_permitted()
            yield packet

    change_containers(monkeypatch, demux=demux)
    message = r"as far as it goes: it breaks off \(Operation not permitted"
    with open_video(clip, backend="pyav", num_threads=1) as video, pytest.warns(UserWarning, match=message):
        codes = [read_code(frame) for frame in video.frames_at([0.55, 3.55])]
    assert codes[0] == 5 and 10 <= codes[1] <= 19


def test_frame_that_cannot_be_converted(clip, monkeypatch):
    def demux(container, stream):
        for packet in container.demux(stream):
            yield Wrapper(packet, decode=lambda packet=packet: [unreadable(frame) for frame in packet.decode()])

    def unreadable(frame):
        return Wrapper(frame, to_ndarray=not_permitted)

    change_containers(monkeypatch, demux=demux)
    message = r"clip\.mp4.*frame 5 cannot be decoded \(Operation not permitted"
    with open_video(clip, backend="pyav") as video, pytest.raises(VideoReadError, match=message):
        video.frames_at([0.55])


class FailingFile(io.BytesIO):
    """A file on a disk that goes away after `reads` reads."""

    reads = sys.maxsize

    def read(self, size=-1):
        self.reads -= 1
        if self.reads < 0:
            raise OSError(5, "the disk went away")
        return super().read(size)


@pytest.mark.filterwarnings("ignore:The video")
def test_file_objects_that_fail(clip, noise):
    for backend in BACKENDS:
        for reads in (0, 1):
            file = FailingFile(clip.read_bytes())
            file.reads = reads
            with pytest.raises(VideoReadError, match=r"<file object>.*the disk went away"):
                open_video(file, backend=backend)
        file = io.BytesIO(clip.read_bytes())
        file.close()
        with pytest.raises(VideoReadError, match=r"<file object>.*closed"):
            open_video(file, backend=backend)
    file = FailingFile(noise.read_bytes())
    with open_video(file, backend="pyav") as video:
        file.reads = 0
        with pytest.raises(VideoReadError, match="the disk went away"):
            video.frames_at([1.0])


def test_refused_files_are_given_back(folder, clip, monkeypatch):
    late = write_clip(folder / "given_back.mkv", coded_frames(5), start=9e4)
    stream = write_clip(folder / "given_back.ts", coded_frames(5))
    unknown = folder / "given_back.mp4"
    unknown.write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    opened, real_open = [], av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: opened.append(real_open(*args, **options)) or opened[-1])
    for path in (late, stream, unknown, clip):
        if path == clip:
            monkeypatch.setitem(sys.modules["decord"].__dict__, "VideoReader", not_permitted)
        with pytest.raises(VideoReadError):
            open_video(path, backend="decord")
    monkeypatch.setattr(video_decoders.PyAVDecoder, "packets", lambda self: iter(()))
    with pytest.raises(VideoReadError, match="no frames"):
        open_video(clip, backend="pyav")
    assert len(opened) == 6  # an MP4 without frames once more, without its edit list
    for container in opened:
        with pytest.raises(AssertionError, match="not open"):
            container.seek(0)


def test_decord_failing_half_way_falls_back(clip, monkeypatch):
    read = video_decoders.DecordDecoder.read

    def fails_later(self, index):
        if index > 10:
            raise video_decoders.DecodeError("decord gave up")
        return read(self, index)

    monkeypatch.setattr(video_decoders.DecordDecoder, "read", fails_later)
    with open_video(clip) as video:
        frames = video.iter_frames_at([0.5, 1.0, 1.1, 3.0])
        assert [read_code(next(frames)), read_code(next(frames)), video.backend] == [5, 10, "decord"]
        assert [read_code(next(frames)), read_code(next(frames)), video.backend] == [11, 30, "pyav"]
    with pytest.raises(VideoReadError, match=r"decord gave up.*backend='auto'"):
        codes_at(clip, [3.0], backend="decord")


@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_truncated_file_is_read_as_far_as_it_goes(noise, truncated, backend):
    with pytest.warns(UserWarning, match=r"truncated\.mp4.*cut off") as caught:
        video = open_video(truncated, backend=backend)
        times = np.arange(0.05, 4, 0.1)
        frames = video.frames_at(times)
    assert len(caught) == 1
    assert 20 <= video.num_frames < 30
    assert 2.0 <= video.duration < 3.0
    whole = open_video(noise).frames_at(times)
    readable = [np.array_equal(*pair) for pair in zip(frames, whole, strict=True)]
    assert readable == sorted(readable, reverse=True)
    assert 20 <= sum(readable) <= video.num_frames
    assert all(np.array_equal(frame, frames[-1]) for frame in frames[video.num_frames :])


def test_truncated_matroska_warns(folder):
    whole = write_clip(folder / "whole.mkv", noise_frames(40), keyframe_interval=10).read_bytes()
    with pytest.warns(UserWarning, match=r"<bytes>.*cut off"):
        video = open_video(whole[: len(whole) * 6 // 10])
    assert video.duration < 3.0


def test_flipped_bits_lose_some_frames_only(folder, noise, capfd):
    data = bytearray(noise.read_bytes())
    for position in range(len(data) // 2, len(data) // 2 + 3000, 7):
        data[position] ^= 0x55
    path = folder / "flipped.mp4"
    path.write_bytes(data)
    times = np.arange(0.05, 4, 0.1)
    with pytest.warns(UserWarning, match="cannot be decoded") as caught:
        frames = open_video(path).frames_at(times)
    assert len(caught) == 1
    equal = [np.array_equal(*pair) for pair in zip(frames, open_video(noise).frames_at(times), strict=True)]
    assert all(equal[:15]) and not all(equal) and all(equal[35:])
    assert capfd.readouterr() == ("", "")  # neither FFmpeg nor decord writes to the terminal


def test_intact_files_do_not_warn(clip, folder):
    later = write_clip(folder / "later.mkv", coded_frames(30), pts=1 + np.arange(30) / 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for backend in BACKENDS:
            assert codes_at(clip, [3.95], backend=backend) == [39]
            assert codes_at(later, [2.95], backend=backend) == [29]


def broken_files(folder: Path, noise: Path):
    plain = write_clip(folder / "plain.mp4", noise_frames(10)).read_bytes()
    contents = {
        "empty.mp4": (b"", "empty"),
        "random.mp4": (np.random.default_rng(0).bytes(5000), "no video"),
        "words.mp4": (b"hello world\n" * 50, "text file"),
        "words.txt": (b"hello world\n" * 50, "text file"),
        "list.m3u8": (b"#EXTM3U\n#EXTINF:4,\nclip.mp4\n", "text file"),
        "cut.mp4": (plain[: len(plain) // 2], "moov"),
        "header.mp4": (noise.read_bytes()[:4000], "readable|decoded|frames"),
    }
    for name, (content, cause) in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name, cause
    with av.open(str(folder / "none.mp4"), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    yield folder / "none.mp4", "no frames|decord cannot open"
    yield write_audio(folder / "sound.mp4"), "no video stream"
    (folder / "codec.mp4").write_bytes(plain.replace(b"avc1", b"zzzz"))
    yield folder / "codec.mp4", "codec"
    yield folder / "missing.mp4", "no such file"
    yield folder, "folder"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:The video")
def test_unreadable_files(tmp_path, noise, backend, capfd):
    files = list(broken_files(tmp_path, noise))
    capfd.readouterr()
    for path, cause in files:
        with pytest.raises(VideoReadError, match=cause) as caught:
            open_video(path, backend=backend).frames_at([0.0])
        assert str(path) in str(caught.value), path
    assert issubclass(VideoReadError, ValueError)
    assert capfd.readouterr() == ("", "")


def test_broken_bytes_are_named():
    with pytest.raises(VideoReadError, match=r"<bytes>.*empty"):
        open_video(b"")
    with pytest.raises(VideoReadError, match=r"'a\\x00b'.*no path"):
        open_video("a\0b")


@pytest.mark.parametrize("video", [None, 3, io.StringIO("text"), [np.zeros((4, 4, 3)), "text"]])
def test_wrong_types(video):
    with pytest.raises(TypeError, match="PIL images"):
        open_video(video)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 4, 3), np.int32)]
)
def test_wrong_arrays(array):
    with pytest.raises(ValueError, match=r"\(frames, height, width, 3\)"):
        open_video(array)


def test_wrong_options(clip):
    with pytest.raises(VideoReadError, match="no frames"):
        open_video([])
    with pytest.raises(ValueError, match="opencv"):
        open_video(clip, backend="opencv")
    with pytest.raises(TypeError, match=r"`num_threads`.*'1'"):
        open_video(clip, num_threads="1")
    with pytest.raises(TypeError, match=r"`fps`.*'3'"):
        open_video([Image.new("RGB", (4, 4))], fps="3")
    with pytest.raises(ValueError, match="-1"):
        open_video(clip, num_threads=-1)
    with pytest.raises(ValueError, match="its own"):
        open_video(clip, fps=5)
    with pytest.raises(ValueError, match="positive"):
        open_video(np.zeros((1, 4, 4, 3), np.uint8), fps=0)
    video = open_video(clip)
    assert isinstance(video, Video)
    with pytest.raises(ValueError, match="nan"):
        video.frames_at([math.nan])
    with pytest.raises(ValueError, match="max_side"):
        video.frames_at([0], max_side=0)
    video.close()
    with pytest.raises(ValueError, match="closed"):
        video.frames_at([0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_a_forked_process_survives_the_garbage_of_readers(tmp_path):
    path = tmp_path / "a.mp4"
    write_clip(path, coded_frames(8, size=(64, 48)), fps=8)
    gc.collect()
    gc.disable()  # so that what follows is garbage when the process forks
    try:
        for _ in range(3):
            with open_video(path, backend="pyav", num_threads=2) as video:
                video.frames_at([0.0, 0.5])
        worker = multiprocessing.get_context("fork").Process(target=gc.collect)
        worker.start()
        worker.join(20)
        hangs = worker.is_alive()
        worker.kill()
    finally:
        gc.enable()
    assert not hangs
