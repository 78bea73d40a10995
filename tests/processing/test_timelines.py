"""All frames of a file, in order, on one axis of times, whatever its clock says."""

import io
import warnings
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from tcd_hf.processing.interlacing import first_fields
from tcd_hf.processing.joined_files import PIECE, second_file_in
from tcd_hf.processing.timelines import fill_gaps, join_parts
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tests.clips import coded_frame, coded_frames, read_code, text_frame, write_clip
from tests.interlaced import write_fields, write_hevc_fields

# Containers by FFmpeg's names, some codecs that they hold, and whether all frames of two joined files are read.
CONTAINERS = {
    **dict.fromkeys(["mpegts", "mpeg", "vob", "dvd", "svcd", "vcd"], (["libx264", "mpeg2video", "libx265"], True)),
    "avi": (["mpeg4", "libx264", "mjpeg"], True),
    "matroska": (["libx264", "mpeg4", "libvpx"], True),
    "webm": (["libvpx", "libvpx-vp9"], True),
    "ogg": (["libvpx"], True),
    "ogv": (["libvpx"], True),
    "gif": (["gif"], True),
    "h264": (["libx264"], True),
    "hevc": (["libx265"], True),
    "m4v": (["mpeg4"], True),
    "mpeg1video": (["mpeg1video"], True),
    "mpeg2video": (["mpeg2video"], True),
    "mjpeg": (["mjpeg"], True),
    "obu": (["libsvtav1"], True),
    **dict.fromkeys(["mp4", "mov", "ipod"], (["libx264", "mpeg4"], False)),
    "ismv": (["libx264", "mpeg4"], True),
    **dict.fromkeys(["3gp", "3g2"], (["mpeg4"], False)),
    "f4v": (["libx264"], False),
    "flv": (["flv", "libx264"], False),
    "asf": (["wmv2", "mpeg4", "libx264", "mpeg2video"], False),
    "wtv": (["libx264", "mpeg2video"], False),
    "rm": (["rv10"], False),
    "apng": (["apng"], False),
    "swf": (["flv"], False),
    "mxf": (["mpeg2video", "libx264", "prores_ks"], False),
    "mxf_opatom": (["mpeg2video", "libx264"], False),
    "nut": (["mpeg4", "libx264", "rawvideo"], False),
    "ivf": (["libvpx", "libvpx-vp9", "libsvtav1"], False),
    "webp": (["libwebp_anim"], False),
}
CODECS = {"asf": "wmv2", "mpg": "mpeg2video", "webm": "libvpx", "vob": "mpeg2video"}


def parts(folder, ending, *counts, size=(64, 48), **options):
    """Files with `counts` frames, numbered on."""
    codec, first = CODECS.get(ending, "libx264"), np.cumsum([0, *counts])
    return [
        write_clip(
            folder / f"{number}.{ending}", coded_frames(count, size, first[number]), codec=codec, keyframe_interval=8
        )
        for number, count in enumerate(counts)
    ]


def write_container(path, frames, name, codec):
    """Frames in a container that FFmpeg calls so, 25 a second."""
    with av.open(str(path), "w", format=name) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        known = [form.name for form in stream.codec_context.codec.video_formats or []]
        wanted = [form for form in ("yuv420p", "rgb8", "yuv422p10le", "rgb24") if form in known]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else [*wanted, *known, "yuv420p"][0]
        stream.codec_context.gop_size, stream.codec_context.thread_count = 8, 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def joined(path, files):
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    return path


def all_codes(video, **options):
    with warnings.catch_warnings(), open_video(video, **options) as opened:
        warnings.simplefilter("error")
        return [read_code(frame) for frame in opened.frames_at(opened.frame_times)]


