"""`where`: what is understood means to LanceDB what it says, and nothing else gets there."""

import json

import numpy as np
import pytest

from tcd_hf.index.conditions import FILTER_COLUMNS, FILTER_FUNCTIONS, check_condition
from tcd_hf.index.recall import Recall
from tcd_hf.index.schema import IndexDamagedError
from tcd_hf.index.video_index import VideoIndex
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor, open_storage


@pytest.fixture
def index(tmp_path, clips, code_reader):
    index = VideoIndex.create(
        tmp_path / "index",
        make_tiny_model(),
        make_tiny_processor(code_reader),
        segment_seconds=2,
        cache_dir=tmp_path / "cache",
    )
    index.add(clips.values(), workers=0)
    return index


def test_the_columns_are_those_of_the_table(index):
    names = index.read(list(FILTER_COLUMNS)).column_names
    assert names == list(FILTER_COLUMNS)
    assert not {"captions", "features", "coarse"} & set(FILTER_COLUMNS)


# Each with what it asks of a row, in Python: LanceDB has to find just these rows.
MEANINGS = {
    "has_text": lambda row: row["has_text"],
    "NOT has_text": lambda row: not row["has_text"],
    "has_text = false OR segment = 1 AND NOT path LIKE '%shop%'": lambda row: (
        not row["has_text"] or (row["segment"] == 1 and "shop" not in row["path"])
    ),
    "(has_text = false OR segment = 1) AND \"path\" not like '%shop%'": lambda row: (
        (not row["has_text"] or row["segment"] == 1) and "shop" not in row["path"]
    ),
    "has_text IS NOT TRUE": lambda row: not row["has_text"],
    "path IS NULL": lambda row: False,
    "start >= 2.": lambda row: row["start"] >= 2,
    "`end` - Start > 1.5 AND end = 2": lambda row: row["end"] == 2,
    "segment = 1.0 AND - -segment == 1e0": lambda row: row["segment"] == 1,
    "segment BETWEEN 1 AND 5 AND duration NOT BETWEEN 5 AND 6": lambda row: row["segment"] == 1,
    "size % 2 = 1 OR size / 2.5 < 0": lambda row: row["size"] % 2 == 1,
    "segment * 2 + 1 - 1 <> 0": lambda row: row["segment"] == 1,
    "segment - 1 - 1 = -1": lambda row: row["segment"] == 1,
    "segment IN (1, 7) AND path NOT IN ('it''s', 'a; b -- c')": lambda row: row["segment"] == 1,
    "caption_text ILIKE '%tesco%'": lambda row: "tesco" in row["caption_text"].lower(),
    "lower(caption_text) LIKE '%tesco%'": lambda row: "tesco" in row["caption_text"].lower(),
    "contains(upper(path), upper('Shop')) AND strpos(path, 'shop') > 0": lambda row: "shop" in row["path"],
    "starts_with(path, '/') AND ends_with(path, '.mp4') AND LENGTH(caption_text) > 0": lambda row: row["has_text"],
    "char_length(sources) = 3 AND character_length(sources) = 3": lambda row: row["sources"] == "ocr",
    "abs(segment - 1) = 0 AND round(fps) = 5": lambda row: row["segment"] == 1,
    "NOT NOT (((has_text)))": lambda row: row["has_text"],
    "caption_text LIKE '%£1.30%'": lambda row: "£1.30" in row["caption_text"],
    "segment = 0.5 OR 0.5 < segment": lambda row: row["segment"] == 1,
    "segment IN (0.25, 1) AND - segment BETWEEN -1.5 AND -5e-1": lambda row: row["segment"] == 1,
    "abs(segment - 1) + size * 0.0 < 0.5 AND size > 0.001": lambda row: row["segment"] == 1,
    "segment > 3000000000": lambda row: False,
    "segment IN (3000000000, 1) AND segment BETWEEN 1 AND 3000000000": lambda row: row["segment"] == 1,
    "has_text = (duration > 6)": lambda row: row["has_text"] == (row["duration"] > 6),
    "(path LIKE '%shop%') <> (has_text)": lambda row: ("shop" in row["path"]) != row["has_text"],
    "has_text IN ((duration > 6)) AND has_text BETWEEN (segment = 1) AND TRUE": lambda row: (
        row["has_text"] == (row["duration"] > 6) and row["has_text"] >= (row["segment"] == 1)
    ),
    "modified > 1700000000000000000 AND modified < 9223372036854775807": lambda row: row["modified"] > 17 * 10**17,
    "modified = 1699999999999999999 OR duration > 9007199254740993": lambda row: False,
    "1 = 1": lambda row: True,
    "'x' = 'y' OR TRUE = FALSE": lambda row: False,
}


def test_what_is_understood_means_to_lancedb_what_it_says(index):
    columns = ["path", "segment", "start", "end", "has_text", "caption_text", "sources", "size"]
    columns += ["duration", "modified"]
    everything = index.read(columns).to_pylist()
    assert len(everything) == 8
    for where, passes in MEANINGS.items():
        assert index.read(columns, where).to_pylist() == list(filter(passes, everything)), where
    asked = " ".join(MEANINGS).lower()
    assert all(function in asked for function in FILTER_FUNCTIONS)


