import csv
import io
import json
import os
from typing import get_args

import numpy as np
import pytest
import webvtt

from tcd_hf.choices import TextFormat
from tcd_hf.cli.export import files_for
from tests.clips import coded_frame, write_clip

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture
def index(run, clips, tmp_path):
    """The clips and one in a subfolder, which shows a text over the border of two segments."""
    (tmp_path / "videos" / "more").mkdir()
    codes = [8, 2, 2, 2, 8, 8]
    write_clip(tmp_path / "videos" / "more" / "long.mp4", [coded_frame(c) for c in codes for _ in range(5)], fps=5)
    uri = tmp_path / "my.index"
    assert run("index", tmp_path / "videos", "--index", uri, "--segment-seconds", 2).exit_code == 0
    return uri


def succeed(result):
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_text_is_one_entry_however_windows_and_segments_cut_it(run, index, tmp_path):
    video = tmp_path / "videos" / "more" / "long.mp4"
    subtitles = webvtt.from_string(succeed(run("export", video, "--index", index, "--format", "vtt")), strict=True)
    assert [caption.text for caption in subtitles] == ["DEPARTURES", "Gate B4"]
    assert all(caption.start < "00:00:01.500" and caption.end > "00:00:03.500" for caption in subtitles)
    assert succeed(run("export", video, "--index", index)).startswith("1\n00:00:0")  # SubRip by default


def test_tables_and_json_on_the_terminal(run, index, clips):
    place = [clips["shop.mp4"], "--index", index, "--format"]
    rows = list(csv.reader(io.StringIO(succeed(run("export", *place, "csv")))))
    entries = json.loads(succeed(run("export", *place, "json")))
    assert rows[0] == list(entries[0]) == ["start", "end", "text", "source"]
    assert [row[2:] for row in rows[1:]] == [["TESCO express", "ocr"], ["£1.30", "ocr"]]
    assert [[str(value) for value in entry.values()] for entry in entries] == rows[1:]


def test_many_videos_are_files_in_a_folder(run, index, tmp_path):
    result = run("export", "--index", index)
    assert result.exit_code == 2 and "5 videos are 5 files" in result.stderr and "--to" in result.stderr
    folder = tmp_path / "out"
    succeed(run("export", "--index", index, "--to", folder))
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.srt"))
    assert names == ["airport.srt", "more/long.srt", "sea.srt", "shop.srt", "toys.srt"]
    assert (folder / "sea.srt").read_text() == ""
    assert "£1.30" in (folder / "shop.srt").read_text(encoding="utf-8")
    succeed(run("export", tmp_path / "videos" / "more", "--index", index, "--to", tmp_path / "one", "--format", "json"))
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["long.json"]


def test_files_do_not_overwrite_each_other_nor_leave_the_folder(tmp_path):
    files = files_for(["/v/a.mp4", "/v/a.mkv", "/v/b/a.v2.mp4"], tmp_path, "srt")
    names = [file.relative_to(tmp_path).as_posix() for file in files.values()]
    assert names == ["a.srt", "a.mkv.srt", "b/a.v2.srt"]
    files = files_for(["/v/a.mp4", "/v/a.mkv.mp4", "/v/a.mkv", "/v/A.avi"], tmp_path, "srt")
    names = [file.relative_to(tmp_path).as_posix() for file in files.values()]
    assert names == ["a.srt", "a.mkv.srt", "a.mkv.2.srt", "A.avi.srt"]
    for path in ("/v/../../etc/x.mp4", "../x.mp4"):
        for file in _safe(["/v/a.mp4", path], tmp_path):
            assert os.path.realpath(file).startswith(os.path.realpath(tmp_path) + os.sep)


def _safe(paths, folder):
    try:
        return files_for(paths, folder, "srt").values()
    except ValueError:
        return []


def test_show_and_list(run, index, clips, tmp_path):
    lines = succeed(run("show", clips["airport.mp4"], "--index", index)).splitlines()
    assert [line.split(maxsplit=1)[1].strip() for line in lines] == ["DEPARTURES", "Gate B4"]
    shown = json.loads(succeed(run("show", clips["airport.mp4"], "--index", index, "--json")))
    assert shown["video"] == str(clips["airport.mp4"]) and shown["texts"][0]["text"] == "DEPARTURES"
    lines = [line.rstrip() for line in succeed(run("list", "--index", index)).splitlines()]
    assert lines[0] == str(tmp_path / "videos") and "0:00:06.0  text     more/long.mp4" in lines
    assert "0:00:04.0  no text  sea.mp4" in lines
    videos = json.loads(succeed(run("list", "--index", index, "--json")))["videos"]
    (long,) = (video for video in videos if video["path"].endswith("long.mp4"))
    assert (long["duration"], long["segments"], long["has_text"]) == (pytest.approx(6.0), 3, True)


@pytest.mark.parametrize("file_format", ["srt", "vtt", "json"])
def test_what_is_exported_and_given_back_is_found_alike(run, index, tmp_path, file_format):
    folder, given = tmp_path / "out", tmp_path / "given.index"
    succeed(run("export", "--index", index, "--to", folder, "--format", file_format))
    options = ["--texts", folder, "--no-ocr", "--segment-seconds", 2]
    succeed(run("index", tmp_path / "videos", "--index", given, *options))
    for query in ("the store TESCO express", "gate b4", "star wars", "departures"):
        first, second = (
            json.loads(succeed(run("search", query, "--index", uri, "--json")))["queries"][0]["hits"]
            for uri in (index, given)
        )
        assert [hit["path"] for hit in first] == [hit["path"] for hit in second]
        assert [hit["evidence"] for hit in first] == [hit["evidence"] for hit in second]
        times = [[(hit["start"], hit["end"]) for hit in hits if hit["evidence"]] for hits in (first, second)]
        assert np.allclose(*times, atol=2e-3)
    table = succeed(run("search", "gate b4", "--index", given, "--top-k", 1))
    assert "Gate B4 (given)" in table


@pytest.mark.parametrize("command", ["export", "show"])
def test_a_video_that_is_not_there_is_an_error(run, index, tmp_path, command):
    result = run(command, tmp_path / "lost.mp4", "--index", index)
    assert result.exit_code == 1 and "lost.mp4" in result.stderr and "has no video" in result.stderr
    result = run(command, tmp_path / "lost.mp4", "--index", tmp_path / "nowhere")
    assert result.exit_code == 1 and "There is no index" in result.stderr


@pytest.mark.parametrize("file_format", get_args(TextFormat))
def test_ocr_writes_files_of_texts(run, clips, tmp_path, monkeypatch, code_reader, file_format):
    from tcd_hf.processing import window_ocr

    monkeypatch.setattr(window_ocr, "get_engine", lambda *args, **kwargs: code_reader)
    content = succeed(run("ocr", clips["shop.mp4"], "--format", file_format))
    assert content.count("TESCO express") == 1 and "£1.30" in content and "shop.mp4" not in content
    result = run("ocr", clips["shop.mp4"], "--format", file_format, "--json")
    assert result.exit_code == 2 and "not both" in result.stderr
