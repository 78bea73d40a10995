"""`scripts.benchmarks.moments`: its videos, its bar to beat, its metrics, and small runs of its parts."""

import json
import pickle
import random

import numpy as np
import pytest

from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.video_reading import open_video
from tcd_hf.processing.window_ocr import WindowCaption
from tests.clips import coded_frames, text_clip, write_clip


# videos --------------------------------------------------------------------------------------------------------------
def test_codes_survive_encoding(tmp_path):
    from scripts.benchmarks.videos.cards import TICK, Card, read_code, write_cards

    cards = [Card.still(["A"], seconds=2), Card.still(["B", "C"], seconds=3).moving()]
    first = 65_535  # the code's first row of blocks is full
    write_cards(tmp_path / "a.mp4", cards, first)
    for backend in ("pyav", "decord"):
        with open_video(tmp_path / "a.mp4", backend=backend) as video:
            assert video.duration == pytest.approx(5)
            times = (np.arange(10) + 0.5) * TICK
            codes = [read_code(frame) for frame in video.iter_frames_at(times)]
        assert codes == [(first, 0)] * 4 + [(first + 1, picture) for picture in range(6)]


def test_a_picture_that_is_no_card_has_no_code():
    from scripts.benchmarks.videos.cards import HEIGHT, WIDTH, read_code

    assert read_code(np.zeros((HEIGHT, WIDTH, 3), np.uint8)) is None
    assert read_code(np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    assert read_code(noise) is None


def test_the_engine_reads_what_cards_show(tmp_path):
    from scripts.benchmarks.videos.cards import HEIGHT, WIDTH, Card
    from scripts.benchmarks.videos.collection import Collection

    collection = Collection([[Card.still(["Gate B4", "17:45"], 1)], [Card.still(["SALE"], 1)]], [])
    paths = collection.write(tmp_path)
    engine = pickle.loads(pickle.dumps(collection.reader()))
    texts = []
    for path in paths:
        with open_video(path) as video:
            (readings,) = engine(video.frames_at([0.2]))
        texts.append([text for text, _, _ in readings])
    assert texts == [["Gate B4", "17:45"], ["SALE"]]
    assert engine([np.zeros((HEIGHT, WIDTH, 3), np.uint8)]) == [[]]


def test_slips_differ_from_picture_to_picture_and_stay_the_same_for_one(tmp_path):
    from scripts.benchmarks.videos.cards import TICK, Card
    from scripts.benchmarks.videos.collection import Collection

    collection = Collection([[Card.still(["professional photography equipment"])]], []).moving()
    (path,) = collection.write(tmp_path)
    with open_video(path) as video:
        frames = video.frames_at((np.arange(16) + 0.5) * TICK)
    runs = [[readings[0][0] if readings else "" for readings in collection.reader(0.5)(frames)] for _ in range(2)]
    assert runs[0] == runs[1] and len(set(runs[0])) > 4


def test_cards_stand_where_they_are_said_to():
    from scripts.benchmarks.videos.cards import Card
    from scripts.benchmarks.videos.collection import arrange

    placed = [Card.still([str(number)], 8) for number in range(5)]
    for seed in range(20):
        cards, starts = arrange(1, placed, lambda: Card.still(["other"]), random.Random(seed))
        assert sum(card.seconds for card in cards) == 60
        begins = np.cumsum([0, *(card.seconds for card in cards)])
        assert [begins[next(i for i, each in enumerate(cards) if each is card)] for card in placed] == starts
    cards, starts = arrange(2 / 3, placed, lambda: Card.still(["other"]), random.Random(0))
    assert cards == placed and starts == [0, 8, 16, 24, 32]  # they just fit
    with pytest.raises(ValueError, match="too short for 5 cards"):
        arrange(0.5, placed, lambda: Card.still(["other"]), random.Random(0))


def test_strings_stand_once_and_nobody_else_shows_them():
    from scripts.benchmarks.videos.collection import string_collection
    from scripts.benchmarks.videos.texts import MAX_TEXTS, spell_out

    collection = string_collection([(1, 10), (3, 1)], count=15, seed=0)
    assert [sum(card.seconds for card in cards) for cards in collection.videos] == [600, 60, 60, 60]
    assert [sum(target.video == video for target in collection.targets) for video in range(4)] == [8, 3, 2, 2]
    texts = [text for cards in collection.videos for card in cards for text, *_ in card.readings[0]]
    for target in collection.targets:
        assert sum(spell_out(target.query) in spell_out(text) for text in texts) == 1
        begins = np.cumsum([0, *(card.seconds for card in collection.videos[target.video])])
        card = collection.videos[target.video][begins.tolist().index(target.start)]
        assert target.query in [text for text, *_ in card.readings[0]] and target.end - target.start == 8
    shown = [len(card.readings[0]) for cards in collection.videos for card in cards]
    assert min(shown) == 1 and max(shown) == MAX_TEXTS
    assert string_collection([(1, 10), (3, 1)], count=15, seed=0) == collection


def test_sentences_name_what_their_cards_show():
    from scripts.benchmarks.videos.collection import sentence_collection

    annotations = [
        {"has_text": True, "visible_text": ["TESCO express", "£1.30"], "captions": ["a Tesco", "for £1.30", "a shop"]},
        {"has_text": False, "visible_text": [], "captions": ["sea", "waves", "water"]},
    ]
    collection = sentence_collection(2, 0.5, seed=0, annotations=annotations)
    assert [target.query for target in collection.targets] == ["a Tesco", "for £1.30"]
    assert len({(target.video, target.start) for target in collection.targets}) == 1
    generated = sentence_collection(2, 1, seed=0, num_cards=3)
    assert len(generated.targets) == 6


def test_each_annotated_clip_stands_exactly_once():
    from scripts.benchmarks.videos.cards import Card
    from scripts.benchmarks.videos.collection import clip_collection

    clips = {name: Card(((("text of " + name, 0.9, (0, 0, 1, 1)),),), (0,) * 6) for name in "abc"}
    annotations = [
        {"video": "a", "has_text": True, "visible_text": ["text of a"], "captions": ["one", "two", "three"]},
        {"video": "b", "has_text": False, "visible_text": [], "captions": ["four", "five", "six"]},
    ]
    collection = clip_collection(2, 3, annotations, clips, seed=0)
    texts = [card.readings[0][0][0] for cards in collection.videos for card in cards]
    assert texts.count("text of a") == texts.count("text of b") == 1 and texts.count("text of c") > 2
    assert [target.query for target in collection.targets] == ["one", "two"]
    assert all(target.end - target.start == 3 for target in collection.targets)


def test_clips_are_read_once_for_each_stretch_of_frames(tmp_path):
    from scripts.benchmarks.videos.real_clips import record_clips

    (tmp_path / "clips").mkdir()
    frames = text_clip([("OPEN", 0, 2), ("CLOSED", 2, 4)], duration=4, fps=10)
    write_clip(tmp_path / "clips" / "v001.mp4", frames, fps=10)
    seen = []

    def engine(images):
        seen.append(images)
        return [[(f"read {len(seen)}", 0.9, [0.1, 0.1, 0.9, 0.4])] for _ in images]

    (card,) = record_clips(tmp_path, engine, reading_interval=0.75).values()
    assert card.ticks == (0,) * 4 + (1,) * 4
    assert [readings[0][0] for readings in card.readings] == ["read 1", "read 2"]


# the bar to beat ----------------------------------------------------------------------------------------------------
ROWS = [
    ("a.mp4", 0.0, 2.0, "Spencer Brown"),
    ("b.mp4", 10.0, 12.0, "South Spencer"),
    ("b.mp4", 20.0, 28.0, "Café $5.99"),
    ("c.mp4", 30.0, 32.0, "photographers"),
]


@pytest.mark.parametrize("way", ["words", "trigrams, whole words", "trigrams, any"])
def test_sqlite_finds_the_row_that_says_it(way):
    from scripts.benchmarks.sqlite_search import SQLiteSearch

    database = SQLiteSearch(ROWS)
    assert database.search("Spencer Brown", way)[0] == ("a.mp4", 1.0, 2.0)
    assert database.search("a south spencer", way)[0].path == "b.mp4"
    assert database.search('say "spencer" OR NOT (brown)', way)[0].path == "a.mp4"  # no operators
    assert database.search("- ?", way) == []


def test_sqlite_compares_words_or_letters():
    from scripts.benchmarks.sqlite_search import SQLiteSearch

    database = SQLiteSearch(ROWS)
    assert database.search("cafe", "words") == [("b.mp4", 24.0, 8.0)]
    assert database.search("for $5.99 only", "words") == [("b.mp4", 24.0, 8.0)]
    assert database.search("photograph", "words") == []
    assert database.search("photograph", "trigrams, whole words") == [("c.mp4", 31.0, 2.0)]
    assert database.search("fotographer", "trigrams, whole words") == []
    assert database.search("fotographer", "trigrams, any") == [("c.mp4", 31.0, 2.0)]
    assert len(database.search("spencer", "words", top_k=1)) == 1


def test_rows_are_what_was_read():
    from scripts.benchmarks.sqlite_search import rows_of_texts, rows_of_windows

    tracks = [TextTrack("ONE", 0.9, 1.0, 2.0, (0, 0, 1, 1)), TextTrack("TWO", 0.9, 1.5, 2.5, (0, 0, 1, 1))]
    captions = [[WindowCaption(0, 2.5, "ONE TWO", tracks), WindowCaption(2.5, 5)]]
    assert rows_of_texts(["a.mp4"], captions) == [("a.mp4", 1.0, 2.0, "ONE"), ("a.mp4", 1.5, 2.5, "TWO")]
    assert rows_of_windows(["a.mp4"], captions) == [("a.mp4", 0, 2.5, "ONE TWO")]


# metrics ------------------------------------------------------------------------------------------------------------
def test_a_moment_is_right_near_its_text_and_in_a_short_range():
    from scripts.benchmarks.moments import is_moment
    from scripts.benchmarks.sqlite_search import Found
    from scripts.benchmarks.videos.collection import Target

    target = Target("query", 0, 100.0, 108.0)
    right = {98.0: True, 97.9: False, 104.0: True, 110.0: True, 110.1: False}
    assert {time: is_moment(Found("a", time, 15.0), target) for time in right} == right
    assert not is_moment(Found("a", 104.0, 15.1), target)


def test_hits_are_judged():
    from scripts.benchmarks.moments import judge, mistakes
    from scripts.benchmarks.sqlite_search import Found
    from scripts.benchmarks.videos.collection import Target

    targets = [Target(query, 0, 10.0, 18.0) for query in "abcd"]
    right = ["a.mp4"] * 4
    good, wide, other = Found("a.mp4", 12.0, 3.0), Found("a.mp4", 12.0, 300.0), Found("b.mp4", 12.0, 3.0)
    found = [[good, other], [wide], [other, good], []]
    assert judge(found, targets, right) == {
        "R@1": 0.5,
        "R@10": 0.75,
        "moment": 0.5,
        "right_second": 0.25,
        "wrong": 2,
    }
    assert [mistake["query"] for mistake in mistakes(found, targets, right)] == ["b", "c", "d"]
    assert judge([[other]] * 4, targets, right)["moment"] is None


def test_the_better_way_of_sqlite_counts_and_falling_below_it_is_said():
    from scripts.benchmarks.moments import OURS, SQL, SQL_WINDOWS, best_of_sql, search_table, verdict

    def scores(r1, second):
        return {"R@1": r1, "R@10": 1.0, "moment": None, "right_second": second, "wrong": 1}

    recall = {
        OURS: scores(0.8, 0.8),
        f"{SQL}, words": scores(0.9, 0.7),
        f"{SQL}, trigrams, any": scores(0.9, 0.8),
        f"{SQL_WINDOWS}, words": scores(1.0, 1.0),
    }
    assert best_of_sql(recall) == f"{SQL}, trigrams, any"
    result = {"videos": "1 of 1 min", "noise": 0.1, "queries": 10, "hours": 1, "recall": recall}
    result |= {"seconds_of_indexing": 1.0, "milliseconds_per_query": 2.0}
    table = search_table("Title", [result])
    assert "BELOW FTS5 in R@1." in table and table.count("**") == 4 and "slips, level 0.1" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert verdict(scores(0.9, 0.8), scores(0.9, 0.8)) == "not above FTS5, although that is below 0.97."
    assert verdict(scores(0.97, 0.9), scores(0.97, 0.8)) == "not below FTS5."
    assert verdict(scores(0.9, 0.7), scores(0.8, 0.8)) == "BELOW FTS5 in right_second."


def test_processor_time_inside_functions_is_counted_once(monkeypatch):
    from scripts.benchmarks.costs import cpu

    now = iter([0, 1, 10, 12, 20, 23, 30, 34, 40, 45])
    monkeypatch.setattr(cpu.time, "process_time", lambda: next(now))
    meter = cpu.CpuMeter()
    inner = meter.counted(lambda: "inner")
    assert meter.counted(inner)() == "inner" and meter.seconds == 1

    def numbers():
        yield from (1, 2)

    assert list(meter.counted(numbers)()) == [1, 2]
    assert meter.seconds == 1 + 2 + 3 + 4 + 5  # the call, two steps, and the one that ends it


def test_a_video_is_repeated_by_copying_packets(tmp_path):
    from scripts.benchmarks.videos.scenes import repeat_video

    piece = write_clip(tmp_path / "piece.mp4", coded_frames(20), fps=10)
    repeat_video(piece, tmp_path / "long.mp4", 3)
    times = (np.arange(20) + 0.5) / 10
    with open_video(piece) as video:
        expected = video.frames_at(times)
    for backend in ("pyav", "decord"):
        with open_video(tmp_path / "long.mp4", backend=backend) as video:
            assert video.num_frames == 60 and video.duration == pytest.approx(6)
            for start in (0, 2, 4):
                assert np.array_equal(video.frames_at(times + start), expected)


# parts --------------------------------------------------------------------------------------------------------------
def run(tmp_path, *options) -> dict:
    from scripts.benchmarks import moments as benchmark_moments

    numbers = tmp_path / "numbers.json"
    assert benchmark_moments.main([*map(str, options), "--folder", str(tmp_path), "--json", str(numbers)]) == 0
    return json.loads(numbers.read_text())


def test_sentences_and_strings_are_searched_for(tmp_path, capsys):
    sizes = ["--minutes", 1, "--videos", 3, "--cards", 3, "--strings", 4, "--string-videos", "2x1", "--workers", 0]
    report = run(tmp_path, "--parts", "sentences", "strings", *sizes, "--noise", 0.05)
    assert [len(report[part]) for part in ("sentences", "strings")] == [2, 2]  # without error and with slips
    (clean, _) = report["strings"]
    assert clean["queries"] == 4 and len(clean["recall"]) == 7
    assert clean["recall"]["FTS5, a row per text, words"]["R@1"] == 1.0
    assert clean["recall"]["this package"]["R@10"] == 1.0
    text = capsys.readouterr().out
    assert "Strings exactly as shown" in text and "| 3 of 1 min | slips, level 0.05 |" in text


def test_a_short_text_in_a_longer_video_is_found_to_the_second(tmp_path):
    report = run(tmp_path, "--parts", "short", "--long", 6, "--short-texts", 2, "--workers", 0)
    (result,) = report["short"]
    assert result["recall"]["this package"]["right_second"] == 1.0, result["wrong"]


def test_real_clips_are_left_out_without_their_folder(tmp_path, capsys):
    report = run(tmp_path, "--parts", "clips", "--data", tmp_path / "nowhere")
    assert report["clips"] == [] and "not distributed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--videos", "0"], ["--noise", "2"], ["--parts", "else"], ["--string-videos", "x"]]
)
def test_options_out_of_range_are_refused(options, capsys):
    from scripts.benchmarks import moments as benchmark_moments

    with pytest.raises(SystemExit):
        benchmark_moments.main(options)
    assert "error" in capsys.readouterr().err


