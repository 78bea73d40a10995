"""`first >> then`: which moments follow on which, and the videos that are found by it."""

import json
import math
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from tcd_hf.index import ordered_search
from tcd_hf.index.moments import Moment
from tcd_hf.index.ordered import find_chains, join_chain
from tcd_hf.index.ordered_search import least_nearby
from tcd_hf.index.video_index import VideoIndex
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.long_clips import WatchedReader, write_codes

ENTRY, EXIT, GOAL, GATE, BLANK = 3, 5, 9, 17, 64
TEXTS = {ENTRY: ["WAY IN"], EXIT: ["no exit", "platform seven"], GOAL: ["lost property"], GATE: ["gate b4"]}
STEP = 0.5  # seconds between two looks at a video
MODES = ("two-stage", "full")


def at(start: float, end: float, score: float = 1.0, evidence: str | None = "x") -> Moment:
    return Moment(start, end, score, [evidence] if evidence else [])


def times_of(chains):
    return [[moment.start for moment in chain] for chain in chains]


class TestChains:
    def test_what_follows_begins_later_and_soon_after_the_end(self):
        first = [at(10, 20)]
        for start, follows in ((9.9, False), (10, False), (10.1, True), (15, True), (80, True), (80.1, False)):
            assert bool(find_chains([first, [at(start, start + 5)]])) == follows
        assert find_chains([first, [at(300, 301)]], within=280)
        assert find_chains([first, [at(1e6, 1e6 + 1)]], within=math.inf)
        assert not find_chains([first, [at(20.1, 21)]], within=0) and find_chains([first, [at(20, 21)]], within=0)
        assert find_chains([first, []]) == find_chains([[], first]) == []

    def test_the_best_mean_wins_and_of_equals_the_nearest(self):
        first, then = [at(0, 1, 0.5), at(10, 11, 0.9), at(30, 31, 0.5)], [at(20, 21, 0.6), at(40, 41, 0.6)]
        assert times_of(find_chains([first, then], limit=1)) == [[10, 20]]
        equal = [at(0, 1), at(10, 11), at(30, 31)]
        assert times_of(find_chains([equal, [at(20, 21)]])) == [[10, 20]]

    def test_a_moment_is_of_one_chain_for_each_part(self):
        platform = [at(0, 1, 0.9), at(10, 11, 0.8), at(20, 21, 0.7)]
        assert times_of(find_chains([platform, platform])) == [[0, 10], [10, 20]]
        assert times_of(find_chains([platform, [at(25, 26)]])) == [[0, 25]]
        assert times_of(find_chains([platform, [at(25, 26), at(30, 31, 0.5)]], limit=2)) == [[0, 25], [10, 30]]

    def test_without_evidence_there_is_one(self):
        pictures = [at(start, start + 1, start, None) for start in range(4)]
        assert times_of(find_chains([pictures, pictures])) == [[2, 3]]
        assert len(find_chains([[at(0, 1), at(10, 11)], [at(5, 6, 1, None), at(15, 16, 1, None)]])) == 2

    def test_chains_of_many_parts_against_all_of_them(self):
        generator = np.random.default_rng(0)
        for _ in range(50):
            parts = [
                [at(start, start + length, score) for start, length, score in generator.random((4, 3)) * (20, 5, 1)]
                for _ in range(3)
            ]
            possible = [
                chain for chain in product(*parts) if all(a.start < b.start <= a.end + 3 for a, b in pairwise(chain))
            ]
            found = find_chains(parts, within=3, limit=1)
            assert bool(found) == bool(possible)
            if found:
                best = max(sum(moment.score for moment in chain) for chain in possible)
                assert sum(moment.score for moment in found[0]) == pytest.approx(best)

    def test_as_one_moment(self):
        first, then = Moment(1, 9, 0.5, ["a", "b"], [{"time": 2}]), Moment(3, 7, 0.25, ["a"], [{"time": 4}])
        joined = join_chain([first, then])
        assert (joined.start, joined.end, joined.score) == (1, 9, pytest.approx(0.375))
        assert joined.evidence == ["a", "b", "a"] and joined.boxes == [{"time": 2}, {"time": 4}]


