"""Files that are made to do harm, or happen to: none costs more than what is in it, and each is read or named."""

import io
import os
import socket
import struct
import subprocess
import sys
import threading

import av
import numpy as np
import pytest
from PIL import Image

from tcd_hf.processing.joined_files import second_file_in
from tcd_hf.processing.mp4_tables import claimed_samples
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.reading.files import hash_file
from tcd_hf.reading.segments import cut_into_segments
from tcd_hf.reading.text_files import read_cues
from tests.clips import coded_frames, read_code, write_clip

BACKENDS = ["auto", "decord", "pyav"]
HUGE = 2**31 - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder):
    """20 numbered frames, two seconds, with an order of decoding that is not that of showing."""
    return write_clip(folder / "clip.mp4", coded_frames(20), keyframe_interval=8)


def changed(data: bytes, *edits: tuple[bytes, int, bytes]) -> bytes:
    """`data` with bytes written so far behind the first place of a mark."""
    data = bytearray(data)
    for mark, offset, content in edits:
        place = data.index(mark) + offset
        data[place : place + len(content)] = content
    return bytes(data)


def whole(number: int) -> bytes:
    return struct.pack(">I", number)


def in_fragments(clip, target):
    """The same frames in an MP4 without an index of the whole."""
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(clip)) as source, av.open(str(target), "w", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target


def run_python(code: str, *arguments) -> list[str]:
    """The lines that a new process prints, which must come to its end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_torch_is_loaded_before_decord(clip):
    pytest.importorskip("decord")
    code = """
import sys
from tcd_hf.processing.video_reading import open_video
with open_video(sys.argv[1], backend="decord") as video:
    video.frames_at([0.5])
import torch  # which would die here, or compute what is wrong
print(float((torch.ones(300, 300) @ torch.ones(300, 300)).sum()))
print(list(sys.modules).index("torch") < list(sys.modules).index("decord"))
"""
    assert run_python(code, clip)[-2:] == [str(300.0**3), "True"]


@pytest.mark.parametrize("kind", ["bytes", "file object"])
@pytest.mark.parametrize("backend", ["auto", "decord"])
def test_what_is_in_memory_is_no_business_of_decord(tmp_path, kind, backend):
    """It read past the end of an AVI some of whose bytes are gone, and the process ended."""
    data = write_clip(tmp_path / "a.avi", coded_frames(30, (96, 64)), codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    (tmp_path / "b.avi").write_bytes(data[:7420] + data[7698:])  # a frame, and the begin of the next
    code = """
import io, sys
from tcd_hf.processing.video_reading import open_video
data = open(sys.argv[1], "rb").read()
with open_video(data if sys.argv[2] == "bytes" else io.BytesIO(data), backend=sys.argv[3]) as video:
    print(video.backend, len(video.frames_at(video.frame_times)))
"""
    backend, count = run_python(code, tmp_path / "b.avi", kind, backend)[-1].split()
    assert backend == "pyav" and int(count) >= 28


def test_torch_is_loaded_before_decord_by_whichever_thread_comes_first(clip):
    pytest.importorskip("decord")
    code = """
import sys, threading
from tcd_hf.processing.video_reading import open_video
def read():
    with open_video(sys.argv[1], backend="decord") as video:
        frames.append(video.frames_at([0.5]))
frames, threads = [], [threading.Thread(target=read) for _ in range(3)]
for thread in threads:
    thread.start()
import torch  # at the same time
for thread in threads:
    thread.join()
print(float((torch.ones(300, 300) @ torch.ones(300, 300)).sum()), len(frames))
print(list(sys.modules).index("torch") < list(sys.modules).index("decord"))
"""
    assert run_python(code, clip)[-2:] == [f"{300.0**3} 3", "True"]


class TestNoRegularFiles:
    """What would be waited for, or read, without end."""

    def answer(self, action, *arguments):
        """What an action gives or raises, which must come to its end."""
        answers = []

        def act():
            try:
                answers.append(action(*arguments))
            except Exception as error:
                answers.append(error)

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        thread.join(60)
        assert answers, "it hangs"
        return answers[0]

    @pytest.fixture
    def pipe(self, tmp_path):
        if not hasattr(os, "mkfifo"):
            pytest.skip("there are no named pipes here")
        os.mkfifo(tmp_path / "pipe.mp4")
        return tmp_path / "pipe.mp4"

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_they_are_refused_by_name(self, tmp_path, pipe, backend):
        (tmp_path / "link.mp4").symlink_to(pipe)
        (tmp_path / "zeros.mp4").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(tmp_path / "socket.mp4"))  # their names are to be short
            for name, kind in {"pipe": "pipe", "link": "named pipe", "zeros": "device", "socket": "socket"}.items():
                error = self.answer(open_video, tmp_path / f"{name}.mp4", None, backend)
                assert isinstance(error, VideoReadError)
                assert f"{name}.mp4" in str(error) and f"{kind}, not a regular file" in str(error)

    def test_their_content_is_not_hashed(self, pipe):
        error = self.answer(hash_file, pipe)
        assert isinstance(error, OSError) and "named pipe" in str(error) and "pipe.mp4" in str(error)

    def test_they_hold_no_subtitles(self, pipe):
        error = self.answer(read_cues, pipe.rename(pipe.with_suffix(".srt")))
        assert isinstance(error, OSError) and "named pipe" in str(error)

    def test_links_to_regular_files_are_followed(self, tmp_path, clip):
        link = tmp_path / "link.mp4"
        link.symlink_to(clip)
        with open_video(link) as video:
            assert video.num_frames == 20
        assert hash_file(link) == hash_file(clip)


class TestLists:
    """Files that FFmpeg takes for lists of others, which it opens."""

    @pytest.fixture(scope="class")
    @classmethod
    def lists(cls, folder):
        stream = write_clip(folder / "secret.ts", coded_frames(20))
        concat = b"ffconcat version 1.0\n# \xff\nfile secret.ts\n"
        hls = b"#EXTM3U\n# \xff\n#EXT-X-TARGETDURATION:4\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n"
        for number, content in enumerate([concat, hls, concat.replace(b"\xff", b""), hls.replace(b"\xff", b"")]):
            for ending in (".mp4", ".ts", ".m3u8", ".ffconcat"):
                (folder / f"list{number}{ending}").write_bytes(content)
        return stream, sorted(folder.glob("list*"))

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_they_are_refused_and_nothing_else_is_opened(self, lists, backend):
        stream, names = lists
        os.utime(stream, (1, 1))  # so that reading it sets the time of the last access anew
        for path in names:
            for video in (path, path.read_bytes(), path.open("rb")):
                with pytest.raises(VideoReadError, match=r"lists of files|text file"):
                    open_video(video, backend=backend)
        assert stream.stat().st_atime == 1

    @pytest.mark.parametrize("backend", ["auto", "decord"])
    def test_they_are_refused_without_pyav(self, lists, backend, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        for path in lists[1]:
            with pytest.raises(VideoReadError, match="begins as no MP4"):
                open_video(path, backend=backend)

    def test_a_picture_with_a_pattern_for_a_name_is_no_series(self, tmp_path):
        for number in (1, 2):
            Image.new("RGB", (64, 48)).save(tmp_path / f"a{number}.jpg")
        (tmp_path / "a1.jpg").rename(tmp_path / "a%d.jpg")
        with open_video(tmp_path / "a%d.jpg") as video:
            assert video.num_frames == 1


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        *((name, "mpeg4", {}) for name in ("a.mp4", "a.mov", "a.m4v", "a.3gp", "a.mkv", "a.avi", "a.nut")),
        *((name, "mpeg2video", {}) for name in ("a.ts", "a.m2ts", "a.mpg", "a.vob", "a.m2v")),
        *((name, "wmv2", {}) for name in ("a.wmv", "a.asf")),
        *((name, "flv", {}) for name in ("a.flv", "a.swf")),
        *((name, "libvpx", {}) for name in ("a.webm", "a.ivf")),
        *((name, "libx264", {}) for name in ("a.h264", "a.f4v")),
        ("a.mxf", "mpeg2video", {"fps": 25}),
        ("a.mjpeg", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("a.gif", "gif", {"pix_fmt": "rgb8"}),
        ("a.apng", "apng", {"pix_fmt": "rgb24"}),
        ("a.y4m", "wrapped_avframe", {"pix_fmt": "yuv420p"}),
    ],
)
def test_containers_that_are_read(tmp_path, name, codec, options):
    path = write_clip(tmp_path / name, coded_frames(10), codec=codec, **options)
    with open_video(path) as video:
        assert video.num_frames == 10
        assert read_code(video.frames_at([0.0])[0]) == 0
        assert read_code(video.frames_at([video.duration])[0]) == 9


class TestPixels:
    """Frames are of at most `max_pixels`."""

    @pytest.fixture(scope="class")
    @classmethod
    def growing(cls, folder):
        """Clips whose later frames have four times the pixels, by what their packets say and no header."""
        paths = []
        for codec, ending in [
            *(("libx264", ending) for ending in ("mkv", "mp4", "ts")),
            *(("mpeg4", ending) for ending in ("avi", "ts")),
            ("libvpx", "webm"),
            ("mjpeg", "mkv"),
        ]:
            packets = []
            for size in [(64, 48), (128, 96)]:
                encoder = av.CodecContext.create(codec, "w")
                encoder.width, encoder.height = size
                encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                encoder.framerate, encoder.max_b_frames, encoder.thread_count = 10, 0, 1
                for frame in map(av.VideoFrame.from_ndarray, coded_frames(10, size)):
                    packets += encoder.encode(frame.reformat(format=encoder.pix_fmt))
                packets += encoder.encode(None)
            paths.append(folder / f"growing_{codec}.{ending}")
            with av.open(str(paths[-1]), "w") as container:
                stream = container.add_stream(codec, rate=10)
                stream.width, stream.height, stream.pix_fmt = 64, 48, encoder.pix_fmt
                for number, packet in enumerate(packets):
                    packet.stream, packet.time_base = stream, 1 / encoder.framerate
                    packet.pts = packet.dts = number
                    container.mux(packet)
        return paths

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_of_the_first_frame(self, clip, backend):
        with open_video(clip, backend=backend, max_pixels=64 * 48) as video:
            assert len(video.frames_at([0.0, 1.95])) == 2
        with pytest.raises(
            VideoReadError, match=r"clip\.mp4.*64 x 48.*`max_pixels` allows 3071.*of `open_video` and `TCDP"
        ):
            open_video(clip, backend=backend, max_pixels=64 * 48 - 1)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_of_a_later_frame(self, growing, backend, monkeypatch):
        decord, given = pytest.importorskip("decord"), []
        opened = decord.VideoReader
        monkeypatch.setattr(
            decord, "VideoReader", lambda *args, **options: given.append(args) or opened(*args, **options)
        )
        for path in growing:
            with open_video(path, backend="pyav") as video:
                assert read_code(video.frames_at([video.duration])[0]) == 9
            with pytest.raises(VideoReadError, match=rf"{path.name}.*(128 x 96.*`max_pixels` allows 4000|decord)"):
                open_video(path, backend=backend, max_pixels=4000).frames_at([0.0, 1.95])
        assert not given

    @pytest.mark.filterwarnings("ignore:The video")
    def test_much_larger_ones_are_not_decoded(self, folder):
        data = write_clip(folder / "flat.h264", [np.zeros((4000, 4000, 3), np.uint8)]).read_bytes()
        small = write_clip(folder / "small.h264", coded_frames(10)).read_bytes()
        with pytest.raises(VideoReadError, match=r"4000 x 4000 pixels.*1000000"):
            open_video(small + data, num_threads=1, max_pixels=10**6).frames_at([0.0, 10.0])

    def test_of_pictures(self, folder):
        gif, webp = io.BytesIO(), io.BytesIO()
        images = [Image.fromarray(frame) for frame in coded_frames(3)]
        for file, form in ((gif, "GIF"), (webp, "WEBP")):
            images[0].save(file, form, save_all=True, append_images=images[1:], duration=100)
        size = struct.pack("<HH", 16000, 16000), (15999).to_bytes(3, "little") * 2
        wide = changed(gif.getvalue(), (b"GIF8", 6, size[0])), changed(webp.getvalue(), (b"VP8X", 12, size[1]))
        for data in wide:
            with pytest.raises(VideoReadError, match=r"<bytes>.*16000 x 16000"):
                open_video(data)
        with pytest.raises(VideoReadError, match=r"<images>.*64 x 48"):
            open_video(images, max_pixels=3000)
        with open_video(np.stack(coded_frames(3)), max_pixels=3000) as video:  # which is in memory already
            assert video.num_frames == 3

    @pytest.mark.parametrize(("value", "error"), [(0, ValueError), ("9", TypeError), (1.5, TypeError)])
    def test_of_no_number(self, clip, value, error):
        with pytest.raises(error, match="`max_pixels`"):
            open_video(clip, max_pixels=value)


# Opens and reads each file; prints its name, and what it gave.
READ_ALL = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from tcd_hf.processing.video_reading import VideoReadError, open_video
warnings.simplefilter("ignore")
paths = sorted(Path(sys.argv[1]).iterdir())
open_video(sys.argv[2]).frames_at([0.0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in paths:
    for backend in ("auto", "pyav"):
        try:
            with open_video(path, backend=backend, num_threads=1) as video:
                video.frames_at(np.linspace(0, video.duration, 8))
                print(path.name, video.num_frames)
        except VideoReadError as error:
            print(path.name, "refused" if path.name in str(error) else "not named")
print("grown", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, "MiB")
"""


class TestTables:
    """Headers that speak of more frames than there are: decord ends the process, and FFmpeg takes gigabytes."""

    @staticmethod
    def bomb(data: bytes, count: int) -> bytes:
        """An MP4 of `count` samples of one byte, all in one chunk."""
        tables = {b"stts": (0, 1, count, 1), b"stsz": (0, 1, count), b"stsc": (0, 1, 1, count, 1), b"stco": (0, 1, 48)}
        for name, numbers in tables.items():
            data = changed(data, (name, 4, struct.pack(f">{len(numbers)}I", *numbers)))
        return data.replace(b"ctts", b"free").replace(b"stss", b"free")

    @pytest.fixture(scope="class")
    @classmethod
    def mutants(cls, tmp_path_factory, clip, folder):
        target = tmp_path_factory.mktemp("mutants")
        random = np.random.default_rng(0)
        sources = [clip, write_clip(folder / "tables.avi", coded_frames(20), codec="mpeg4")]
        sources += [in_fragments(clip, folder / "fragments.mp4")]
        numbers = (0, 1, 2**16, 10**7, 2**30, HUGE, 2**31, 2**32 - 1)
        for source in sources:
            data = source.read_bytes()
            marks = ("strh", "avih", "idx1") if source.suffix == ".avi" else ("stts", "ctts", "stsz", "stsc", "stco")
            for mark in marks if source.stem != "fragments" else ("trun", "tfhd", "tfdt"):
                for offset in range(8, 48, 4):
                    number = int(random.choice(numbers))
                    content = struct.pack("<I" if source.suffix == ".avi" else ">I", number)
                    name = f"{source.stem}_{mark}_{offset}{source.suffix}"
                    (target / name).write_bytes(changed(data, (mark.encode(), offset, content)))
        # An entry of one number each: decord took memory for as many, or died of it.
        (target / "times.mp4").write_bytes(changed(clip.read_bytes(), (b"stts", 12, whole(HUGE))))
        (target / "length.avi").write_bytes(changed(sources[1].read_bytes(), (b"strh", 40, struct.pack("<I", HUGE))))
        for count in (10**6, 10**7, 8 * 10**7):
            (target / f"bomb{count}.mp4").write_bytes(cls.bomb(clip.read_bytes(), count))
        return target

    @pytest.mark.skipif(sys.platform == "win32", reason="asks for the memory as Windows does not")
    def test_each_is_read_or_refused(self, mutants, clip):
        *lines, grown = run_python(READ_ALL, mutants, clip)
        assert len(lines) == 2 * len(list(mutants.iterdir())) > 200
        assert not [line for line in lines if line.endswith("not named")]
        read = [int(line.split()[1]) for line in lines if not line.endswith("refused")]
        assert len(read) > 100 and max(read) <= 40
        assert {"times.mp4 20", "length.avi 20", "bomb10000000.mp4 refused"} <= set(lines)
        assert int(grown.split()[1]) < 150

    def test_a_table_shorter_than_it_says_is_read(self, clip):
        with open_video(changed(clip.read_bytes(), (b"stco", 8, whole(2**32 - 1)))) as video:
            assert video.num_frames == 20

    @pytest.fixture
    def old_sound(self, folder):
        """A video whose sound counts, as that of old QuickTime files, samples that are not compressed: so many."""
        path = write_clip(folder / "sound.mov", coded_frames(20))
        with av.open(str(folder / "both.mov"), "w") as output, av.open(str(path)) as source:
            video = output.add_stream_from_template(source.streams.video[0])
            sound = output.add_stream("pcm_s16le", rate=16000, layout="mono")
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = video
                    output.mux(packet)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            output.mux([*sound.encode(frame), *sound.encode()])
        data = (folder / "both.mov").read_bytes()
        place = data.index(b"soun")

        def with_samples(count: int, ticks: int = 1, handler: bytes = b"soun") -> bytes:
            tables = (b"stts", 12, struct.pack(">2I", count, ticks)), (b"stsz", 4, struct.pack(">3I", 0, 1, count))
            return data[:place] + handler + changed(data[place + 4 :], *tables)

        return with_samples

    def test_old_sound_with_more_samples_than_bytes_is_read(self, old_sound):
        with open_video(old_sound(8 * len(old_sound(1))), backend="pyav") as video:
            assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(20))

    @pytest.mark.parametrize("change", [{"ticks": 2}, {"handler": b"vide"}, {"handler": b"url "}])
    def test_what_only_looks_like_old_sound_is_refused(self, old_sound, change):
        data = old_sound(8 * len(old_sound(1)), **change)
        with pytest.raises(VideoReadError, match="its header lies"):
            open_video(data)

    def test_as_many_boxes_as_hours_in_fragments_have(self):
        assert claimed_samples(io.BytesIO(whole(8) + b"free" + 2**20 * (whole(8) + b"free")), 8 + 2**23) == 0

    def test_decord_alone_is_given_none(self, mutants, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        for name in ("times.mp4", "bomb1000000.mp4"):
            with pytest.raises(VideoReadError, match="its header lies"):
                open_video(mutants / name)


@pytest.mark.parametrize("place", [-1, 2**62])
def test_a_last_frame_that_is_nowhere(clip, place):
    container = "mov,mp4,m4a,3gp,3g2,mj2"
    assert second_file_in(str(clip), clip.read_bytes()[:100], container, place) is None


class TestDurations:
    """Time and samples follow the frames that are there."""

    @pytest.mark.parametrize("seconds", [1e12, 2.0**40, float("inf"), float("nan"), -1e9, 0.0])
    @pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.flv"])
    def test_a_header_that_lies(self, folder, name, seconds):
        codec = {"a.mkv": "libx264", "a.webm": "libvpx", "a.flv": "flv"}[name]
        data = write_clip(folder / name, coded_frames(20), codec=codec).read_bytes()
        mark, offset = (b"duration\0", 9) if name == "a.flv" else (b"\x44\x89", 3)
        self.check(changed(data, (mark, offset, struct.pack(">d", seconds))))

    @pytest.mark.parametrize("edit", [(b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24), (b"elst", 12)])
    @pytest.mark.parametrize("number", [HUGE, 2**32 - 1])
    def test_tables_that_lie(self, clip, edit, number):
        self.check(changed(clip.read_bytes(), (*edit, whole(number))))

    def check(self, data: bytes):
        with open_video(data) as video:
            assert video.num_frames == 20
            assert video.duration == pytest.approx(2.0, abs=0.11)
            assert [read_code(frame) for frame in video.frames_at([0.0, 1.0, 2.0])] == [0, 10, 19]

    @pytest.mark.parametrize("name", ["leap.mkv", "leap.mp4"])
    def test_times_that_leap_by_hours(self, folder, name):
        path = write_clip(folder / name, coded_frames(20), pts=[0.1 * number + 7200 * number for number in range(20)])
        with open_video(path) as video:
            assert video.num_frames == 20
            assert len(cut_into_segments(video.duration, video.frame_times, 30.0)) <= 20

    def test_a_rate_of_a_million(self, folder):
        data = write_clip(folder / "rate.avi", coded_frames(20), codec="mpeg4").read_bytes()
        with open_video(changed(data, (b"strh", 28, struct.pack("<II", 1, 10**6)))) as video:
            assert video.num_frames == 20 and 0 < video.duration < 2
