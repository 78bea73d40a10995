import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from tcd_hf.processing.heartbeat import count_beats
from tcd_hf.processing.packets import Axis
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.own_texts import (
    NO_TEXTS,
    OwnTexts,
    add_texts,
    check_texts,
    embedded_subtitles,
    find_texts,
    has_subtitles,
    side_cars,
    subtitles_beside,
)
from tcd_hf.reading.text_files import Cue, write_cues
from tests.clips import coded_frames, read_code, write_clip

CUES = [Cue(0.5, 1.5, "Hello <i>there</i>"), Cue(2.0, 3.0, "Two\nlines")]


def test_texts_go_to_the_windows_that_they_overlap():
    read = TextTrack("EXIT", 0.9, 0.0, 2.0, (0.1, 0.1, 0.2, 0.2))
    captions = [WindowCaption(0.0, 2.0, "EXIT", [read]), WindowCaption(2.0, 4.0), WindowCaption(4.0, 6.0)]
    told = add_texts(captions, [Cue(1.0, 3.0, " spoken\nword", "subtitle"), Cue(6.0, 7.0, "late"), Cue(2.0, 4.0, " ")])
    assert [caption.text for caption in told] == ["EXIT spoken word", "spoken word", ""]
    first, second = told[0].tracks[1], told[1].tracks[0]
    assert told[0].tracks[0] == read
    assert (first.start, first.end, second.start, second.end) == (1.0, 2.0, 2.0, 3.0)
    assert (first.source, first.box, first.box_time) == ("subtitle", (0.0, 0.0, 1.0, 1.0), 1.5)
    assert add_texts(captions, []) == captions


def test_a_digest_tells_texts_apart():
    texts = [NO_TEXTS, OwnTexts(with_embedded=True), OwnTexts((CUES[0],)), OwnTexts(tuple(CUES))]
    assert len({each.digest for each in texts}) == 4 and NO_TEXTS.digest == ""
    for each in texts:
        assert OwnTexts.from_json(each.to_json()) == each and OwnTexts.from_json(each.to_json()).digest == each.digest


def test_what_a_user_gives_is_checked():
    given = check_texts({"/v/../v/a.mp4": [(0, 1, "A"), {"start": 1, "end": 2, "text": "B"}, CUES[0]]}, ["/v/a.mp4"])
    assert given == {"/v/a.mp4": OwnTexts((Cue(0.0, 1.0, "A"), Cue(1.0, 2.0, "B"), CUES[0]))}
    with pytest.raises(ValueError, match=r"/v/b\.mp4, which is not among the videos"):
        check_texts({"/v/b.mp4": []}, ["/v/a.mp4"])
    with pytest.raises(ValueError, match=r"Text 2 of /v/a\.mp4 must be \(start, end, text\).* got \(1, 2\)"):
        check_texts({"/v/a.mp4": [(0, 1, "A"), (1, 2)]}, ["/v/a.mp4"])


def test_files_of_texts_are_found_by_their_stem(tmp_path):
    for name in ("a.srt", "day/b.json", "night/b.vtt", "b.v2.srt", "c.mp4.srt", "c.srt", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    videos = ["/v/a.mp4", "/v/day/b.mp4", "/v/night/b.mkv", "/v/b.v2.mp4", "/v/c.mp4", "/v/d.mp4"]
    found = {video: str(file.relative_to(tmp_path)) for video, file in find_texts(tmp_path, videos)}
    names = ["a.srt", "day/b.json", "night/b.vtt", "b.v2.srt", "c.mp4.srt"]
    assert found == dict(zip(videos[:5], names, strict=True))
    with pytest.raises(NotADirectoryError, match="nowhere"):
        list(find_texts(tmp_path / "nowhere", videos))


def test_files_of_texts_among_the_videos(tmp_path, monkeypatch):
    """Whichever way the folder is named; of videos with the same name each has its own."""
    for name in ("day/b.srt", "night/b.srt", "day/only.srt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    videos = [str(tmp_path / name) for name in ("night/b.mp4", "day/b.mp4", "day/only.mp4", "night/only.mp4")]
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path("."), tmp_path / "day" / ".."):
        found = {video: file.parent.name for video, file in find_texts(folder, videos)}
        assert found == {videos[0]: "night", videos[1]: "day", videos[2]: "day"}


def test_files_beside_a_video(tmp_path):
    for name in ("a.srt", "a.en.vtt", "ab.srt", "a.json", "b.srt"):
        (tmp_path / name).write_text(write_cues([Cue(0.0, 1.0, name)], "vtt" if name.endswith("vtt") else "srt"))
    assert [file.name for file in side_cars(tmp_path / "a.mp4")] == ["a.en.vtt", "a.srt"]
    assert subtitles_beside(tmp_path / "a.mp4") == [
        Cue(0.0, 1.0, "a.en.vtt", "subtitle"),
        Cue(0.0, 1.0, "a.srt", "subtitle"),
    ]
    assert side_cars(tmp_path / "c.mp4") == []
    for name in ("d.mp4", "d.part2.mp4", "d.srt", "d.part2.srt", "d.part2.en.srt"):
        (tmp_path / name).write_text("")
    assert [file.name for file in side_cars(tmp_path / "d.mp4")] == ["d.srt"]
    assert [file.name for file in side_cars(tmp_path / "d.part2.mp4")] == ["d.part2.en.srt", "d.part2.srt"]


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "srt"), ("b.mkv", "ass"), ("a.mp4", "mov_text")])
@pytest.mark.parametrize("start", [0.0, 5.0])
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="subtitles are put into the file by ffmpeg")
def test_text_streams_inside_a_file(tmp_path, name, codec, start):
    """Times are those from the first frame on, whatever the clock of the file shows."""
    clip = write_clip(tmp_path / f"clip-{name}", coded_frames(40), fps=10)
    lines = "1\n00:00:00,500 --> 00:00:01,500\nHello <i>there</i>\n\n2\n00:00:02,000 --> 00:00:03,000\nTwo\nlines\n"
    (tmp_path / "a.srt").write_text(lines)
    ffmpeg = ["ffmpeg", "-loglevel", "error", "-i", clip, "-i", tmp_path / "a.srt", "-c:v", "copy", "-c:s", codec]
    subprocess.run([*ffmpeg, "-output_ts_offset", str(start), tmp_path / name], check=True)
    before = count_beats()
    cues = embedded_subtitles(tmp_path / name)
    assert count_beats() - before >= 40  # with each picture: a film with few lines does not pass for one that hangs
    assert [(cue.text, cue.source) for cue in cues] == [("Hello there", "subtitle"), ("Two\nlines", "subtitle")]
    assert [cue.start for cue in cues] == pytest.approx([0.5, 2.0], abs=0.11)
    assert [cue.end for cue in cues] == pytest.approx([1.5, 3.0], abs=0.11)
    assert OwnTexts((Cue(0.0, 1.0, "x"),), with_embedded=True).all_of(tmp_path / name) == [Cue(0.0, 1.0, "x"), *cues]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="subtitles are put into the file by ffmpeg")
