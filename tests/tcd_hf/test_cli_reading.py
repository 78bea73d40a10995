"""Options of the command line that say how videos are read, and what they come with."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcd_hf.cli.main import app
from tcd_hf.cli.reading import Reading, parse_options, with_lang
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.reading.text_files import Cue, write_cues
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.deadly import DeadlyReader

SPOKEN = [Cue(0.5, 1.5, "the harbour master"), Cue(2.2, 3.0, "a ferry to Oslo")]


pytestmark = pytest.mark.usefixtures("wide_terminal")


def succeed(result):
    assert result.exit_code == 0, result.stderr
    return result


def first(run, query, *place):
    (entry,) = json.loads(succeed(run("search", query, *place, "--top-k", 1, "--json")).stdout)["queries"]
    return entry["hits"][0]


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts" / "videos"
    folder.mkdir(parents=True)
    (folder / "sea.srt").write_text(write_cues(SPOKEN, "srt"))
    (folder / "toys.json").write_text("{")
    return folder.parent


def test_texts_of_a_folder(run, clips, texts, tmp_path):
    place = ["--index", tmp_path / "my.index"]
    result = succeed(run("index", tmp_path / "videos", *place, "--texts", texts))
    assert "left out:" in result.stderr and "toys.json is no JSON" in result.stderr
    hit = first(run, "ferry to oslo", *place)
    assert (hit["path"], hit["evidence"], hit["boxes"][0]["source"]) == (
        str(clips["sea.mp4"]),
        ["a ferry to Oslo"],
        "given",
    )
    assert "4 unchanged" in run("index", tmp_path / "videos", *place, "--texts", texts).stdout
    (texts / "videos" / "sea.srt").write_text(write_cues(SPOKEN[:1], "srt"))
    assert "1 replaced" in run("index", tmp_path / "videos", *place, "--texts", texts).stdout
    assert "(given)" in run("show", clips["sea.mp4"], *place).stdout
    (texts / "videos" / "sea.srt").write_text("no subtitles")
    result = run("index", tmp_path / "videos", *place, "--texts", texts)
    assert "sea.srt" in result.stderr and "4 unchanged" in result.stdout  # it keeps what it has
    assert "(given)" in run("show", clips["sea.mp4"], *place).stdout
    (texts / "videos" / "sea.srt").unlink()
    assert "1 replaced" in run("index", tmp_path / "videos", *place, "--texts", texts).stdout
    assert "(given)" not in run("show", clips["sea.mp4"], *place).stdout
    result = run("index", tmp_path / "videos", *place, "--texts", tmp_path / "nowhere")
    assert result.exit_code == 1 and "nowhere" in result.stderr


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="subtitles are put into the file by ffmpeg")
def test_subtitles_beside_a_video_and_inside(run, clips, tmp_path):
    place = ["--index", tmp_path / "my.index"]
    beside, inside = tmp_path / "videos" / "sea.en.srt", tmp_path / "videos" / "inside.mkv"
    beside.write_text(write_cues(SPOKEN, "srt"))
    (tmp_path / "lines.srt").write_text(write_cues([Cue(1.0, 2.0, "welcome aboard")], "srt"))
    ffmpeg = ["ffmpeg", "-loglevel", "error", "-i", clips["toys.mp4"], "-i", tmp_path / "lines.srt"]
    subprocess.run([*ffmpeg, "-c:v", "copy", "-c:s", "srt", inside], check=True)
    succeed(run("index", tmp_path / "videos", *place))
    assert first(run, "welcome aboard", *place)["evidence"] == []
    result = succeed(run("index", tmp_path / "videos", *place, "--subtitles"))
    assert "3 unchanged, 2 replaced" in result.stdout  # those without subtitles are as they were
    for query, path in (("welcome aboard", inside), ("harbour master", clips["sea.mp4"])):
        hit = first(run, query, *place)
        assert (hit["path"], hit["boxes"][0]["source"]) == (str(path), "subtitle")
    assert "5 unchanged" in succeed(run("index", tmp_path / "videos", *place, "--subtitles")).stdout


def test_no_ocr_needs_none(run, clips, texts, tmp_path, code_reader):
    place = ["--index", tmp_path / "my.index"]
    (texts / "videos" / "toys.json").unlink()
    succeed(run("index", tmp_path / "videos", *place, "--texts", texts, "--no-ocr"))
    assert code_reader.images_read == 0
    assert first(run, "harbour master", *place)["evidence"] == ["the harbour master"]
    assert VideoIndex.open(tmp_path / "my.index").stats().videos_with_text == 1
    result = run("index", tmp_path / "videos", *place, "--no-ocr", "--ocr-engine", "rapidocr")
    assert result.exit_code == 2 and "--no-ocr" in result.stderr


def test_how_text_is_read_is_kept_in_the_index(run, clips, tmp_path, monkeypatch):
    """An engine that can be written down: none."""
    place, options = ["--index", tmp_path / "my.index"], ["--no-ocr", "--ocr-fps", 4, "--min-confidence", 0.25]
    succeed(run("index", clips["sea.mp4"], *place, *options))
    reading = VideoIndex.open(tmp_path / "my.index").metadata.reading
    assert (reading["ocr_engine"], reading["ocr_fps"], reading["min_confidence"]) == (None, 4.0, 0.25)
    succeed(run("index", clips["shop.mp4"], *place))  # as it says there
    result = run("index", clips["toys.mp4"], *place, "--ocr-fps", 1)
    assert result.exit_code == 1 and "other settings of the captions" in result.stderr


def test_options_of_reading_reach_the_processor():
    processor = make_tiny_processor("rapidocr")
    Reading(None, ["limit_side_len=640", "x=y"][:1], 5.0, 0.75).apply(processor)
    assert (processor.ocr_fps, processor.min_confidence) == (5.0, 0.75)
    assert processor.ocr_options == {"limit_side_len": 640} == processor.captioner.engine_options
    Reading(no_ocr=True).apply(processor)
    assert processor.captioner.engine is None
    with pytest.raises(ValueError, match="ocr_fps"):
        Reading(fps=-1.0).apply(processor)


def test_options_of_an_engine():
    options = ["a=1", "b=0.5", "c=true", "d=x.onnx", "e=[1, 2]", "f=a=b"]
    expected = {"a": 1, "b": 0.5, "c": True, "d": "x.onnx", "e": [1, 2], "f": "a=b"}
    assert parse_options(options) == expected


@pytest.mark.parametrize("option", ["limit", "=3"])
def test_what_is_no_option_of_an_engine_is_refused(run, clips, tmp_path, option):
    for command in (["ocr", clips["sea.mp4"]], ["index", clips["sea.mp4"], "--index", tmp_path / "i"]):
        result = run(*command, "--ocr-option", option)
        assert result.exit_code == 2 and "KEY=VALUE" in result.stderr


def test_a_recogniser_is_an_option_of_the_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert with_lang(["a=1"], None) == ["a=1"]
    assert with_lang(["a=1"], "korean") == ["a=1", "lang=korean"]
    (option,) = with_lang(None, "rec.onnx")
    assert option == f"lang={Path.cwd() / 'rec.onnx'}"  # an index is added to from other folders, too


def test_a_recogniser_that_there_is_none_of_is_an_error(clips):
    result = CliRunner().invoke(app, ["ocr", str(clips["sea.mp4"]), "--ocr-lang", "klingon"])
    assert result.exit_code == 1 and "klingon" in result.stderr and "korean" in result.stderr


def test_reading_options_of_a_search(run, clips, tmp_path):
    search = ["search", "gate b4", "--videos", clips["airport.mp4"], "--json"]
    (entry,) = json.loads(succeed(run(*search, "--min-confidence", 0.95)).stdout)["queries"]
    assert entry["hits"][0]["evidence"] == []  # everything is read with 0.9
    (entry,) = json.loads(succeed(run(*search, "--ocr-fps", 3)).stdout)["queries"]
    assert entry["hits"][0]["evidence"] == ["Gate B4"]


@pytest.mark.parametrize("option", [["--ocr-engine", "rapidocr"], ["--ocr-option", "a=1"], ["--ocr-fps", 1]])
def test_an_index_is_searched_as_it_was_read(run, tmp_path, option):
    result = run("search", "gate b4", "--index", tmp_path / "my.index", *option)
    assert result.exit_code == 2 and "An index keeps how its videos are read" in " ".join(result.stderr.split())


def test_device_and_batch_size(run, clips, tmp_path):
    place = ["--index", tmp_path / "my.index"]
    succeed(run("index", tmp_path / "videos", *place, "--batch-size", 3, "--workers", 0, "--device", "cpu"))
    assert first(run, "gate b4", *place, "--device", "cpu")["evidence"] == ["Gate B4"]
    assert run("index", tmp_path / "videos", *place, "--batch-size", 0).exit_code == 2


def test_a_device_that_is_not_there_is_an_error(clips):
    result = CliRunner().invoke(app, ["search", "x", "--videos", str(clips["sea.mp4"]), "--device", "nonsense"])
    assert result.exit_code == 1 and "The device 'nonsense' cannot be used" in result.stderr


def test_every_option_of_ocr_with_a_real_engine(tmp_path):
    """The demo's own letters, read by the engine of the package."""
    from tcd_hf.demo import render_demo_clips

    station = next(path for path in render_demo_clips(tmp_path) if path.name == "station.mp4")
    options = ["--ocr-engine", "rapidocr", "--ocr-option", "limit_side_len=320", "--ocr-fps", "1", "--num-windows", "2"]
    options += ["--min-confidence", "0.6", "--segment-seconds", "2", "--cache-dir", str(tmp_path / "cache")]
    result = CliRunner().invoke(app, ["ocr", str(station), *options, "--json"])
    assert result.exit_code == 0, result.output
    captions = json.loads(result.stdout)["captions"]
    assert len(captions) == 4 and "DEPARTURES" in captions[0]["text"]
    refused = CliRunner().invoke(app, ["ocr", str(station), "--ocr-option", "no_such=1"])
    reading = ["--ocr-engine", "rapidocr", "--ocr-option", "limit_side_len=320", "--ocr-fps", "1"]
    reading += ["--cache-dir", str(tmp_path / "cache")]
    index = ["--index", str(tmp_path / "my.index")]
    assert CliRunner().invoke(app, ["index", str(station), *index, *reading]).exit_code == 0
    assert VideoIndex.open(tmp_path / "my.index").metadata.reading["ocr_options"] == {"limit_side_len": 320}
    result = CliRunner().invoke(app, ["search", "departures", "--videos", str(station), *reading, "--json"])
    assert "DEPARTURES" in json.loads(result.stdout)["queries"][0]["hits"][0]["evidence"]
    assert refused.exit_code == 1 and "no_such" in refused.output