# Each with the piece that the message has to name.
REFUSED = {
    "segment = 1 LIMIT 5": "'LIMIT' (at character 13) follows",
    "segment = 0; DROP TABLE videos": "'; DROP TABLE videos' (at character 12)",
    "segment = 0) OR (1 = 1": "')' (at character 12) follows",
    "has_text) OR (has_text": "')' (at character 9) follows",
    "(has_text": "')' is missing before the end",
    "segment = 1 -- and": "'and' (at character 16)",
    "/* */ has_text": "a value is missing before '/'",
    "segment IN (SELECT 1)": "'SELECT' (at character 13)",
    "EXISTS (SELECT 1)": "'EXISTS'",
    "segment IN ()": "a value is missing before ')'",
    "length(repeat(path, 1000000)) > 5": "'repeat' (at character 8) is no column or function",
    "lpad(path, 100000000, 'x') = ''": "'lpad'",
    "rpad(path, 100000000, 'x') = ''": "'rpad'",
    "regexp_like(path, '(a{1000}){1000}')": "'regexp_like'",
    "path ~ '(a+)+'": "\"~ '(a+)+'\"",
    "path SIMILAR TO 'a'": "'SIMILAR'",
    "CAST(segment AS TEXT) = ''": "'CAST'",
    "segment::text = ''": "::text = ''\" (at character 8)",
    "features IS NULL": "'features'",
    "lower = ''": "'lower'",
    "\"lower\"(path) = ''": "'\"lower\"'",
    "a.b = 1": "'.b = 1' (at character 2)",
    "$1 = 1": "'$1 = 1'",
    "path = 'open": '"\'open" (at character 8) opens a text that has no end',
    'path = "x"': "'\"x\"'",
    "path LIKE '%a!%' ESCAPE '!'": "'ESCAPE'",
    "duration < 'a'": "'a' is a text, where it must be a number",
    "path": '"path" is a text, where it must be true or false',
    "1": "1 is a number, where it must be true or false",
    "has_text OR 1": "1 is a number",
    "duration LIKE 3": "3 is a number, where it must be a text",
    "has_text < TRUE": "'<' cannot compare",
    "lower(path, path) = ''": "lower takes 1 values, got 2",
    "lower(segment) = ''": '"segment" is a number, where it must be a text',
    "segment / 0 = 1": "0 divides",
    "1 % segment = 1": '"segment" divides',
    "segment % (1 - 1) = 1": "(1 - 1) divides",
    "segment < 1e300": "'1e300' (at character 11) is beyond",
    "size < 9223372036854775808": "'9223372036854775808' (at character 8) is beyond",
    "size < " + "9" * 5000: "is beyond",
    "size < 9007199254740993.5": "is beyond",
    "duration < 60 AND": "a value is missing before the end",
    "duration < 1 < 2": "'<' (at character 14) follows",
    "path NOT = ''": "LIKE, ILIKE, IN or BETWEEN is missing before '='",
    "path IS DISTINCT FROM ''": "NULL, TRUE or FALSE is missing before 'DISTINCT'",
    "": "a value is missing before the end",
    "(" * 40 + "has_text" + ")" * 40: "more than 32 parts inside each other",
    "NOT " * 100_000: "characters, at most",
    "NOT " * 1000 + "has_text": "more than 32 parts inside each other",
    "has_text OR " * 600 + "has_text": "more than 500 parts",
}


@pytest.mark.parametrize("where", REFUSED, ids=lambda where: where[:40])
def test_all_else_is_refused_by_the_piece(where):
    with pytest.raises(ValueError, match=r"^where=.* cannot be used as a filter: ") as error:
        check_condition(where)
    assert REFUSED[where] in str(error.value)
    assert len(str(error.value)) < 900


def test_long_lists_of_paths_are_fine(index):
    paths = ", ".join(f"'/videos/{number}.mp4'" for number in range(3000))
    assert not len(index.read(["path"], f"path IN ({paths})"))
    assert len(index.read(["path"], f"path NOT IN ({paths})")) == 8


def test_every_door_refuses(index, run, clips, tmp_path):
    doors = [
        lambda: index.read(["path"], "has_text LIMIT 1"),
        lambda: index.search("gate", where="has_text LIMIT 1"),
        lambda: index.search(["gate"], where="has_text LIMIT 1", mode="lexical"),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=r"'LIMIT' .* follows"):
            door()
    for where in ("has_text LIMIT 1", "has_text) OR (has_text"):
        for place in (["--index", tmp_path / "index"], ["--videos", tmp_path / "nowhere"]):
            result = run("search", "gate", *place, "--where", where, "--folder", tmp_path / "videos")
            assert result.exit_code == 1 and "follows on a whole condition" in result.stderr, result.stderr


def test_what_lancedb_refuses_all_the_same_is_no_damage(index, caplog):
    storage = open_storage(index)
    with pytest.raises(ValueError, match=r"^where=.*3000000000.* cannot be used as a filter") as refused:
        storage.read(["path"], "segment > 3000000000")
    assert not isinstance(refused.value, IndexDamagedError)
    for budget in (1 << 30, 0):  # with the vectors in memory, and on disk
        recall = Recall(storage.videos, budget)
        for ask in (recall.full_text, lambda _, *rest, recall=recall: recall.nearest(np.ones((1, 16), "f4"), *rest)):
            with pytest.raises(Exception, match="3000000000"):
                ask("tesco", 5, "segment > 3000000000")
    assert "damaged" not in caplog.text


def test_a_condition_and_a_folder_both_hold(run, clips, tmp_path):
    place = ["--videos", tmp_path / "videos", "--json"]
    filters = ["--where", "has_text OR NOT has_text", "--folder", clips["shop.mp4"]]
    (entry,) = json.loads(run("search", "gate b4", *place, *filters).stdout)["queries"]
    assert [hit["path"] for hit in entry["hits"]] == [str(clips["shop.mp4"])]