def write_packets(path, frames, times, codec="libx264", options=None, container_options=None):
    """Frames, each encoded by itself, with the times that are given, ticks of 1/1000 s, whatever these are."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10, options={"bf": "0", "g": "1", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *frames[0].shape[1::-1], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


class TestClocksThatStartAgain:
    @pytest.mark.parametrize("ending", ["ts", "mpg", "vob", "mkv", "webm"])
    @pytest.mark.parametrize("counts", [(20, 20), (40, 10), (9, 30)])
    def test_one_part_comes_behind_the_other(self, tmp_path, ending, counts):
        path = joined(tmp_path / f"all.{ending}", parts(tmp_path, ending, *counts))
        count = sum(counts)
        with open_video(path, num_threads=1) as video:
            assert video.num_frames == count and video.backend == "pyav"
            assert video.duration == pytest.approx(count / 10, abs=0.25)  # MPEG keeps no durations
            assert np.diff(video.frame_times) == pytest.approx(0.1, abs=0.12)
        assert all_codes(path) == list(range(count))

    def test_any_order_of_times(self, tmp_path):
        path = joined(tmp_path / "all.ts", parts(tmp_path, "ts", 9, 20, 11))
        numbers = np.random.default_rng(0).permutation(40)
        for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
            with open_video(source) as video:
                shown = [read_code(frame) for frame in video.iter_frames_at(numbers / 10 + 0.05)]
            assert shown == list(numbers)

    def test_parts_of_two_sizes(self, tmp_path):
        """The decoder gives its last frame out only when it is told that there are no more."""
        for ending in ("ts", "mpg"):
            small = parts(tmp_path, ending, 20)[0].rename(tmp_path / f"small.{ending}")
            large = write_clip(
                tmp_path / f"large.{ending}",
                coded_frames(20, (128, 96), 20),
                codec=CODECS.get(ending, "libx264"),
                start=1.6,  # on the clock of the first it would begin before its end
            )
            path = joined(tmp_path / f"all.{ending}", [small, large])
            assert all_codes(path) == list(range(40))
            with open_video(path) as video:
                assert [frame.shape for frame in video.frames_at([0, 9])] == [(48, 64, 3), (96, 128, 3)]

    def test_a_file_in_memory_and_bare_streams(self, tmp_path):
        path = joined(tmp_path / "all.h264", parts(tmp_path, "h264", 20, 20))
        assert all_codes(path) == all_codes(path.read_bytes()) == list(range(40))

    @pytest.mark.parametrize("ending", ["mp4", "flv", "asf"])
    @pytest.mark.parametrize("in_memory", [False, True])
    def test_a_second_file_that_is_not_read_is_told(self, tmp_path, ending, in_memory):
        first, second = parts(tmp_path, ending, 20, 20)
        path = joined(tmp_path / f"all.{ending}", [first, second])
        size = first.stat().st_size
        with pytest.warns(UserWarning, match=r"is read in part: from byte (\d+) on there is another file") as caught:
            video = open_video(io.BytesIO(path.read_bytes()) if in_memory else path)
        assert int(str(caught[0].message).split("byte ")[1].split()[0]) == size
        with video:
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(20))
        assert all_codes(first) == list(range(20))

    @pytest.mark.parametrize("name", sorted(CONTAINERS))
    @pytest.mark.parametrize("in_memory", [False, True])
    def test_all_frames_of_both_or_a_warning(self, tmp_path, name, in_memory):
        codecs, all_are_read = CONTAINERS[name]
        for codec in codecs:
            first, second = (
                write_container(tmp_path / str(start), coded_frames(10, (64, 48), start), name, codec)
                for start in (0, 10)
            )
            assert all_codes(first) == list(range(10)), codec
            path = joined(tmp_path / "joined", [first, second])
            video = path.read_bytes() if in_memory else path
            if all_are_read:
                assert all_codes(video) == list(range(20)), codec
                with open_video(video) as opened:
                    assert opened.duration == pytest.approx(0.8, abs=0.13), codec  # MPEG keeps no durations
                continue
            told = rf"is read in part: from byte {first.stat().st_size} on there is another file"
            with pytest.warns(UserWarning, match=told), open_video(video) as opened:
                assert [read_code(frame) for frame in opened.frames_at(opened.frame_times)] == list(range(10)), codec
                assert opened.duration == pytest.approx(0.4, abs=0.09), codec

    def test_pictures_of_jpeg_2000_are_no_second_file(self, tmp_path):
        path = write_container(tmp_path / "a.mov", coded_frames(10), "mov", "jpeg2000")
        assert b"ftypjp2" in path.read_bytes()
        assert all_codes(path) == list(range(10))

    def test_the_second_file_of_a_long_first_one(self):
        mark = b"DKIF\0\0\x20\0"
        file = io.BytesIO(mark + bytes(70 << 20) + mark)
        assert second_file_in(file, mark, "ivf") == (70 << 20) + len(mark)

    def test_a_file_object_is_left_where_it_stands(self, tmp_path):
        first, second = parts(tmp_path, "mp4", 5, 5)
        file = io.BytesIO(first.read_bytes() + second.read_bytes())
        file.seek(7)
        found = second_file_in(file, file.getvalue()[:64], "mov,mp4,m4a,3gp,3g2,mj2", 100)
        assert found is not None and file.tell() == 7
        assert second_file_in(file, file.getvalue()[:64], "mpegts", 100) is None

    @pytest.mark.parametrize("before", [b"\0\0\0\7", b"\0\0\x10\0", b"\0\0\1", b"\1\0\0 "])
    def test_four_letters_alone_are_no_second_file(self, tmp_path, before):
        first = write_clip(tmp_path / "a.mp4", coded_frames(5)).read_bytes()
        file = io.BytesIO(first + b"\xff" * 9 + before + b"ftypisom")
        assert second_file_in(file, first[:64], "mov,mp4,m4a,3gp,3g2,mj2", len(first)) is None

    @pytest.mark.parametrize("place", range(PIECE - 9, PIECE + 2))
    def test_a_second_file_across_two_pieces(self, place):
        head = b"\0\0\0 ftypisom"
        file = io.BytesIO(head + bytes(place) + head)
        told = second_file_in(file, head, "mov,mp4,m4a,3gp,3g2,mj2", len(head))
        assert told == place + len(head)

    def test_of_three_matroska_files_two_are_read(self, tmp_path):
        path = joined(tmp_path / "all.mkv", parts(tmp_path, "mkv", 20, 20, 10))
        with pytest.warns(UserWarning, match="there is another file"), open_video(path) as video:
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(40))

    def test_a_clock_of_33_bits_that_wraps(self, tmp_path):
        start = 2**33 / 90000 - 4
        path = write_clip(tmp_path / "wrap.ts", coded_frames(60), start=start, keyframe_interval=8)
        assert all_codes(path) == list(range(60))
        with open_video(path) as video:
            assert video.duration == pytest.approx(6.0, abs=0.01)

    @pytest.mark.parametrize("ending", ["ts", "mkv", "mp4"])
    def test_a_clock_that_leaps_by_hours_leaves_one_gap(self, tmp_path, ending):
        leap = 3 * 3600
        times = [number / 10 + (leap if number >= 20 else 0) for number in range(40)]
        path = write_clip(tmp_path / f"leap.{ending}", coded_frames(40), pts=times)
        assert all_codes(path) == list(range(40))
        with open_video(path) as video:
            assert video.frame_times == pytest.approx(np.array(times), abs=2e-3)

    def test_a_clock_that_is_set_back_in_between(self):
        times = np.array([0, 3, 1, 2, 6, 4, 5, 100, 103, 101, 102, 106, 50, 53, 51, 52])
        is_key = np.isin(np.arange(16), [0, 7, 12])
        shifts = join_parts(times, np.ones(16, dtype=int), is_key)
        assert shifts is not None and list(shifts) == [0] * 12 + [57] * 4
        assert join_parts(times[:12], np.ones(12, dtype=int), is_key[:12]) is None

    def test_a_part_that_begins_without_a_keyframe(self):
        times = np.array([*range(1000, 1100), *range(40)])
        shifts = join_parts(times, np.ones(140, dtype=int), np.arange(140) == 0)
        assert shifts is not None and sorted(times + shifts) == list(range(1000, 1140))

    @pytest.mark.parametrize("ending", ["ts", "mkv"])
    def test_short_parts_of_keyframes_alone(self, tmp_path, ending):
        first, second = (
            write_clip(tmp_path / f"{start}.{ending}", coded_frames(10, (64, 48), start), keyframe_interval=1)
            for start in (0, 10)
        )
        assert all_codes(joined(tmp_path / f"all.{ending}", [first, second])) == list(range(20))

    def test_the_order_of_decoding_is_no_clock_that_starts_again(self):
        """Also where all are marked as keyframes, though they are none."""
        times = np.array([0, 16, 8, 4, 2, 1, 3, 6, 5, 7, 12, 10, 9, 11, 14, 13, 15, 32, 24])
        assert join_parts(times, np.ones(19, dtype=int), np.ones(19, dtype=bool)) is None
        assert join_parts(times, np.ones(19, dtype=int), np.zeros(19, dtype=bool)) is None


class TestSizesThatChange:
    @pytest.mark.parametrize(
        ("name", "codec", "options"),
        [
            ("a.webm", "libvpx", {}),
            ("vp9.webm", "libvpx-vp9", {}),
            ("a.avi", "mjpeg", {}),
            ("a.mkv", "libx264", {"x264-params": "repeat-headers=1"}),
            ("a.mp4", "libx264", {"x264-params": "repeat-headers=1"}),
            ("a.ts", "libx264", {"x264-params": "repeat-headers=1"}),
            ("a.flv", "flv", {}),
        ],
    )
    def test_each_frame_has_its_own(self, tmp_path, name, codec, options):
        sizes = [(64, 48), (128, 96), (64, 48)]
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10, options=options)
            number = 0
            for width, height in sizes:
                encoder = stream.codec_context
                if number:
                    encoder = av.CodecContext.create(codec, "w")
                    encoder.framerate, encoder.options = 10, options
                encoder.width, encoder.height, encoder.gop_size = width, height, 8
                encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                encoder.time_base, encoder.thread_count = Fraction(1, 10), 1
                packets = []
                for _ in range(10):
                    frame = av.VideoFrame.from_ndarray(coded_frame(number, (width, height)), format="rgb24")
                    frame.pts, frame.time_base = number, Fraction(1, 10)
                    packets += encoder.encode(frame)
                    number += 1
                for packet in [*packets, *encoder.encode()]:
                    packet.stream = stream
                    container.mux(packet)
        assert all_codes(path) == list(range(30))
        with open_video(path) as video:
            shown = [frame.shape[1::-1] for frame in video.frames_at([0.55, 1.55, 2.55])]
        assert shown == sizes


class TestTimesThatAreMissing:
    def test_they_are_spread_between_the_known(self):
        assert list(fill_gaps([0, None, None, 30, None], 10)) == [0, 10, 20, 30, 40]
        assert list(fill_gaps([None, None, 50, None, 100], 10)) == [30, 40, 50, 75, 100]
        assert list(fill_gaps([None] * 3, 10)) == [0, 10, 20]
        assert list(fill_gaps([50, None, None, 50, None, 70], 10)) == [50, 60, 70, 50, 60, 70]  # a clock that restarts
        exact = [2**60 + 1, 2**60 + 2]
        assert list(fill_gaps(exact, 10)) == exact

    def test_the_other_frames_keep_theirs(self, tmp_path, monkeypatch):
        """A gap stays a gap where some packets have no time."""
        times = [number / 10 + (60 if number >= 20 else 0) for number in range(40)]
        path = write_clip(tmp_path / "a.ts", coded_frames(40), pts=times, options={"bf": "0"})
        opened = av.open

        class Timeless:
            def __init__(self, container):
                self.container = container

            def __getattr__(self, name):
                return getattr(self.container, name)

            def demux(self, stream):
                for number, packet in enumerate(self.container.demux(stream)):
                    if number % 5 == 3:
                        packet.pts = packet.dts = None
                    yield packet

        monkeypatch.setattr(av, "open", lambda *args, **options: Timeless(opened(*args, **options)))
        with open_video(path, backend="pyav", num_threads=1) as video:
            assert video.frame_times == pytest.approx(np.array(times), abs=2e-3)
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(40))


class TestEditLists:
    @pytest.fixture
    def cut(self, tmp_path):
        """A file whose edit list cuts off the first 1.25 s: of the frame on screen then, half is shown."""
        path = write_clip(tmp_path / "cut.mp4", coded_frames(40), keyframe_interval=8, options={"bf": "2"})
        data = bytearray(path.read_bytes())
        place = data.index(b"elst") + 4
        assert int.from_bytes(data[place + 4 : place + 8], "big") == 1  # one edit: duration, media time, rate
        begin = int.from_bytes(data[place + 12 : place + 16], "big")
        scale_at = data.index(b"mdhd") + 4 + 12
        scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
        data[place + 12 : place + 16] = (begin + scale * 5 // 4).to_bytes(4, "big")
        path.write_bytes(data)
        return path

    @pytest.mark.parametrize("backend", ["auto", "pyav"])
    def test_what_is_cut_off_is_not_read(self, cut, backend):
        shown = all_codes(cut, backend=backend)
        assert shown[0] in (12, 13) and shown == list(range(shown[0], 40))
        with open_video(cut, backend=backend) as video:
            assert video.duration == pytest.approx(2.75, abs=0.11)
            assert [read_code(frame) for frame in video.frames_at([2.6, 1.0, 2.0])] == [
                pytest.approx(38, abs=1),
                pytest.approx(22, abs=1),
                pytest.approx(32, abs=1),
            ]

    @pytest.mark.parametrize("backend", ["auto", "pyav"])
    @pytest.mark.parametrize("begin", [2**30, 2**31 - 1, 5 * 10240])
    def test_one_that_leaves_nothing_is_passed_over(self, tmp_path, backend, begin):
        path = write_clip(tmp_path / "a.mp4", coded_frames(40), keyframe_interval=8, options={"bf": "2"})
        data = bytearray(path.read_bytes())
        place = data.index(b"elst") + 4
        data[place + 12 : place + 16] = begin.to_bytes(4, "big")  # where the file has ended
        with pytest.warns(UserWarning, match="its edit list, which leaves no frame of it, is passed over"):
            video = open_video(bytes(data), backend=backend)
        with video:
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(40))
            assert video.frame_times == pytest.approx(np.arange(40) / 10, abs=1e-3)
            assert read_code(video.frames_at([2.05])[0]) == 20

    @pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
    def test_times_before_zero(self, tmp_path, ending):
        times = [100 * number - 750 for number in range(40)]
        options = {"avoid_negative_ts": "disabled", "use_editlist": "0"} if ending == "mp4" else {}
        codec = "mpeg4" if ending == "avi" else "libx264"
        path = write_packets(tmp_path / f"a.{ending}", coded_frames(40), times, codec, container_options=options)
        assert all_codes(path) == all_codes(path, backend="pyav") == list(range(40))


@pytest.mark.parametrize("name", ["a.avi", "a.asf", "a.mpg"])
@pytest.mark.parametrize("fps", [10, 25])
def test_containers_that_keep_the_times_of_decoding_only(tmp_path, name, fps):
    path = write_clip(tmp_path / name, coded_frames(40), fps=fps, options={"bf": "3"}, keyframe_interval=20)
    for backend in ("auto", "pyav"):
        assert all_codes(path, backend=backend) == list(range(40))
    with open_video(path) as video:
        assert video.frame_times == pytest.approx(np.arange(40) / fps, abs=0.06)
        assert [read_code(frame) for frame in video.frames_at([35 / fps + 0.01, 5 / fps + 0.01])] == [35, 5]


class TestInterlacedFrames:
    @pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.mpg", "mpeg2video"), ("a.mp4", "libx264")])
    def test_both_fields_in_a_packet(self, tmp_path, name, codec):
        options = {"flags": "+ilme+ildct", **({"x264-params": "tff=1"} if codec == "libx264" else {})}
        path = write_clip(tmp_path / name, coded_frames(40, (64, 64)), fps=25, codec=codec, options=options)
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).interlaced_frame
        assert all_codes(path) == list(range(40))

    @pytest.mark.parametrize("ending", ["ts", "mp4", "mkv"])
    def test_a_packet_for_each_field(self, tmp_path, ending):
        path = write_fields(tmp_path / f"a.{ending}", coded_frames(20, (64, 64)), fps=25)
        with av.open(str(path)) as container:
            assert sum(packet.size > 0 for packet in container.demux(video=0)) == 40
        for backend in ("auto", "pyav"):
            assert all_codes(path, backend=backend) == list(range(20))
        with open_video(path) as video:
            assert video.frame_times == pytest.approx(np.arange(20) / 25, abs=1e-3)
            assert video.duration == pytest.approx(0.8, abs=0.021)  # Matroska keeps no durations
            assert [read_code(frame) for frame in video.frames_at([0.7, 0.1, 0.5])] == [17, 2, 12]
        if ending != "ts":
            with pytest.raises(VideoReadError, match="each field"):
                open_video(path, backend="decord")

    def test_what_decord_refuses_is_gone_through_once(self, tmp_path, monkeypatch):
        path = write_fields(tmp_path / "a.mkv", coded_frames(20, (64, 64)), fps=25)
        given, opened = [], av.open

        class Counted:
            def __init__(self, container):
                self.container = container

            def __getattr__(self, name):
                return getattr(self.container, name)

            def __enter__(self):
                return self

            def __exit__(self, *exc_info):
                self.container.close()

            def demux(self, stream):
                for packet in self.container.demux(stream):
                    given.append(packet)
                    yield packet

        monkeypatch.setattr(av, "open", lambda *args, **options: Counted(opened(*args, **options)))
        with open_video(path) as video:
            assert (video.backend, video.num_frames, sum(packet.size > 0 for packet in given)) == ("pyav", 20, 40)

    @pytest.mark.parametrize("write", [write_fields, write_hevc_fields])
    def test_bare_fields(self, tmp_path, write):
        path = tmp_path / ("a.hevc" if write is write_hevc_fields else "a.h264")
        write(path, coded_frames(20, (64, 128)), fps=25)
        assert all_codes(path) == list(range(20))
        with open_video(path) as video:
            assert video.frame_times == pytest.approx(np.arange(20) / 25)

    @pytest.mark.parametrize("ending", ["ts", "mp4", "mkv"])
    @pytest.mark.parametrize("bottom_first", [False, True])
    def test_fields_of_hevc_are_woven(self, tmp_path, ending, bottom_first):
        path = write_hevc_fields(tmp_path / f"a.{ending}", coded_frames(20, (64, 128)), 25, bottom_first)
        for backend in ("auto", "pyav"):
            assert all_codes(path, backend=backend) == list(range(20))
        with open_video(path) as video:
            assert video.frame_times == pytest.approx(np.arange(20) / 25, abs=1e-3)
            assert [read_code(frame) for frame in video.frames_at([0.7, 0.1, 0.5])] == [17, 2, 12]
        if ending != "ts":
            with pytest.raises(VideoReadError, match="each field"):
                open_video(path, backend="decord")

    @pytest.mark.parametrize("bottom_first", [False, True])
    def test_each_line_of_hevc_is_where_it_was(self, tmp_path, bottom_first):
        picture = text_frame("OPEN", (128, 64))
        path = write_hevc_fields(tmp_path / "a.mp4", [picture] * 4, 25, bottom_first)
        with open_video(path, max_pixels=128 * 64) as video:
            assert np.abs(video.frames_at([0.1])[0].astype(int) - picture).mean() < 2
        with pytest.raises(VideoReadError, match="max_pixels"):
            open_video(path, max_pixels=128 * 32).frames_at([0.1])

    def test_hevc_whose_frames_are_whole_is_not_woven(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4", coded_frames(20), codec="libx265")
        with open_video(path) as video:
            assert (video.num_frames, video.backend) == (20, "decord")

    def test_frames_between_fields_are_kept(self):
        """An encoder may choose for each frame."""
        assert list(first_fields(np.array([0, 20, 40, 60, 80, 120, 160, 180, 200]))) == [0, 2, 4, 5, 6, 8]
        assert list(first_fields(np.array([0, 16, 33, 50, 67, 83]))) == [0, 2, 4]
        assert list(first_fields(np.array([5]))) == [0]
