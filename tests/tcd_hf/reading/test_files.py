import hashlib
import os
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tcd_hf.processing.video_reading import open_video
from tcd_hf.reading.files import VIDEO_EXTENSIONS, find_videos, hash_file, scan_videos, write_whole
from tcd_hf.reading.left_out import LeftOut, describe_left_out
from tests.clips import coded_frame, coded_frames, read_code


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_what_is_written_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    for content in (b"first", b"then"):
        write_whole(tmp_path / "whole", content)
        assert (tmp_path / "whole").read_bytes() == content
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "usual").stat().st_mode
    with pytest.raises(TypeError):
        write_whole(tmp_path / "whole", "no bytes")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["usual", "whole"]


def test_folders_are_searched_recursively_in_order(tmp_path):
    names = ["b.MP4", "a/z.webm", "a/y.mkv", "notes.txt", ".hidden.mp4", ".git/c.mp4", "a/b c é/x.mov"]
    for name in names:
        touch(tmp_path / name)
    found = [os.path.relpath(path, tmp_path) for path in find_videos([tmp_path])]
    assert found == ["b.MP4", "a/y.mkv", "a/z.webm", "a/b c é/x.mov"]


# Of each ending: FFmpeg's name of the container where it goes by another, the codec, the size and the frame rate.
SMALL, PAL = (128, 96), (720, 576)
H264, MPEG2, MPEG1 = ("libx264", SMALL, 10), ("mpeg2video", SMALL, 25), ("mpeg1video", SMALL, 25)
HEVC, MPEG4, WMV, RV = ("libx265", SMALL, 25), ("mpeg4", SMALL, 10), ("wmv2", SMALL, 10), ("rv10", SMALL, 10)
VP8, MJPEG = ("libvpx", SMALL, 10), ("mjpeg", SMALL, 25)
WRITTEN = {
    ".264": ("h264", *H264), ".265": ("hevc", *HEVC), ".3g2": ("3g2", *MPEG4), ".3gp": ("3gp", *MPEG4),
    ".apng": ("apng", "apng", SMALL, 10), ".asf": ("asf", *WMV), ".avi": ("avi", *MPEG4), ".divx": ("avi", *MPEG4),
    ".dv": ("dv", "dvvideo", PAL, 25), ".f4v": ("mp4", *H264), ".flv": ("flv", "flv", SMALL, 10),
    ".gif": ("gif", "gif", SMALL, 10), ".h264": ("h264", *H264), ".h265": ("hevc", *HEVC), ".hevc": ("hevc", *HEVC),
    ".ivf": ("ivf", *VP8), ".m1v": ("mpeg1video", *MPEG1), ".m2t": ("mpegts", *MPEG2), ".m2ts": ("mpegts", *H264),
    ".m2v": ("mpeg2video", *MPEG2), ".m4v": ("mp4", *H264), ".mjpeg": ("mjpeg", *MJPEG), ".mjpg": ("mjpeg", *MJPEG),
    ".mk3d": ("matroska", *H264), ".mkv": ("matroska", *H264), ".mov": ("mov", *H264), ".mp4": ("mp4", *H264),
    ".mpe": ("mpeg", *MPEG1), ".mpeg": ("mpeg", *MPEG1), ".mpg": ("mpeg", *MPEG2), ".mpv": ("mpeg2video", *MPEG2),
    ".mts": ("mpegts", *H264), ".mxf": ("mxf", *MPEG2), ".nut": ("nut", *MPEG4), ".qt": ("mov", *H264),
    ".rm": ("rm", *RV), ".rmvb": ("rm", *RV), ".ts": ("mpegts", *H264), ".vob": ("vob", *MPEG2),
    ".webm": ("webm", *VP8), ".wmv": ("asf", *WMV), ".wtv": ("wtv", *MPEG2),
    ".f4p": ("mp4", *H264), ".gxf": ("gxf", "mpeg2video", PAL, 25), ".m2p": ("mpeg", *MPEG2), ".mod": ("vob", *MPEG2),
    ".mp2v": ("mpeg2video", *MPEG2), ".obu": ("obu", "libsvtav1", SMALL, 25), ".tod": ("mpegts", *MPEG2),
    ".tp": ("mpegts", *MPEG2), ".trp": ("mpegts", *MPEG2), ".y4m": ("yuv4mpegpipe", "wrapped_avframe", SMALL, 10),
}  # fmt: skip
OGG = frozenset((".ogg", ".ogm", ".ogv"))  # with VP8, as not every FFmpeg makes Theora
FIRST = 2048  # the number of the first frame, which is so not all black
PIXELS = {"gif": "rgb8", "mjpeg": "yuvj420p", "apng": "rgb24"}


