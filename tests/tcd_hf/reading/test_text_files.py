import csv
import html
import io
import json
import re

import pytest
import webvtt

from tcd_hf.reading.text_files import Cue, dialogue_text, read_cues, write_cues

CUES = [
    Cue(0.0, 2.5, "WAY OUT", "ocr"),
    Cue(1.25, 3.0, "<3 COFFEE & TEA {A}", "ocr"),
    Cue(3599.9996, 3601.25, "停车 Äußerst", "subtitle"),
    Cue(360000.5, 360001.5, "two\nlines", "given"),
]


def written(tmp_path, file_format, cues=CUES):
    path = tmp_path / f"texts.{file_format}"
    path.write_text(write_cues(cues, file_format), encoding="utf-8")
    return path


@pytest.mark.parametrize("file_format", ["srt", "vtt", "json"])
def test_what_is_written_is_read(tmp_path, file_format):
    read = read_cues(written(tmp_path, file_format, CUES[::-1]))
    assert [cue.text for cue in read] == [cue.text for cue in CUES]
    for cue, expected in zip(read, CUES, strict=True):
        assert (cue.start, cue.end) == pytest.approx((expected.start, expected.end), abs=5e-4)
        assert cue.source == "given"


def test_subrip_is_as_players_want_it():
    blocks = write_cues([*CUES, Cue(9.0, 9.0001, "no time"), Cue(9.0, 10.0, " \n ")], "srt").strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["1", "2", "3", "4"]
    for block in blocks:
        assert re.fullmatch(r"\d{2,}:\d\d:\d\d,\d{3} --> \d{2,}:\d\d:\d\d,\d{3}", block.split("\n")[1])
    assert blocks[2].split("\n")[1] == "01:00:00,000 --> 01:00:01,250"
    assert write_cues([Cue(0.0, 1.0, "A --> B")], "srt").count("-->") == 1


@pytest.mark.parametrize("text", ["if a <b and c> d", "vector<int>", "<b>bold</b>", "{\\an8} up", "<html>", "x & y"])
@pytest.mark.parametrize("file_format", ["srt", "vtt"])
def test_what_looks_like_a_mark_is_text(tmp_path, file_format, text):
    assert [cue.text for cue in read_cues(written(tmp_path, file_format, [Cue(0.0, 1.0, text)]))] == [text]


def test_webvtt_is_valid():
    content = write_cues([*CUES, Cue(5.0, 6.0, "A --> B")], "vtt")
    captions = webvtt.from_string(content, strict=True)
    assert content.startswith("WEBVTT\n\n") and "&lt;3 COFFEE &amp; TEA {A}" in content
    assert html.unescape(captions[2].text) == "A --> B" and content.count("-->") == len(captions) == 5
    assert write_cues([], "vtt") == "WEBVTT\n"


def test_csv_and_json_keep_all():
    rows = list(csv.reader(io.StringIO(write_cues(CUES, "csv"))))
    assert rows[0] == ["start", "end", "text", "source"]
    assert [Cue(float(start), float(end), text, source) for start, end, text, source in rows[1:]] == CUES
    assert [Cue(**entry) for entry in json.loads(write_cues(CUES, "json"))] == CUES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "old.srt"
    path.write_bytes("1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Café</i> {\\an8}zu\r\n".encode(encoding))
    assert read_cues(path) == [Cue(1.0, 2.5, "Café zu")]


def test_times_and_marks_of_webvtt(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\nNOTE x\n\nintro\n01:02.500 --> 01:03.000 line:0\n<v Bob><b>Hi</b> &amp; bye\n")
    assert read_cues(path, "subtitle") == [Cue(62.5, 63.0, "Hi & bye", "subtitle")]


def test_json_of_triples(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[[0, 1.5, "A"], {"start": 2, "end": 3, "text": "B", "source": "ocr"}, [3, 4, "\\ud800"]]')
    assert read_cues(path) == [Cue(0.0, 1.5, "A"), Cue(2.0, 3.0, "B"), Cue(3.0, 4.0, "?")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", r"a\.txt does not end in \.srt, \.vtt, \.json"),
        ("a.srt", "no subtitles at all", r"a\.srt is no file of subtitles.* 00:00:01,000 -->"),
        ("a.vtt", "no subtitles at all", r"a\.vtt is no file of subtitles.* the line WEBVTT"),
        ("a.vtt", "WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nHi\n", r"it holds no times.* 00:00:01\.000 -->"),
        ("a.json", "[" * 100_000, r"a\.json is no JSON"),
        ("a.json", "{", r"a\.json is no JSON"),
        ("a.json", "{}", r"a\.json must hold a list .* got dict"),
        ("a.json", '[[0, 1, "A"], [1, 2]]', r"Text 2 of .*a\.json must be \(start, end, text\).* got \[1, 2\]"),
        ("a.json", '[[2, 1, "A"]]', r"start <= end"),
        ("a.json", f'[[1{"0" * 400}, 1, "A"]]', r"must be \(start, end, text\)"),
        ("a.json", '[{"start": 1, "text": "A"}]', r"Text 1 of .* has no 'end'"),
    ],
)
def test_files_that_are_none(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_cues(tmp_path / name)


def test_dialogues_of_ass_lose_their_marks_and_drawings():
    assert dialogue_text(r"{\an8}Mind\hthe {\i1}gap{\i0}\Nplease") == "Mind the gap\nplease"
    assert dialogue_text(r"{\p1}m 0 0 l 100 0{\p0}") == ""
    assert dialogue_text(r"{\pos(1,2)}here") == "here"


def test_unknown_format():
    with pytest.raises(ValueError, match="'ass'"):
        write_cues(CUES, "ass")
