"""The command line with `--index` given more than once."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture
def indexes(run, clips, tmp_path):
    """The options that name two indexes, of two clips each."""
    names = list(clips)
    options = []
    for uri, held in (("a.index", names[:2]), ("b.index", names[2:])):
        succeed(run("index", *(clips[name] for name in held), "--index", tmp_path / uri))
        options += ["--index", tmp_path / uri]
    return options


def succeed(result):
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_search_ranks_the_videos_of_all(run, indexes, clips, tmp_path):
    succeed(run("index", *clips.values(), "--index", tmp_path / "whole"))
    queries = ["the store TESCO express", "star wars toys", "gate b4"]
    found = json.loads(succeed(run("search", *queries, *indexes, "--json")))["queries"]
    expected = json.loads(succeed(run("search", *queries, "--index", tmp_path / "whole", "--json")))["queries"]
    for one, other in zip(found, expected, strict=True):
        assert [hit["path"] for hit in one["hits"]] == [hit["path"] for hit in other["hits"]]
        assert [hit["score"] for hit in one["hits"]] == pytest.approx([hit["score"] for hit in other["hits"]], abs=1e-5)
        assert not any("index" in hit for hit in other["hits"])
    assert {hit["path"]: hit["index"] for hit in found[0]["hits"]} == {
        str(clip): str(tmp_path / ("a.index" if name in ("shop.mp4", "airport.mp4") else "b.index"))
        for name, clip in clips.items()
    }


def test_a_table_says_which_index_a_video_is_of(run, indexes, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = succeed(run("search", "star wars", "--index", "a.index", "--index", "b.index", "--top-k", 1)).splitlines()
    row = next(number for number, line in enumerate(lines) if "toys.mp4" in line)
    assert "STAR WARS" in lines[row] and lines[row + 1].strip() == "in b.index"
    assert "in a.index" not in succeed(run("search", "tesco", "--index", "a.index"))


def test_they_are_listed_shown_and_exported_as_one(run, indexes, clips, tmp_path):
    listed = json.loads(succeed(run("list", *indexes, "--json")))
    assert listed["index"] == [str(tmp_path / "a.index"), str(tmp_path / "b.index")]
    assert [video["path"] for video in listed["videos"]] == list(map(str, clips.values()))
    assert len(succeed(run("list", *indexes)).splitlines()) == 1 + len(clips)
    for name, text in (("shop.mp4", "TESCO express"), ("toys.mp4", "STAR WARS")):
        assert text in succeed(run("show", clips[name], *indexes))
        assert text in succeed(run("export", clips[name], *indexes))
    succeed(run("export", *indexes, "--to", tmp_path / "out"))
    assert len(list((tmp_path / "out").iterdir())) == len(clips)
    gone = run("show", tmp_path / "gone.mp4", *indexes)
    assert gone.exit_code == 1 and "a.index" in gone.stderr and "b.index has no video" in gone.stderr


def test_what_cannot_be_one_is_refused(run, indexes, clips, tmp_path):
    result = run("index", clips["sea.mp4"], *indexes)
    assert result.exit_code == 2 and "Videos are read into one index" in result.stderr
    result = run("search", "a", *indexes, "--index", tmp_path / "gone")
    assert result.exit_code == 1 and f"There is no index at {tmp_path}/gone" in result.stderr
    succeed(run("index", clips["sea.mp4"], "--index", tmp_path / "other", "--segment-seconds", 7))
    for verb in (["search", "a"], ["list"]):
        result = run(*verb, *indexes, "--index", tmp_path / "other")
        assert result.exit_code == 1 and f"{tmp_path}/other was made with segments of another length" in result.stderr