@pytest.mark.slow
def test_costs_are_measured(tmp_path, capsys):
    from scripts.benchmarks.costs import decoding

    sizes = ["--size", "160x96", "--piece", 2, "--memory-minutes", 0.1, 0.2, "--long", 1, "--cpu-videos", 1]
    sizes += ["--cpu-minutes", 1, "--decoding-minutes", 0.2, "--hour", 1, "--width", 32]
    report = run(tmp_path, "--parts", "memory", "cpu", "disk", "decoding", *sizes)
    first, second = report["memory"]["runs"]
    assert first["over_first"] == 0 and second["peak_gb"] > 0.1 and not second["skipped"]
    assert report["cpu"]["long"]["rest"] > 0 and report["cpu"]["shorter"]["ocr_and_decoding"] > 0
    small, large = report["disk"]
    assert (small["features"], large["features"]) == ("int8", "float16")
    assert all(size > 0 for size in small["shares_megabytes_per_hour"].values())
    of_features = [each["shares_megabytes_per_hour"]["features"] for each in (small, large)]
    assert of_features[0] < 0.8 * of_features[1]
    wanted = {reader: run["frames_wanted"] for reader, run in report["decoding"]["readers"].items()}
    assert wanted["pyav"] == 24 and wanted["decord"] > 0 and wanted["decord"] % decoding.SHORT_FILES == 0
    tables = [block.splitlines() for block in capsys.readouterr().out.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


@pytest.mark.slow
def test_a_kill_costs_no_more_than_a_segment(tmp_path, capsys):
    report = run(tmp_path, "--parts", "kills", "--hour", 4, "--kills", 2)["kills"]
    assert report["segments"] == 8 and report["comparison"]["equal"]
    assert report["kills"] <= 2  # one may come too late on a busy machine
    assert report["calls_uninterrupted"] <= report["calls_of_all_runs"] <= report["calls_allowed"]
    assert "Tables are equal." in capsys.readouterr().out