@pytest.mark.workers
def test_a_video_that_ends_the_process_that_reads_it_costs_a_search_no_other(run, clips, tmp_path, monkeypatch):
    engine = DeadlyReader(aborts_at=2)
    monkeypatch.setattr("tcd_hf.loading.load", lambda name, device: (make_tiny_model(), make_tiny_processor(engine)))
    result = succeed(run("search", "the store", "--videos", tmp_path / "videos", "--json"))
    hits = json.loads(result.stdout)["queries"][0]["hits"]
    assert {hit["path"] for hit in hits} == {str(path) for name, path in clips.items() if name != "airport.mp4"}
    assert "airport.mp4" in result.stderr and "SIGABRT" in result.stderr


DYING = """
import os, sys, traceback
if any("own_texts" in frame.filename for frame in traceback.extract_stack()):
    os.abort()
sys.path.remove(os.path.dirname(__file__))
del sys.modules["av"]
import av
"""


@pytest.mark.workers
def test_subtitles_are_looked_for_where_a_file_ends_no_run(run, clips, tmp_path, monkeypatch):
    """FFmpeg that dies as it looks for subtitles: a module of PyAV's name, found first, which gives way to PyAV for all
    else."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "av.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    words = ["--index", tmp_path / "my.index", "--no-ocr", "--subtitles", "--json"]
    report = json.loads(succeed(run("index", clips["shop.mp4"], *words)).stdout)
    assert len(report["added"]) == 1 and not report["skipped"]


class TestLimits:
    """`--max-pixels` and `--stall-seconds`, of whatever reads videos."""

    def test_pixels(self, run, clips, tmp_path):
        index = ["--index", tmp_path / "my.index"]
        few = ["--max-pixels", 100]
        refused = run("index", tmp_path / "videos", *index, *few)
        assert refused.exit_code == 1 and refused.stderr.count("and `max_pixels` allows 100") == len(clips)
        assert "--max-pixels of `tcd-hf`" in refused.stderr
        succeed(run("index", tmp_path / "videos", *index))
        refused = run("search", "gate", "--videos", tmp_path / "videos", *few)
        assert refused.exit_code == 1 and "`max_pixels` allows 100" in refused.stderr
        succeed(run("search", "gate", "--videos", tmp_path / "videos"))
        refused = run("ocr", clips["shop.mp4"], *few)
        assert refused.exit_code == 1 and "allows 100" in refused.stderr

    def test_seconds(self, run, clips, tmp_path, monkeypatch):
        from tcd_hf.reading import worker_pool

        given, read_videos = [], worker_pool.read_videos

        def watched(reader, files, num_workers, stall_seconds, *rest):
            given.append(stall_seconds)
            return read_videos(reader, files, num_workers, stall_seconds, *rest)

        monkeypatch.setattr("tcd_hf.index.engines.read_videos", watched)
        place = [clips["shop.mp4"], "--index", tmp_path / "my.index"]
        succeed(run("index", *place, "--stall-seconds", 7))
        succeed(run("index", clips["sea.mp4"], "--sync", "--index", tmp_path / "my.index", "--stall-seconds", 8))
        succeed(run("search", "gate", "--videos", tmp_path / "videos", "--stall-seconds", 9))
        succeed(run("search", "gate", "--videos", tmp_path / "videos", clips["sea.mp4"]))
        assert [seconds for number, seconds in enumerate(given) if number % 2 == 0] == [7.0, 8.0, 9.0, 120.0]

    def test_an_index_that_is_only_searched_has_none(self, run, tmp_path):
        for option in ("--stall-seconds", "--max-pixels"):
            refused = run("search", "gate", "--index", tmp_path, option, 5)
            assert refused.exit_code == 2 and option in refused.stderr


@pytest.mark.workers
def test_a_video_that_ends_the_process_that_reads_it_is_an_error_of_ocr(run, clips, tmp_path, monkeypatch):
    """Decoders that die, in the place of the real ones: modules of their names, found first."""
    (tmp_path / "modules").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "modules")
    for module in ("decord", "av"):
        (tmp_path / "modules" / f"{module}.py").write_text("import os\nos.abort()\n")
    result = run("ocr", clips["sea.mp4"])
    assert result.exit_code == 1 and "SIGABRT" in result.stderr
    (tmp_path / "modules" / "av.py").unlink()  # PyAV reads what brings decord down
    succeed(run("ocr", clips["sea.mp4"]))