def test_the_least_value_nearby():
    videos = np.array([0, 0, 0, 1, 1, 0])
    times = np.array([[0, 30], [30, 60], [120, 150], [0, 30], [30, 60], [150, 180]], float)
    values = np.array([[5, 3, 9, 1, 7, 2]])
    for reach, expected in (
        (0, [3, 3, 2, 1, 1, 2]),  # those that touch
        (60, [3, 3, 2, 1, 1, 2]),
        (90, [3, 2, 2, 1, 1, 2]),
        (math.inf, [2, 2, 2, 1, 1, 2]),
    ):
        assert least_nearby(values, videos, times, reach).tolist() == [expected], reach


@pytest.fixture
def make_index(tmp_path):
    def make(segment_seconds=8.0, texts=TEXTS, **schedules):
        paths = [write_codes(tmp_path / f"{name}.mp4", *schedule) for name, schedule in schedules.items()]
        options = {"cache_dir": tmp_path / "cache", "segment_seconds": segment_seconds, "exist_ok": True}
        processor = make_tiny_processor(WatchedReader(texts))
        index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, **options)
        index.add(paths, workers=0)
        return index

    return make


@pytest.fixture
def index(make_index):
    """Two texts in both orders, far apart, at once, and alone: segments of 8 s."""
    return make_index(
        right=[(BLANK, 6), (ENTRY, 4), (BLANK, 12), (EXIT, 4), (BLANK, 2)],
        wrong=[(BLANK, 6), (EXIT, 4), (BLANK, 12), (ENTRY, 4), (BLANK, 2)],
        far=[(ENTRY, 3), (BLANK, 80), (EXIT, 3)],
        first_alone=[(BLANK, 4), (ENTRY, 4)],
    )


def find(index, query, **options):
    return index.search(query, syntax="query", **options)


def names(hits):
    return [Path(hit.path).stem for hit in hits]