def write_video(path, container_format, codec, size, fps, count=12):
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, PIXELS.get(codec, "yuv420p")
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        for number, pixels in enumerate(coded_frames(count, size, FIRST)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_animation(path, count=2):
    images = [Image.fromarray(coded_frame(FIRST + number)) for number in range(count)]
    kind = {".apng": "PNG"}.get(path.suffix.lower())
    images[0].save(path, kind, save_all=True, append_images=images[1:], duration=100)
    return path


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.filterwarnings("ignore:The video")
@pytest.mark.parametrize("ending", sorted(VIDEO_EXTENSIONS))
def test_every_ending_is_one_of_what_is_read(tmp_path, ending):
    path = tmp_path / f"a{ending.upper()}"
    if ending == ".webp":
        write_animation(path, 12)
    else:
        write_video(path, *(("ogg", *VP8) if ending in OGG else WRITTEN[ending]))
    assert scan_videos([tmp_path]) == ([str(path)], [])
    with open_video(path) as video:
        assert [read_code(frame) for frame in video.frames_at(video.frame_times)] == list(range(FIRST, FIRST + 12))


def test_what_is_left_out_is_told(tmp_path):
    folder = tmp_path / "clips"
    videos = [write_animation(touch(folder / name)) for name in ("a.gif", "b.WebP", "c.apng")]
    videos += [touch(folder / "d.mp4"), touch(folder / "broken.gif"), touch(folder / "broken.ogg")]
    videos += [write_video(folder / "e.ogg", "ogg", *VP8)]
    left_out = [(write_animation(folder / name, 1), f"still {name[-5:].lower()}") for name in ("f.webp", "G.WEBP")]
    left_out += [
        (write_animation(folder / "s.gif", 1), "still .gif"),
        (write_sound(folder / "h.ogg"), "sound .ogg"),
    ]
    left_out += [(touch(folder / name), name[1:].lower()) for name in ("i.JPG", "j.jpg", "k.jpg", "l.txt")]
    left_out += [(touch(folder / "README"), "without ending"), (touch(folder / ".m.mp4"), "hidden")]
    touch(folder / ".git" / "n.mp4")
    left_out += [(folder / ".git", "hidden")]
    found = scan_videos([folder])
    assert sorted(found.videos) == sorted(map(str, videos)) == sorted(find_videos([folder]))
    assert sorted(found.left_out) == sorted(LeftOut(str(path), kind) for path, kind in left_out)
    assert describe_left_out(found.left_out) == (
        "Left out 11 files that are no videos: 3 .jpg, 2 hidden, 2 still .webp, 1 without ending, 1 sound .ogg, "
        "1 .txt, 1 others"
    )
    # Named outright, it is for its reader to say what is wrong with a file.
    assert scan_videos([folder / "f.webp"]) == ([str(folder / "f.webp")], [])


def test_nothing_left_out_is_nothing_to_say(tmp_path):
    assert describe_left_out([]) == ""
    assert describe_left_out([LeftOut("a.jpg", ".jpg")]) == "Left out 1 file that is no video: 1 .jpg"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_no_named_pipe_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.webp")
    os.mkfifo(tmp_path / "b.ogg")
    assert len(scan_videos([tmp_path]).videos) == 2  # their reader refuses them


def test_links_are_followed_once_and_loops_end(tmp_path):
    folder = tmp_path / "videos"
    video = touch(folder / "a.mp4")
    elsewhere = touch(tmp_path / "elsewhere" / "b.mp4")
    try:
        (folder / "loop").symlink_to(folder, target_is_directory=True)
    except OSError as error:  # Windows asks for a right that few have
        pytest.skip(f"links cannot be made here: {error}")
    (folder / "linked").symlink_to(elsewhere.parent, target_is_directory=True)
    (folder / "same.mp4").symlink_to(video)
    assert find_videos([folder, folder, elsewhere]) == [str(video), str(folder / "linked" / "b.mp4")]


def test_a_named_file_is_taken_whatever_its_ending(tmp_path):
    assert find_videos([touch(tmp_path / "clip.bin")]) == [str(tmp_path / "clip.bin")]


def test_nothing_found_says_what_was_looked_for(tmp_path):
    touch(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"\.avi .*\.mp4 .*\.webm .*Left out 1 file that is no video: 1 \.txt\. Name"):
        find_videos([tmp_path])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_videos([tmp_path, tmp_path / "nowhere"])


def test_files_are_hashed_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("tcd_hf.reading.files.HASH_CHUNK_BYTES", 3)
    (tmp_path / "v").write_bytes(b"0123456789")
    assert hash_file(tmp_path / "v") == hashlib.blake2b(b"0123456789", digest_size=20).hexdigest()
