import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from importlib import metadata

import pytest
from PIL import Image
from typer.testing import CliRunner

from tcd_hf.cli import common
from tcd_hf.cli.common import open_index, reports_errors
from tcd_hf.cli.main import app
from tcd_hf.cli.reading import Reading
from tcd_hf.demo import DEMO_CLIPS, DEMO_QUERIES
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.processing.video_reading import open_video
from tcd_hf.version import __version__
from tests.clips import coded_frame, read_code, write_clip
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor

HIT_FIELDS = [
    *("path", "score", "text_video", "text_ocr", "text_hybrid", "lexical"),
    *("start", "end", "evidence", "boxes", "moments", "text_window", "is_weak"),
]


pytestmark = pytest.mark.usefixtures("wide_terminal")


def test_search_prints_the_json_of_the_documentation(run, clips, tmp_path):
    queries = tmp_path / "queries.txt"
    queries.write_text("star wars toys\n\n  gate b4  \n", encoding="utf-8")
    result = run("search", "the store TESCO express", "--videos", tmp_path / "videos", "--queries", queries, "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert list(data) == ["queries"]
    assert [entry["query"] for entry in data["queries"]] == ["the store TESCO express", "star wars toys", "gate b4"]
    for entry, name in zip(data["queries"], ["shop.mp4", "toys.mp4", "airport.mp4"], strict=True):
        assert list(entry) == ["query", "parsed", "hits"]
        assert entry["parsed"] == {"text": [entry["query"]], "phrases": [], "excluded": []}
        assert all(list(hit) == HIT_FIELDS for hit in entry["hits"])
        assert entry["hits"][0]["path"] == str(clips[name])
        assert len(entry["hits"]) == len(clips)
    assert data["queries"][0]["hits"][0]["evidence"] == ["TESCO express"]


def test_a_query_that_is_too_long_is_cut_with_one_warning(run, clips, tmp_path):
    query = "star wars toys " * 100
    result = run("search", query, "--videos", tmp_path / "videos", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("Only the first 1,000 of 1,500 characters of a query") == 1
    (entry,) = json.loads(result.stdout)["queries"]
    assert entry["query"] == query[:1000]
    assert entry["hits"][0]["path"] == str(clips["toys.mp4"])


def test_search_prints_a_ranked_table(run, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths are shown as seen from here, however long they are
    result = run("search", "gate b4", "--videos", tmp_path / "videos", "--top-k", 2)
    assert result.exit_code == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if ".mp4" in line]
    assert len(rows) == 2
    assert re.match(r" *1 0:00:00\.\d-0:00:0[12]\.\d airport\.mp4 +Gate B4 +0\.\d{3}$", rows[0].rstrip())
    assert "in videos" in result.stdout.splitlines()[1]  # the folder that all have in common


def test_a_search_may_show_the_parts_of_the_score(run, clips, tmp_path):
    search = ["search", "gate b4", "--videos", tmp_path / "videos", "--top-k", 1]
    (hit,) = json.loads(run(*search, "--json").stdout)["queries"][0]["hits"]
    names = {"video": "text_video", "ocr": "text_ocr", "hybrid": "text_hybrid", "lexical": "lexical"}
    lines = [line.strip() for line in run(*search, "--scores").stdout.splitlines()]
    for name, part in names.items():
        assert any(line.endswith(f"{name} {hit[part]:.3f}") for line in lines), name
    assert "hybrid" not in run(*search).stdout


def test_a_table_fits_80_columns_and_never_breaks_a_name(run, tmp_path, monkeypatch):
    monkeypatch.setattr(common.stdout, "_width", 80)
    folder = tmp_path / "of the year 2026" / "a folder with a long name"
    folder.mkdir(parents=True)
    for name in ("the first evening of all.mp4", "second.mp4"):
        write_clip(folder.parent / name if "first" in name else folder / name, [coded_frame(2)] * 20, fps=5)
    lines = run("search", "gate b4 departures", "--videos", tmp_path).stdout.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    for part in ("the first evening of all.mp4", "a folder with a long name/", "second.mp4"):
        assert any(part in line for line in lines), part


def test_a_search_cuts_its_moments_out(run, clips, tmp_path):
    search = [
        "search",
        "gate b4",
        "star wars",
        "--videos",
        tmp_path / "videos",
        "--top-k",
        1,
        "--cut",
        tmp_path / "cuts",
    ]
    result = run(*search)
    assert result.exit_code == 0, result.stderr
    names = sorted(file.name for file in (tmp_path / "cuts").iterdir())
    assert names == ["query1-01-airport-0.00.00.0.mp4", "query2-01-toys-0.00.01.0.mp4"]
    assert all(name in result.stderr for name in names) and "the moment begins 0.0 s into it" in result.stderr
    with open_video(tmp_path / "cuts" / names[0]) as video:
        assert read_code(video.frames_at([0.1])[0]) == 2
    clips["airport.mp4"].unlink()
    index = ["--index", tmp_path / "my.index"]
    run("index", clips["sea.mp4"], *index)
    clips["sea.mp4"].unlink()
    result = run("search", "x", *index, "--cut", tmp_path / "cuts")
    assert result.exit_code == 0 and "skipped:" in result.stderr and "there is no such file" in result.stderr


def test_only_videos_below_a_folder(run, clips, tmp_path):
    (tmp_path / "it's").mkdir()
    other = write_clip(tmp_path / "it's" / "b.mp4", [coded_frame(2)] * 20, fps=5)
    place = ["--index", tmp_path / "my.index"]
    run("index", tmp_path, *place)

    def found(*arguments):
        result = run("search", "gate b4", *place, *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return [os.path.basename(hit["path"]) for hit in json.loads(result.stdout)["queries"][0]["hits"]]

    assert len(found()) == 5
    assert found("--folder", tmp_path / "it's") == found("--folder", other) == ["b.mp4"]
    assert len(found("--folder", tmp_path / "videos")) == 4
    assert found("--folder", tmp_path / "videos", "--where", "path LIKE '%shop%'") == ["shop.mp4"]
    assert found("--folder", tmp_path / "vid") == []
    for filters in (["--folder", tmp_path / "vid"], ["--where", "duration > 100"], ["--between", "1:00:00-2:00:00"]):
        lines = run("search", "gate b4", *place, *filters).stdout.splitlines()
        assert lines[0] == "gate b4" and lines[1].startswith("Nothing passes the filter") and len(lines) == 2
    nowhere = run("search", '"not to be read"', *place, "--folder", tmp_path / "videos").stdout
    assert "Nothing was found in what passes the filter" in nowhere
    a_file = tmp_path / "a file"
    a_file.write_text("")
    refused = run("search", "gate b4", *place, "--cut", a_file)
    assert refused.exit_code == 2 and "is a file: name a folder" in " ".join(refused.stderr.split())


def test_search_writes_a_page_beside_what_it_prints(run, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the page goes to a folder that is named by nothing
    search = ["search", "gate b4", "--videos", tmp_path / "videos", "--top-k", 2, "--html", "report.html"]
    result = run(*search, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["queries"][0]["hits"]) == 2
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.count("data:image/jpeg;base64,") == 2
    assert "gate b4" in page and "airport.mp4" in page
    (tmp_path / "report.html").write_text("old")
    assert "Gate B4" in run(*search).stdout  # the table
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_search_refuses_a_page_that_cannot_be_written_before_it_reads(run, clips, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the search began")

    monkeypatch.setattr("tcd_hf.cli.search.scan_videos", refuse)
    locked = tmp_path / "locked.html"
    locked.write_text("")
    allowed = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK and allowed(path, mode))
    for page, message in (
        (tmp_path, "a folder"),
        (tmp_path / "videos" / "airport.mp4", "such as report.html"),  # it would be replaced
        (tmp_path / "nowhere" / "report.html", "no folder"),
        (locked, "may not be written"),
    ):
        result = run("search", "x", "--videos", tmp_path / "videos", "--html", page)
        assert result.exit_code == 2, (result.stdout, result.stderr)
        words = " ".join(result.stderr.replace("│", " ").split())  # the message is wrapped in a frame
        assert "--html" in words and message in words


def test_videos_takes_what_a_shell_makes_of_a_pattern(run, clips):
    files = sorted(clips.values())
    for arguments in (
        ["gate b4", "--videos", *files, "--json"],
        ["--videos", *files, "gate b4", "--json"],
        ["--json", *(part for file in files for part in ("--videos", file)), "gate b4"],
        ["--json", f"--videos={files[0]}", "--videos", *files[1:], "--", "gate b4"],
    ):
        result = run("search", *arguments)
        assert result.exit_code == 0, (arguments, result.stderr)
        (entry,) = json.loads(result.stdout)["queries"]
        assert entry["query"] == "gate b4"
        assert len(entry["hits"]) == len(files)


def test_a_bad_video_is_named_and_the_others_are_searched(run, clips, tmp_path):
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"junk")
    result = run("search", "gate b4", "--videos", tmp_path / "videos", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["queries"][0]["hits"][0]["path"] == str(clips["airport.mp4"])
    assert "skipped" in result.stderr and "broken.mp4" in result.stderr


def test_only_bad_videos_is_an_error(run, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"junk")
    result = run("search", "gate b4", "--videos", tmp_path / "broken.mp4", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == "error: None of the 1 videos could be read."


def test_a_video_that_went_bad_is_no_longer_found(run, clips, tmp_path):
    search = ["search", "gate b4", "--videos", tmp_path / "videos", "--json"]
    assert len(json.loads(run(*search).stdout)["queries"][0]["hits"]) == 4
    clips["airport.mp4"].write_bytes(b"junk")
    clips["sea.mp4"].unlink()
    for _ in range(2):
        result = run(*search)
        paths = {hit["path"] for hit in json.loads(result.stdout)["queries"][0]["hits"]}
        assert paths == {str(clips["shop.mp4"]), str(clips["toys.mp4"])}
        assert "airport.mp4" in result.stderr


def test_a_changed_video_is_read_again_and_others_are_not(run, clips, tmp_path, code_reader):
    search = ["search", "star wars", "--videos", tmp_path / "videos", "--json"]
    run(*search)
    read = code_reader.images_read
    assert json.loads(run(*search).stdout)["queries"][0]["hits"][0]["path"] == str(clips["toys.mp4"])
    assert code_reader.images_read == read
    shutil.copy(clips["toys.mp4"], clips["sea.mp4"])
    clips["toys.mp4"].unlink()
    assert json.loads(run(*search).stdout)["queries"][0]["hits"][0]["path"] == str(clips["sea.mp4"])
    assert code_reader.images_read == read


def test_videos_are_named_as_the_user_named_them_in_their_order(run, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copies = [shutil.copy(clips["sea.mp4"], f"{name}.mp4") for name in "bac"]
    result = run("search", "anything", "--json", "--videos", *copies)
    assert [hit["path"] for hit in json.loads(result.stdout)["queries"][0]["hits"]] == copies


def test_small_collections_are_scored_in_full(run, clips, tmp_path, monkeypatch):
    modes = []

    def record(self, queries, **options):
        modes.append(options.pop("mode"))
        plain = {"top_k": 10, "recall_k": 50, "where": None, "moments": 3, "between": None}
        assert options == {**plain, "syntax": "query", "within": 60.0}
        return [[] for _ in queries]

    monkeypatch.setattr("tcd_hf.index.video_index.VideoIndex.search", record)
    search = ["search", "x", "--videos", tmp_path / "videos"]
    run(*search)
    run(*search, "--mode", "lexical")
    monkeypatch.setattr("tcd_hf.cli.search.MAX_SCORED_SEGMENTS", 3)
    run(*search)
    assert modes == ["full", "lexical", "two-stage"]


def test_a_cache_that_cannot_be_written_is_an_error(run, clips, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run("search", "x", "--videos", tmp_path / "videos", "--cache-dir", tmp_path / "file")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: The cache folder") and "Choose another with --cache-dir" in result.stderr


def test_videos_are_indexed_once_and_searched(run, clips, tmp_path, code_reader):
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"junk")
    place = ["--index", tmp_path / "my.index"]
    result = run("index", tmp_path / "videos", *place)
    assert result.exit_code == 0, result.stderr
    assert re.match(r"4 added, 0 unchanged, 0 replaced, 1 skipped in [\d.]+ s \(0:00:16 of video, ", result.stdout)
    assert "x real time); " in result.stdout
    assert result.stdout.endswith("my.index holds 4 videos.\n")
    assert "skipped: " in result.stderr and "broken.mp4" in result.stderr

    read = code_reader.images_read
    result = run("index", *clips.values(), *place, "--workers", 0, "--json")
    data = json.loads(result.stdout)
    numbers = ["index", "videos", "seconds", "seconds_of_video"]
    assert list(data) == [*numbers, "added", "unchanged", "replaced", "skipped", "removed", "left_out"]
    assert data["seconds_of_video"] == 0  # nothing was read
    assert data["unchanged"] == [str(path) for path in clips.values()] and data["added"] == data["skipped"] == []

    for options in ([], ["--mode", "full"], ["--mode", "lexical"], ["--recall-k", 1]):
        result = run("search", "gate b4", *place, "--json", "--top-k", 1, *options)
        assert result.exit_code == 0, result.stderr
        (hit,) = json.loads(result.stdout)["queries"][0]["hits"]
        assert list(hit) == HIT_FIELDS
        assert (hit["path"], hit["evidence"]) == (str(clips["airport.mp4"]), ["Gate B4"])
        assert [list(box) for box in hit["boxes"]] == [["text", "start", "end", "box", "time", "source", "match"]]
    result = run("search", "gate b4", *place, "--where", "NOT has_text", "--json")
    assert [hit["path"] for hit in json.loads(result.stdout)["queries"][0]["hits"]] == [str(clips["sea.mp4"])]
    assert code_reader.images_read == read


def test_what_a_folder_holds_beside_videos_is_counted_and_listed(run, clips, tmp_path):
    folder, place = tmp_path / "videos", ["--index", tmp_path / "my.index"]
    for name in ("a.jpg", "b.jpg", "[red]c.txt"):
        (folder / name).touch()
    Image.new("RGB", (8, 8)).save(folder / "still.webp")
    result = run("index", folder, *place)
    assert result.stdout.startswith("4 added, ")
    said = "Left out 4 files that are no videos: 2 .jpg, 1 .txt, 1 still .webp; --json lists them.\n"
    assert result.stderr.endswith(said)
    result = run("index", folder, *place, "--json")
    left_out = json.loads(result.stdout)["left_out"]
    kinds = {"a.jpg": ".jpg", "b.jpg": ".jpg", "[red]c.txt": ".txt", "still.webp": "still .webp"}
    assert {os.path.basename(file["path"]): file["kind"] for file in left_out} == kinds
    assert "Left out" not in result.stderr
    assert run("search", "gate b4", "--videos", folder).stderr.endswith(said)
    result = run("search", "gate b4", "--videos", folder, "--json")
    assert json.loads(result.stdout)["left_out"] == left_out and "Left out" not in result.stderr
    for path in clips.values():
        path.unlink()
    result = run("index", folder, *place)
    assert result.exit_code == 1 and "Left out 4 files that are no videos: 2 .jpg" in result.stderr


def test_an_index_is_synchronised_shrunk_and_described(run, clips, tmp_path):
    place = ["--index", tmp_path / "my.index"]
    run("index", *clips.values(), *place)
    clips["sea.mp4"].unlink()
    result = run("index", tmp_path / "videos", "--sync", *place)
    assert result.stdout.startswith("0 added, 3 unchanged, 0 replaced, 0 skipped, 1 removed in "), result.stderr
    result = run("index", clips["shop.mp4"], tmp_path / "never.mp4", "--remove", *place)
    assert result.stdout == f"1 removed; {tmp_path / 'my.index'} holds 2 videos.\n"
    result = run("index", tmp_path / "videos", "--remove", *place, "--json")
    assert json.loads(result.stdout) == {"index": str(tmp_path / "my.index"), "videos": 0, "removed": 2}
    run("index", clips["shop.mp4"], *place)
    data = json.loads(run("index", "--stats", *place, "--json").stdout)
    assert (data["videos"], data["seconds_of_video"], data["files_that_cannot_be_read"]) == (1, 4.0, 0)
    table = run("index", "--stats", *place).stdout
    assert re.search(r"\nvideos +1 ", table) and re.search(r"\ntime of video +0:00:04\.0 ", table)
    assert re.search(r"\nsegments +1 ", table) and re.search(r"\nsegment seconds +30\.0 ", table)


def test_an_index_of_bad_videos_alone_is_an_error(run, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"junk")
    result = run("index", tmp_path / "broken.mp4", "--index", tmp_path / "my.index")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "error: None of the 1 videos could be read."


@pytest.fixture
def saved_models(tmp_path):
    """Folders of two models, `one` and `two`, whose processors read text with rapidocr."""
    for seed, name in enumerate(("one", "two")):
        make_tiny_model(seed).save_pretrained(tmp_path / name)
        processor = make_tiny_processor("rapidocr")
        processor.ocr_options = {"limit_side_len": 64}  # the clips' own size: quick
        processor.save_pretrained(tmp_path / name)


def test_an_index_knows_its_model(saved_models, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    place = ["--index", str(tmp_path / "my.index")]

    def run(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)))

    assert run("index", clips["sea.mp4"], *place, "--model", "one").exit_code == 0
    monkeypatch.chdir("/")  # a folder is found from anywhere
    result = run("index", clips["sea.mp4"], clips["shop.mp4"], *place, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["videos"] == 2
    for options in ([], ["--model", tmp_path / "one"]):
        result = run("search", "x", *place, *options, "--json")
        assert result.exit_code == 0, result.stderr
        assert len(json.loads(result.stdout)["queries"][0]["hits"]) == 2

    for command in (["search", "x"], ["index", clips["sea.mp4"]]):
        result = run(*command, *place, "--model", tmp_path / "two")
        assert result.exit_code == 1 and result.stderr.count("\n") == 1
        assert result.stderr.startswith("error: The index") and f"(of the model {tmp_path}/one)" in result.stderr
        assert "without --model" in result.stderr
    result = run("index", clips["sea.mp4"], *place, "--ocr-engine", "doctr")
    assert result.exit_code == 1 and "another OCR engine" in result.stderr

    (tmp_path / "one").rename(tmp_path / "elsewhere")
    for command in (["search", "x"], ["index", clips["sea.mp4"]]):
        result = run(*command, *place)
        assert result.exit_code == 1 and result.stderr.count("\n") == 1
        assert f"made by a model that cannot be loaded. Cannot load a model from '{tmp_path}/one'" in result.stderr
        assert "Give (--model) a folder" in result.stderr
        assert run(*command, *place, "--model", tmp_path / "elsewhere").exit_code == 0


def test_an_index_of_the_small_model_finds_it_in_the_package(tmp_path, monkeypatch, code_reader):
    from tcd_hf.checkpoints import MINI

    model, loaded = make_tiny_model(), []
    model.name_or_path = str(MINI)
    VideoIndex.create(tmp_path / "my.index", model, make_tiny_processor(code_reader))

    def load(name, device):
        loaded.append(name)
        return model, make_tiny_processor(code_reader)

    monkeypatch.setattr("tcd_hf.loading.load", load)
    assert open_index(str(tmp_path / "my.index"), None, Reading(), tmp_path / "cache").metadata.model_name == "tcd-mini"
    assert loaded == ["tcd-mini"]
    model.name_or_path = ""
    VideoIndex.create(tmp_path / "nameless.index", model, make_tiny_processor(code_reader))
    with pytest.raises(ValueError, match=r"made by a model without a name: give that model, .* by --model"):
        open_index(str(tmp_path / "nameless.index"), None, Reading(), tmp_path / "cache")


def test_describing_and_shrinking_an_index_loads_no_model(run, clips, tmp_path, monkeypatch):
    place = ["--index", tmp_path / "my.index"]
    run("index", *clips.values(), *place)

    def refuse(*args, **options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("tcd_hf.loading.load", refuse)
    data = json.loads(run("index", "--stats", *place, "--json").stdout)
    assert (data["videos"], data["model"]) == (4, "tiny")
    assert run("index", clips["sea.mp4"], "--remove", *place).stdout.startswith("1 removed; ")
    assert "AssertionError: a model was loaded" in run("index", clips["sea.mp4"], *place).stderr


def test_errors_end_with_status_1_and_one_line(run, clips, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    videos = ["--videos", tmp_path / "videos"]
    for arguments, message in (
        (["search", "x", "--videos", tmp_path / "empty"], ".mp4"),
        (["search", "x", "--videos", tmp_path / "nowhere"], "nowhere"),
        (["search", "--queries", tmp_path / "nowhere.txt", *videos], "nowhere.txt"),
        (["search", "--queries", tmp_path / "empty.txt", *videos], "empty.txt holds no query"),
        (["search", "--queries", tmp_path / "latin.txt", *videos], "UTF-8"),
        (["search", "x", "--index", tmp_path / "nowhere"], "There is no index at"),
        (["search", "x", *videos, "--where", "nonsense >"], "nonsense >"),
        (["search", *videos, "--", "-night"], "only says what to leave out"),
        (["index", tmp_path / "nowhere", "--index", tmp_path / "new"], "nowhere"),
        (["index", tmp_path / "videos", "--index", tmp_path / "videos"], "is no index and not empty"),
        (["index", "--stats", "--index", tmp_path / "videos"], "There is no index at"),
        (["index", "x.mp4", "--remove", "--index", tmp_path / "nowhere"], "There is no index at"),
        (["ocr", tmp_path / "nowhere.mp4"], "nowhere.mp4"),
        (["ocr", clips["sea.mp4"], "--ocr-engine", "tesseract"], "tesseract"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1, (arguments, result.stdout, result.stderr)
        assert result.stderr.startswith("error: ") and message in result.stderr, result.stderr
        assert "Traceback" not in result.stderr


def test_wrong_usage_ends_with_status_2(run, tmp_path):
    videos, index = ["--videos", tmp_path], ["--index", tmp_path / "my.index"]
    for arguments, message in (
        (["search"], "QUERY"),
        (["search", "x"], "--videos"),
        (["search", "  ", *videos], "empty"),
        (["search", "x", *videos, "--top-k", 0], "--top-k"),
        (["search", "x", *videos, "--nonsense"], "--nonsense"),
        (["ocr"], "VIDEO"),
        (["ocr", "x.mp4", "--ocr-fps", 0], "--ocr-fps"),
        (["ocr", "x.mp4", "--num-windows", 0], "--num-windows"),
        (["search", "x", *videos, "--index", tmp_path], "not both"),
        (["search", "x", *videos, "--mode", "best"], "--mode"),
        (["search", "x", *videos, "--recall-k", 0], "--recall-k"),
        (["search", "x", *videos, "--moments", -1], "--moments"),
        (["search", "x", *videos, "--between", "0:10:00"], "--between"),
        (["search", "x", *videos, "--between", "20-0:00:10"], "ends before it begins"),
        (["index", tmp_path, "--segment-seconds", 0.5, *index], "--segment-seconds"),
        (["index", tmp_path, "--segment-seconds", "inf", *index], "--segment-seconds"),
        (["ocr", "x.mp4", "--segment-seconds", "nan"], "--segment-seconds"),
        (["index", tmp_path], "--index"),
        (["index", *index], "VIDEOS"),
        (["index", "--sync", *index], "VIDEOS"),
        (["index", tmp_path, "--stats", *index], "--stats"),
        (["index", tmp_path, "--sync", "--remove", *index], "--remove"),
        (["index", tmp_path, "--sync", "--engine", "ray", *index], "--engine"),
        (["index", tmp_path, "--watch", "--remove", *index], "--watch"),
        (["index", "--watch", "--stats", *index], "--watch"),
        (["index", tmp_path, "--engine", "spark", *index], "--engine"),
        (["index", tmp_path, "--workers", -1, *index], "--workers"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.stdout, result.stderr)
        assert message in result.stderr


def test_a_folder_that_is_no_model_is_an_error(clips, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{broken")
    for name in ("model", "nowhere"):
        arguments = ["search", "x", "--videos", str(clips["sea.mp4"]), "--model", str(tmp_path / name)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert f"Cannot load a model from '{tmp_path / name}'" in result.stderr.replace("\n", "")


def test_a_saved_model_is_searched_with(saved_models, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    arguments = ["search", "x", "--videos", str(tmp_path / "videos"), "--model", str(tmp_path / "one"), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["queries"][0]["hits"]) == len(clips)


def test_ocr_prints_captions_as_table_and_json_and_draws(run, tmp_path):
    from tests.clips import text_clip, write_clip

    clip = write_clip(tmp_path / "sign.mp4", text_clip([("OPEN CAFE", 1.0, 3.0)], duration=3.0, fps=5), fps=5)
    result = run("ocr", clip, "--num-windows", 3, "--json", "--draw", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert list(data) == ["path", "captions"]
    assert [caption["text"] for caption in data["captions"]] == ["", "OPEN CAFE", "OPEN CAFE"]
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    table = run("ocr", clip, "--num-windows", 3).stdout
    assert table.count("OPEN CAFE") == 2 and "0:00:01.0-0:00:02.0  OPEN CAFE" in table


def test_ocr_refuses_a_drawing_that_cannot_be_written_before_it_reads(run, clips, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the video was read")

    monkeypatch.setattr("tcd_hf.processing.window_ocr.WindowOCRCaptioner.read", refuse)
    for image, message in (
        (tmp_path / "sheet", "image"),
        (tmp_path / "sheet.mp4", "image"),
        (tmp_path / "nowhere" / "sheet.png", "no folder"),
    ):
        result = run("ocr", clips["sea.mp4"], "--json", "--draw", image)
        assert result.exit_code == 2, (result.stdout, result.stderr)
        assert "--draw" in result.stderr and message in result.stderr


def test_captions_are_printed_even_if_the_drawing_fails(run, clips, tmp_path, monkeypatch):
    monkeypatch.setattr("tcd_hf.processing.window_ocr.WindowOCRCaptioner.read", lambda *args: ([], []))
    (tmp_path / "sheet.png").mkdir()
    result = run("ocr", clips["sea.mp4"], "--json", "--draw", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["captions"] == []


def test_ocr_shows_a_long_video_as_it_is_read_and_reads_it_once(run, tmp_path, monkeypatch):
    from tests.clips import text_clip, write_clip

    frames = text_clip([("OPEN", 0.0, 1.0), ("CLOSED", 4.0, 6.0)], duration=6.0, fps=5)
    clip = write_clip(tmp_path / "sign.mp4", frames, fps=5)
    monkeypatch.chdir(tmp_path)
    ocr = ["ocr", clip, "--segment-seconds", 2, "--num-windows", 2, "--cache-dir", "cache"]
    result = run(*ocr, "--draw", "sheet.png")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        str(clip),
        "0:00:00.0-0:00:01.0  OPEN",
        "0:00:01.0-0:00:02.0",
        "0:00:02.0-0:00:03.0",
        "0:00:03.0-0:00:04.0",
        "0:00:04.0-0:00:05.0  CLOSED",
        "0:00:05.0-0:00:06.0  CLOSED",
    ]
    assert result.stderr == "sheet.png shows 2 of 6 windows.\n"

    def refuse(*args, **kwargs):
        raise AssertionError("it was read again")

    monkeypatch.setattr("tcd_hf.processing.window_ocr.WindowOCRCaptioner.read", refuse)
    captions = json.loads(run(*ocr, "--json").stdout)["captions"]
    assert [(caption["start"], caption["end"]) for caption in captions] == [(n, n + 1) for n in range(6)]
    assert captions[5]["text"] == "CLOSED" and captions[5]["tracks"][0]["start"] == 5


@pytest.fixture
def interrupt_at(code_reader, monkeypatch, heeds_ctrl_c):
    """Has Ctrl-C pressed when more than so many images would be read."""
    limit, read = [sys.maxsize], type(code_reader).__call__

    def read_or_interrupt(self, images):
        if self.images_read + len(images) > limit[0]:
            signal.raise_signal(signal.SIGINT)
        return read(self, images)

    monkeypatch.setattr(type(code_reader), "__call__", read_or_interrupt)
    return lambda count: limit.__setitem__(0, count)


def write_long_clip(path):
    """8 s: a code of its own in every second, the last one `DEPARTURES`."""
    frames = [coded_frame(code) for code in (8, 16, 32, 64, 128, 256, 512, 2) for _ in range(5)]
    return write_clip(path, frames, fps=5)


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(run, tmp_path, code_reader, interrupt_at):
    paths = [write_clip(tmp_path / "a.mp4", [coded_frame(1)] * 5, fps=5), write_long_clip(tmp_path / "long.mp4")]

    def index(name):
        place = ["--index", tmp_path / f"{name}.index", "--cache-dir", tmp_path / f"{name}.cache"]
        return run("index", *paths, *place, "--segment-seconds", 2)

    assert index("whole").exit_code == 0
    total = code_reader.images_read
    code_reader.images_read = 0
    interrupt_at(total - 1)  # in the last segment
    result = index("half")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines() == [
        f"Interrupted. Kept: 1 videos in {tmp_path}/half.index, "
        "and the text of 0:00:06.0 of unfinished ones in the cache.",
        "The same command goes on from there.",
    ]
    interrupt_at(total)
    result = index("half")
    assert result.stdout.startswith("1 added, 1 unchanged, ") and "(0:00:08 of video, " in result.stdout, result.stderr
    assert code_reader.images_read == total  # none twice


def test_ctrl_c_of_a_search_and_of_anything_else(run, clips, tmp_path, interrupt_at, monkeypatch):
    interrupt_at(0)
    result = run("search", "x", "--videos", tmp_path / "videos")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Interrupted. Kept: 0 videos.\nThe same command goes on from there.\n"
    monkeypatch.setattr("tcd_hf.cli.search.scan_videos", lambda paths: signal.raise_signal(signal.SIGINT))
    result = run("search", "x", "--videos", tmp_path / "videos")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_segment_seconds_are_those_of_the_index(run, tmp_path):
    clip, place = write_long_clip(tmp_path / "long.mp4"), ["--index", tmp_path / "my.index"]
    assert run("index", clip, *place, "--segment-seconds", 2).exit_code == 0
    data = json.loads(run("index", "--stats", *place, "--json").stdout)
    assert (data["videos"], data["segments"], data["segment_seconds"]) == (1, 4, 2.0)
    for options in ([], ["--segment-seconds", 2]):
        assert run("index", clip, *place, *options).exit_code == 0
    result = run("index", clip, *place, "--segment-seconds", 30)
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    assert "segments of at most 2 s, not 30 s" in result.stderr


def test_a_search_shows_the_moments_of_a_video(run, tmp_path, monkeypatch):
    codes = [2, 8, 16, 2, 32, 64, 2, 2]
    clip = write_clip(tmp_path / "long.mp4", [coded_frame(code) for code in codes for _ in range(5)], fps=5)
    place = ["--index", tmp_path / "my.index"]
    assert run("index", clip, *place, "--segment-seconds", 2).exit_code == 0
    search = ["search", "gate b4", *place]
    (entry,) = json.loads(run(*search, "--json").stdout)["queries"]
    (hit,) = entry["hits"]
    starts = [hit["start"], *(moment["start"] for moment in hit["moments"])]
    assert sorted(map(round, starts)) == [0, 3, 6]
    assert all(moment["evidence"] == ["Gate B4"] for moment in hit["moments"])
    lines = [line.strip() for line in run(*search).stdout.splitlines() if "Gate B4" in line]
    assert len(lines) == 3 and "long.mp4" in lines[0]
    assert all(re.fullmatch(r"0:00:0\d\.\d-0:00:0\d\.\d +Gate B4", line) for line in lines[1:])
    assert run(*search, "--moments", 0).stdout.count("Gate B4") == 1
    for between in ("0:00:05.5-0:00:08", "5.5-8"):
        (hit,) = json.loads(run(*search, "--between", between, "--json").stdout)["queries"][0]["hits"]
        assert hit["start"] >= 5.5 and hit["moments"] == []
    assert run(*search, "--between", "0:00:07.99-1:00:00", "--json").exit_code == 0  # no text, perhaps no moment


def test_a_query_may_ask_for_phrases_and_leave_out_words(run, clips, tmp_path):
    index = ["--index", tmp_path / "my.index"]
    run("index", *clips.values(), *index)
    videos = sorted(clips.values())

    def search(*arguments):
        result = run("search", "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        (entry,) = json.loads(result.stdout)["queries"]
        return entry["parsed"], [os.path.basename(hit["path"]) for hit in entry["hits"]]

    parsed, found = search('"gate b4" OR "star wars"', *index)
    assert parsed == {"text": ["gate b4", "star wars"], "phrases": ["gate b4", "star wars"], "excluded": []}
    assert sorted(found) == ["airport.mp4", "toys.mp4"]
    for arguments in (
        [*index, "--", '-"star wars" tesco'],
        ["--videos", *videos, "--", '-"star wars" tesco'],  # no file of --videos
        ["--videos", *videos, "--mode", "two-stage", "--", '-"star wars" tesco'],
    ):
        parsed, found = search(*arguments)
        assert parsed == {"text": ["tesco"], "phrases": [], "excluded": ["star wars"]}
        assert found[0] == "shop.mp4"


def test_ctrl_c_of_ocr_keeps_what_was_read(run, tmp_path, monkeypatch, heeds_ctrl_c):
    clip = write_long_clip(tmp_path / "long.mp4")

    def read_two(captioner, video, start, *args):
        if start >= 4:
            signal.raise_signal(signal.SIGINT)
        return [], captioner.caption_texts([f"at {start:g}"], 2.0)

    monkeypatch.setattr("tcd_hf.processing.window_ocr.WindowOCRCaptioner.read", read_two)
    result = run("ocr", clip, "--segment-seconds", 2, "--num-windows", 1)
    assert result.exit_code == 130 and result.stdout.count("  at ") == 2
    assert result.stderr.splitlines()[0] == "Interrupted. Kept: the text of 0:00:04.0 of video in the cache."


@pytest.mark.parametrize("command", ["search", "ocr"])
def test_doctr_without_its_package_says_how_to_install_it(clips, tmp_path, monkeypatch, command):
    def load(name, device):
        return make_tiny_model(), make_tiny_processor()

    installed = metadata.version

    def version(package):
        if "doctr" in package:
            raise metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tcd_hf.loading.load", load)
    monkeypatch.setattr(metadata, "version", version)
    for module in ("doctr", "doctr.models"):
        monkeypatch.setitem(sys.modules, module, None)
    video = str(clips["sea.mp4"])
    arguments = ["ocr", video] if command == "ocr" else ["search", "x", "--videos", video]
    result = CliRunner().invoke(app, [*arguments, "--ocr-engine", "doctr"])
    assert result.exit_code == 1
    assert 'pip install "tcd-hf[doctr]"' in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_is_utf8_whatever_the_locale(encoding):
    code = "from tcd_hf.cli.common import print_json; print_json({'path': 'caf\\udce9.mp4', 'text': '東京 £1'})"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment).stdout
    assert "東京 £1".encode() in output
    assert json.loads(output.decode("utf-8")) == {"path": "caf\udce9.mp4", "text": "東京 £1"}


def test_a_table_is_printed_whatever_the_locale():
    code = "from tcd_hf.cli.common import reports_errors, stdout; reports_errors(lambda: stdout.print('Cafe 東京'))()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment).stdout
    assert output.strip() == rb"Cafe \u6771\u4eac"


def test_a_warning_is_one_line_without_code(capsys):
    before = warnings.showwarning
    reports_errors(lambda: warnings.warn("The video 'a.mp4' is cut off.", stacklevel=1))()
    assert capsys.readouterr().err == "warning: The video 'a.mp4' is cut off.\n"
    assert warnings.showwarning is before


def test_demo_finds_every_clip(tmp_path):
    """The package's own checkpoint and OCR engine, offline."""
    result = CliRunner(env={"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}).invoke(app, ["demo", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.stdout + result.stderr
    assert f"All {len(DEMO_QUERIES)} queries found their clip first" in result.stdout
    assert "HARBOUR CAFE" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(clip.name for clip in DEMO_CLIPS)


def test_starting_imports_nothing_heavy():
    heavy = {"torch", "transformers", "numpy", "av", "decord", "sklearn", "rapidocr", "lancedb", "pyarrow", "ray"}
    code = f"import sys, tcd_hf.cli.main; print(*{heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_version(run):
    assert run("--version").stdout.strip() == f"tcd-hf {__version__}"