def test_text_streams_beside_frames_of_any_size(tmp_path):
    """What frames may have is for those who decode them to say."""
    (tmp_path / "a.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nHello\n")
    gray = ["-f", "lavfi", "-i", "color=gray:s=8200x8200:r=1:d=2"]  # of more than 2^26 pixels
    into = ["-c:v", "mjpeg", "-c:s", "srt", tmp_path / "a.mkv"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *gray, "-i", tmp_path / "a.srt", *into], check=True)
    with pytest.raises(VideoReadError, match="max_pixels"):
        open_video(tmp_path / "a.mkv")
    assert has_subtitles(tmp_path / "a.mkv")
    assert embedded_subtitles(tmp_path / "a.mkv") == [Cue(0.5, 1.5, "Hello", "subtitle")]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="subtitles are put into the file by ffmpeg")
def test_texts_stay_with_the_frames_where_the_clock_starts_again(tmp_path):
    data = b""
    for number in range(2):
        clip = write_clip(tmp_path / "clip.mp4", coded_frames(40, start=40 * number), keyframe_interval=8)
        times = ("00:00:00,000", "00:00:00,900", "First"), ("00:00:03,500", "00:00:04,000", "Last")
        lines = [f"{line}\n{start} --> {end}\n{text} {number}\n" for line, (start, end, text) in enumerate(times, 1)]
        (tmp_path / "a.srt").write_text("\n".join(lines))
        ffmpeg = ["ffmpeg", "-loglevel", "error", "-y", "-i", clip, "-i", tmp_path / "a.srt", "-c:v", "copy"]
        subprocess.run([*ffmpeg, "-c:s", "srt", tmp_path / "part.mkv"], check=True)
        data += (tmp_path / "part.mkv").read_bytes()
    (tmp_path / "joined.mkv").write_bytes(data)
    cues = embedded_subtitles(tmp_path / "joined.mkv")
    assert [cue.text for cue in cues] == ["First 0", "Last 0", "First 1", "Last 1"]
    assert [cue.start for cue in cues] == pytest.approx([0.0, 3.5, 4.0, 7.5], abs=0.01)
    assert [cue.end for cue in cues] == pytest.approx([0.9, 4.0, 4.9, 8.0], abs=0.01)
    with open_video(tmp_path / "joined.mkv") as video:
        assert [read_code(frame) for frame in video.frames_at([cue.start + 0.01 for cue in cues])] == [0, 35, 40, 75]


def test_a_shift_is_that_of_the_part_whose_clock_shows_the_time():
    """A text may lie before the first frame of its part in the file, or behind the last."""
    axis = Axis(np.arange(0, 80, 10), np.repeat([0, 40], 4), True)
    assert [axis.shift_at(time, 4) for time in (0, 5, 29, 35)] == [40, 40, 0, 0]
    assert [axis.shift_at(time, number) for time, number in ((5, 0), (35, 8), (99, 8))] == [0, 40, 40]


def test_a_file_without_text_streams(tmp_path):
    path = write_clip(tmp_path / "a.mp4", coded_frames(4))
    assert embedded_subtitles(path) == []
    with av.open(str(path)) as container:  # and it is as it was
        assert len(container.streams.subtitles) == 0
