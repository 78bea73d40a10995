from fractions import Fraction

import av
import numpy as np
import pytest

from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.reading.cutting import cut_out
from tests.clips import coded_frames, read_code, write_clip


def codes(path):
    with open_video(path, backend="pyav") as video:
        return [read_code(frame) for frame in video.frames_at(video.frame_times)], video.duration


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (3.05, 4.55), (4.0, 4.1), (7.95, 8.0)])
def test_a_part_begins_with_the_key_frame_before_it(tmp_path, name, start, end):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    video = write_clip(tmp_path / name, coded_frames(80), fps=10, keyframe_interval=10, codec=codec)
    cut = cut_out(video, start, end, tmp_path / "part")
    shown, duration = codes(cut.file)
    first = int(start + 1e-6) * 10  # of the group of pictures
    assert shown[0] == first and cut.offset == pytest.approx(start - first / 10, abs=0.11)
    assert shown[-1] >= min(int(end * 10), 79) - 1  # the frame that is on screen at the end
    assert shown == list(range(shown[0], shown[-1] + 1))
    assert duration <= end - start + 1.0 + 0.5
    assert [file.name for file in tmp_path.glob(".part*")] == []


@pytest.mark.parametrize("start", [0.0, 1.05, 2.05, 3.05, 5.5])
def test_frames_that_are_decoded_before_they_are_shown(tmp_path, start):
    """In an AVI a seek goes by the times of decoding: it comes out at a key frame that is shown later."""
    options = {"bf": "2", "sc_threshold": "1000000000"}
    video = write_clip(
        tmp_path / "b.avi", coded_frames(80), fps=10, keyframe_interval=10, codec="mpeg4", options=options
    )
    cut = cut_out(video, start, start + 0.5, tmp_path / "part")
    shown, _ = codes(cut.file)
    assert cut.offset >= 0
    first, last = round(start * 10), round(start * 10 + 5)
    assert set(range(first, last)) <= set(shown), shown


@pytest.mark.parametrize("ending", ["ts", "mpg", "mkv"])
@pytest.mark.parametrize(("start", "end"), [(1.05, 1.55), (5.05, 6.55), (3.05, 5.05)])
def test_where_the_clock_starts_again(tmp_path, ending, start, end):
    """4 seconds, and 4 more behind them on a clock of their own; the last cut goes over the seam."""
    options = {"fps": 10, "keyframe_interval": 10, "codec": "mpeg2video" if ending == "mpg" else "libx264"}
    parts = [write_clip(tmp_path / f"{at}.{ending}", coded_frames(40, start=at), **options) for at in (0, 40)]
    video = tmp_path / f"joined.{ending}"
    video.write_bytes(b"".join(part.read_bytes() for part in parts))
    if ending == "mkv" and end > 4:
        with pytest.raises(VideoReadError, match="clock starts again"):
            cut_out(video, start, end, tmp_path / "part")
        return
    cut = cut_out(video, start, end, tmp_path / "part")
    shown, duration = codes(cut.file)
    assert shown[0] == int(start) * 10 and cut.offset == pytest.approx(start % 1, abs=0.11)
    assert shown == list(range(shown[0], shown[-1] + 1)) and shown[-1] >= int(end * 10) - 1
    assert duration <= end - start + 1.5


def test_where_nothing_can_be_written_the_file_is_named(tmp_path):
    video = write_clip(tmp_path / "a.mp4", coded_frames(20), fps=10)
    with pytest.raises(OSError, match=r"no folder.*part\.mp4"):
        cut_out(video, 0, 1, tmp_path / "no folder" / "part")


def test_times_count_from_the_first_frame_whatever_the_clock_says(tmp_path):
    video = write_clip(tmp_path / "late.mkv", coded_frames(40), fps=10, keyframe_interval=10, start=5000.0)
    cut = cut_out(video, 2.25, 3.0, tmp_path / "part")
    assert codes(cut.file)[0][0] == 20 and cut.offset == pytest.approx(0.25, abs=0.06)


def test_a_codec_that_does_not_go_into_mp4_goes_into_matroska(tmp_path):
    video = write_clip(tmp_path / "a.webm", coded_frames(40), fps=10, codec="libvpx", keyframe_interval=10)
    cut = cut_out(video, 2.5, 3.5, tmp_path / "part")
    assert cut.file.suffix == ".mkv" and codes(cut.file)[0][0] == 20
    assert cut.offset == pytest.approx(0.5, abs=0.06)


def test_sound_comes_along(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, options={"x264-params": "scenecut=0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.gop_size = 10
        sound = container.add_stream("aac", rate=16000)
        for frame in coded_frames(40):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for place in range(62):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 16000, 1024 * place, Fraction(1, 16000)
            container.mux(sound.encode(samples))
        container.mux(video.encode())
        container.mux(sound.encode())
    cut = cut_out(path, 2.2, 3.0, tmp_path / "part")
    with av.open(str(cut.file)) as container:
        assert len(container.streams.audio) == 1
        assert 1.0 <= float(container.duration) / 1e6 <= 0.8 + 1.0  # of the part and a group of pictures
        assert sum(1 for packet in container.demux(audio=0) if packet.size) > 8


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0" * 100)
    with pytest.raises(VideoReadError, match=r"a\.mp4"):
        cut_out(tmp_path / "a.mp4", 0, 1, tmp_path / "part")