@pytest.mark.parametrize("mode", MODES)
class TestSearch:
    def test_the_right_order_within_the_time(self, index, mode):
        query = '"way in" >> "no exit"'
        (hit,) = find(index, query, mode=mode)
        assert names([hit]) == ["right"]
        assert (hit.start, hit.end) == pytest.approx((6.0, 26.0), abs=STEP)
        assert hit.evidence == ["WAY IN", "no exit"] and hit.moments == []
        assert [box["text"] for box in hit.boxes] == hit.evidence
        assert [box["time"] < 11 for box in hit.boxes] == [True, False]
        assert names(find(index, query, mode=mode, within=11)) == []
        assert names(find(index, query, mode=mode, within=13)) == ["right"]
        assert names(find(index, query, mode=mode, within=81)) == ["right", "far"]
        assert names(find(index, query, mode=mode, within=math.inf)) == ["right", "far"]
        assert names(find(index, '"no exit" >> "way in"', mode=mode)) == ["wrong"]

    def test_words_are_fuzzy_and_scores_are_means(self, index, mode):
        hits = find(index, "the way in >> there is no exit", mode=mode)
        assert names(hits)[0] == "right" and hits[0].evidence[:2] == ["WAY IN", "no exit"]
        first, then = (
            next(hit for hit in find(index, part, mode=mode) if Path(hit.path).stem == "right")
            for part in ("the way in", "there is no exit")
        )
        for name in ("score", "text_video", "text_ocr", "text_hybrid", "lexical"):
            assert getattr(hits[0], name) == pytest.approx((getattr(first, name) + getattr(then, name)) / 2, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_parts_are_queries(self, index, mode):
        assert names(find(index, '"way in" >> "seven no" OR "platform seven"', mode=mode)) == ["right"]
        assert names(find(index, '"lost property" OR "way in" >> exit -property', mode=mode))[0] == "right"
        assert names(find(index, '"way in" >> "no exit" -seven', mode=mode)) == []
        assert names(find(index, '"way in" >> "lost property"', mode=mode)) == []
        assert names(find(index, '"no exit" >> "no exit"', mode=mode)) == []  # a moment does not follow on itself

    def test_with_filters(self, index, mode):
        query = '"way in" >> "no exit"'
        assert find(index, query, mode=mode, where="path LIKE '%wrong%'") == []
        assert names(find(index, query, mode=mode, where="path LIKE '%right%'")) == ["right"]
        assert names(find(index, query, mode=mode, between=(5, 25))) == ["right"]
        assert find(index, query, mode=mode, between=(12, 25)) == []
        assert find(index, query, mode=mode, where='"start" >= 8') == names(find(index, query, where="path = ''")) == []

    def test_plain_text_has_no_order(self, index, mode):
        found = [hit.path for hit in index.search("way in no exit", mode=mode)]
        assert len(found) == 4 and [hit.path for hit in index.search("way in >> no exit", mode=mode)] == found

    def test_all_pairs_of_a_video(self, make_index, mode):
        again = [(ENTRY, 2), (BLANK, 3), (EXIT, 2), (BLANK, 70)]
        index = make_index(again=[(GATE, 2), *again, (EXIT, 2), (BLANK, 3), *again, *again])
        query = '"way in" >> "no exit"'
        (hit,) = find(index, query, mode=mode, moments=9)
        assert len(hit.moments) == 2
        moments = index.moments(query, hit.path, syntax="query")
        assert [moment.start for moment in moments] == pytest.approx([2, 84, 161], abs=STEP)
        assert all(moment.end - moment.start == pytest.approx(7, abs=2 * STEP) for moment in moments)
        assert sorted([hit.start, *(moment.start for moment in hit.moments)]) == [moment.start for moment in moments]
        assert all(moment.evidence == ["WAY IN", "no exit"] for moment in hit.moments)
        assert len(find(index, query, mode=mode, moments=1)[0].moments) == 1
        # The first pair, and the second sign alone before the second pair.
        assert len(index.moments('"no exit" >> "way in"', hit.path, syntax="query", within=10)) == 1

    def test_three_in_a_row_over_segments(self, make_index, mode):
        index = make_index(
            good=[(ENTRY, 3), (BLANK, 20), (EXIT, 12), (BLANK, 20), (GOAL, 3)],
            bad=[(ENTRY, 3), (BLANK, 20), (GOAL, 3), (BLANK, 20), (EXIT, 3)],
        )
        query = '"way in" >> exit >> "lost property"'
        (hit,) = find(index, query, mode=mode, where="path LIKE '%good%'")
        assert hit.evidence == ["WAY IN", "no exit", "lost property"]
        assert (hit.start, hit.end) == pytest.approx((0, 58), abs=STEP)
        assert names(find(index, query, mode=mode))[0] == "good"
        assert names(find(index, '"way in" >> "no exit" >> "lost property"', mode=mode)) == ["good"]
        assert find(index, '"way in" >> "no exit" >> "lost property"', mode=mode, within=19) == []

    def test_what_is_seen_may_follow(self, index, mode):
        """No text speaks for the second part: any window after the first text is a moment."""
        (hit,) = find(index, '"way in" >> zzz', mode=mode, where="path LIKE '%right%'")
        assert hit.evidence == ["WAY IN"] and hit.end > hit.start
        assert hit.start >= 6 - STEP and hit.end <= 28 + STEP
        assert len(find(index, "qqq >> zzz", mode=mode)) == 4


def test_modes_agree(index):
    for query in ("way in >> exit", '"way in" >> seven', "seven >> way in", "property OR in >> exit"):
        by_mode = [find(index, query, mode=mode, within=90) for mode in MODES]
        assert names(by_mode[0]) == names(by_mode[1])
        for one, other in zip(*by_mode, strict=True):
            assert (one.start, one.end, one.evidence) == (other.start, other.end, other.evidence)
            assert one.score == pytest.approx(other.score, abs=1e-5)


def test_several_queries_with_and_without_order(index):
    for mode in MODES:
        single, ordered, other = find(index, ["way in", '"way in" >> "no exit"', '"no exit"'], mode=mode)
        assert names(ordered) == ["right"] and len(single) == 4 and set(names(other)) == {"right", "wrong", "far"}


def test_the_modes_that_rank_segments_refuse_it(index):
    for mode in ("coarse", "lexical"):
        with pytest.raises(ValueError, match=f"'>>' compares moments, which mode '{mode}' .*'two-stage' or 'full'"):
            find(index, "way in >> exit", mode=mode)
        index.search("way in >> exit", mode=mode)


@pytest.mark.parametrize("within", [-1, float("nan")])
def test_a_time_that_is_none(index, within):
    for ask in (lambda: index.search("x", within=within), lambda: index.moments("x", index.paths[0], within=within)):
        with pytest.raises(ValueError, match="within must be a number of seconds from 0 on"):
            ask()


def test_what_is_not_recalled_is_found_beside_what_is(index, monkeypatch):
    """The second part names rows of another video alone; those near the row that the first names are scored."""
    named = ordered_search.OrderedSearch.candidates_of

    def name_one(self, search):
        video = "right" if search.query.text == "way in" else "far"
        of_video = [[row for row in rows if video in self.recall.path(row)] for rows in named(self, search)]
        return [np.array(rows[:1], np.uint64) for rows in of_video]

    monkeypatch.setattr(ordered_search.OrderedSearch, "candidates_of", name_one)
    assert names(find(index, '"way in" >> exit')) == ["right"]


def test_no_more_rows_are_scored_than_promised(index, monkeypatch):
    taken = []
    monkeypatch.setattr(ordered_search, "SCORED_SHARE", 1)
    rows = ordered_search.OrderedSearch.recall_rows
    monkeypatch.setattr(ordered_search.OrderedSearch, "recall_rows", lambda self: taken.append(rows(self)) or taken[-1])
    (hit,) = find(index, '"way in" >> "no exit"', recall_k=4, top_k=1)
    assert len(taken[0]) == 4 and names([hit]) == ["right"]


def test_on_the_command_line(run, tmp_path):
    codes = {"right": [3, 8, 8, 1, 16, 8], "wrong": [1, 8, 8, 3, 16, 8]}
    (tmp_path / "videos").mkdir()
    for name, shown in codes.items():
        write_clip(tmp_path / "videos" / f"{name}.mp4", [coded_frame(code) for code in shown for _ in range(5)], fps=5)
    search = ["search", '"star wars" >> tesco', "--videos", tmp_path / "videos"]
    result = run(*search, "--json")
    assert result.exit_code == 0, result.stderr
    (entry,) = json.loads(result.stdout)["queries"]
    assert entry["parsed"] == {
        "text": ["star wars"],
        "phrases": ["star wars"],
        "excluded": [],
        "then": [{"text": ["tesco"], "phrases": [], "excluded": []}],
    }
    (hit,) = entry["hits"]
    assert Path(hit["path"]).name == "right.mp4" and hit["evidence"] == ["STAR WARS", "TESCO express"]
    assert (hit["start"], hit["end"]) == pytest.approx((0, 4), abs=0.6)
    table = run(*search).stdout
    assert "STAR WARS | TESCO express" in table and "wrong.mp4" not in table
    lines = run(*search, "--within", 1).stdout.splitlines()
    assert lines[1] == "Nothing follows in this order within 1 s: see --within."
    assert run(*search, "--within", -1).exit_code == 2
    for wrong in ('>> "tesco"', "star >>", "star >> >> tesco"):
        result = run("search", wrong, "--videos", tmp_path / "videos")
        assert result.exit_code == 1 and "'>>' with nothing on one side" in result.stderr
    result = run(*search, "--mode", "lexical")
    assert result.exit_code == 1 and "'>>' compares moments" in result.stderr
