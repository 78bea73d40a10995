"""The benchmark scripts: what they count and what they print."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor, open_storage


@pytest.mark.parametrize("num_videos", [3, 60])
def test_time_of_the_reference_is_divided_by_the_videos_it_scored(monkeypatch, num_videos):
    from scripts.benchmarks import scoring as benchmark_scoring

    monkeypatch.setattr(benchmark_scoring, "fastest", lambda ways, threads, repeats: dict.fromkeys(ways, threads))
    monkeypatch.setattr(benchmark_scoring.os, "cpu_count", lambda: 3)
    report = benchmark_scoring.measure(num_texts=2, num_videos=num_videos, width=16, heads=1, repeats=1)
    assert list(report["microseconds"]) == ["1", "3"]
    for threads, times in report["microseconds"].items():
        assert times["reference"] == pytest.approx(int(threads) * 1e6 / (2 * min(num_videos, 50)))
        assert times["factorized"] == times["dot_products"] == pytest.approx(int(threads) * 1e6 / (2 * num_videos))
    assert report["difference"] < 1e-4


def test_each_way_keeps_its_fastest_turn_but_the_first(monkeypatch):
    from scripts.benchmarks import scoring as benchmark_scoring

    seconds = iter([0.1, 0.2, 5, 4, 3, 6])
    monkeypatch.setattr(benchmark_scoring, "seconds_of", lambda way: next(seconds))
    assert benchmark_scoring.fastest({"a": None, "b": None}, threads=1, repeats=2) == {"a": 3, "b": 4}


def test_multiply_adds_of_scoring():
    from scripts.benchmarks.scoring import measure, published_multiply_adds

    # EERCF gives .8k and 15.9k for 1,000 videos, 50 candidates, 12 frames of 49 patches, 512 wide.
    published = published_multiply_adds(1000, 12, 512, factorized=40_000)
    expected = {"eercf": 819.2, "eercf_patches": 15_872, "two_stages": 512 + 2_000, "xclip": 197_000}
    assert published == pytest.approx(expected)
    counts = measure(num_texts=2, num_videos=3, width=16, heads=1, repeats=1)["multiply_adds"]
    assert counts["dot_products"] == 4 * 12 * 16  # one product of two matrices
    # Of each attention q and out once, and for 12 moments k, v and both products. Then two gates and three cosines: of
    # vectors, which a release of torch may multiply and add up without a product of matrices, which alone is counted.
    attention = 2 * (2 * 16**2 + 2 * 12 * (16**2 + 16))
    assert attention <= counts["reference"] <= attention + 2 * 12 * 16 + 3 * 16


def test_the_report_on_scoring_says_what_is_required():
    from scripts.benchmarks import scoring as benchmark_scoring

    report = benchmark_scoring.measure(num_texts=2, num_videos=60, width=16, heads=1, repeats=1)
    report["microseconds"] = {
        "1": {"reference": 250.0, "factorized": 2.5, "dot_products": 0.25},
        "2": {"reference": 100.0, "factorized": 1.25, "dot_products": 0.25},
    }
    text = benchmark_scoring.to_markdown(report)
    assert "| times as fast as written | at least 100 | 100, holds | 80, FAILS |" in text
    assert "| times the bare dot products | at most 8 | 10.0, FAILS | 5.0, holds |" in text
    assert "N = 60, k = 50" in text and "F = 12 frames, D = 16" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_numbers_of_scoring_are_written(tmp_path, capsys):
    from scripts.benchmarks import scoring as benchmark_scoring

    sizes = ["--texts", "2", "--videos", "3", "--width", "16", "--repeats", "1"]
    assert benchmark_scoring.main([*sizes, "--json", str(tmp_path / "numbers.json")]) == 0
    assert "bare dot products" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["texts"], numbers["videos"], numbers["frames"]) == (2, 3, 12)
    assert all(times["factorized"] > 0 for times in numbers["microseconds"].values())


def test_a_string_is_found_without_case_punctuation_and_spaces_in_one_caption():
    from scripts.benchmarks.ocr.__main__ import fold_accents, is_found

    captions = ["Tesco  EXPRESS!", "\uff12\uff10\uff11\uff19"]
    assert is_found("tesco-express", captions) and is_found("2019", captions) and is_found("2", captions)
    assert not is_found("express 2019", captions)
    assert not is_found("cafe", ["Caf\u00e9"]) and is_found("cafe", [fold_accents("Caf\u00e9")])


def test_ways_of_reading_take_turns(tmp_path, capsys):
    from scripts.benchmarks.ocr.__main__ import main
    from tests.clips import text_clip, write_clip

    (tmp_path / "clips").mkdir()
    still = np.full((120, 160, 3), 90, np.uint8)
    frames = {"v002": text_clip([("OPEN CAFE", 0, 1)], duration=1, fps=5), "v004": [still] * 5, "v005": [still] * 3}
    for name, shown in frames.items():
        write_clip(tmp_path / "clips" / f"{name}.mp4", shown, fps=5)
    texts = {"v002": ["Open Cafe", "closed"], "v004": []}
    annotations = [
        {
            "video": f"clips/{name}.mp4",
            "has_text": bool(text),
            "visible_text": text,
            "captions": ["a cafe that is open"] * 3,
        }
        for name, text in texts.items()
    ]
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    options = ["--presets", "balanced", "--all-clips", "--before", str(Path(__file__).parents[2])]
    assert main(["--data", str(tmp_path), *options, "--json", str(tmp_path / "ocr.json")]) == 0
    assert "| before | 1 of 2 | 1 | 0 | 1.000 | 1.000 | 1.000 |" in capsys.readouterr().out
    ways = json.loads((tmp_path / "ocr.json").read_text())["ways"]
    for way in ways.values():
        assert (way["strings"], way["found"], way["missed"]) == (2, 1, [["clips/v002.mp4", "closed"]])
        assert way["seconds"]["video"] == pytest.approx(2) and way["seconds"]["detect"] > 0
        assert way["counts"]["frames"] >= 2 and way["counts"]["boxes"] >= 1 and way["clips_without_text"]["words"] == 0


def test_time_of_indexing_belongs_to_the_innermost_step(monkeypatch):
    from scripts.benchmarks import machine

    now = iter([0, 1, 3, 6, 10, 15])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(now))
    clock = machine.Clock()
    read = clock.timed("OCR", lambda image: image)
    assert clock.timed("decode", read)("frame") == "frame"
    clock.switch("other")
    assert clock.seconds == {"other": 1 + 5, "decode": 2 + 4, "OCR": 3}


def test_tables_of_two_indexes_are_compared(tmp_path, clips, code_reader):
    from scripts.benchmarks import index as benchmark_index
    from tcd_hf import VideoIndex

    def make(name, paths, seed=0):
        options = {"cache_dir": tmp_path / "cache", "feature_type": "float16"}
        index = VideoIndex.create(tmp_path / name, make_tiny_model(seed), make_tiny_processor(code_reader), **options)
        index.add(paths, workers=0)
        return tmp_path / name

    paths = list(clips.values())
    whole = make("whole", paths)
    same = benchmark_index.compare_tables(whole, make("reversed", paths[::-1]))
    assert same["equal"] and same["rows"] == [4, 4] and same["doubled"] == 0
    assert same["largest_difference_of_features"] == 0
    part = benchmark_index.compare_tables(whole, make("part", paths[1:]))
    assert not part["equal"] and part["rows"] == [4, 3]
    other = benchmark_index.compare_tables(whole, make("other", paths, seed=1))
    assert not other["equal"] and other["columns_that_differ"] == []
    assert other["largest_difference_of_features"] > benchmark_index.MAX_DIFFERENCE
    captions = VideoIndex.open(whole, make_tiny_model(), make_tiny_processor(code_reader))
    open_storage(captions).videos.update(values={"caption_text": "else"})
    changed = benchmark_index.compare_tables(whole, tmp_path / "reversed")
    assert not changed["equal"] and changed["columns_that_differ"] == ["caption_text"]


@pytest.mark.slow
def test_killed_indexing_makes_the_table_of_the_uninterrupted_one(tmp_path, clips, capsys):
    from scripts.benchmarks import index as benchmark_index

    model, processor = make_tiny_model(), make_tiny_processor("rapidocr")
    processor.ocr_options = {"limit_side_len": 64}  # the clips' own size: quick
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--workers", 0, "--kills", 2, "--commit-every", 1]
    options += ["--data", tmp_path / "videos", "--readings", tmp_path / "readings.jsonl"]
    status = benchmark_index.main([*map(str, options), "--json", str(tmp_path / "numbers.json")])
    report = json.loads((tmp_path / "numbers.json").read_text())
    assert report["steps"]["files"] == report["uninterrupted"]["files"] == 4
    assert report["comparison"]["equal"] and report["comparison"]["rows"] == [4, 4]
    assert status == (0 if report["killed"]["kills"] == 2 else 1)  # a kill may come too late on a busy machine
    assert all(seconds >= 0 for seconds in report["steps"]["by_step"].values())
    assert "Tables are equal." in capsys.readouterr().out


def test_indexing_of_a_folder_that_is_not_there_is_skipped(tmp_path, capsys):
    from scripts.benchmarks import index as benchmark_index

    assert benchmark_index.main(["--data", str(tmp_path / "nowhere")]) == 0
    assert capsys.readouterr().out.startswith("Skipped")


def test_a_machine_in_words():
    from scripts.benchmarks.machine import describe_machine, in_words

    machine = describe_machine("pytest", "no-such-package")
    assert machine["cores"] >= 1 and machine["versions"]["no-such-package"] is None
    text = in_words({**machine, "processor": "x", "vectors": "AVX2", "cores": 2, "load": 0.26, "python": "3.11"})
    assert text.startswith("x, AVX2, 2 cores (load 0.3); Python 3.11, torch ") and "no-such-package" not in text
    assert f", transformers {machine['versions']['transformers']}, numpy " in text
    assert text.endswith(f", pytest {pytest.__version__}")
    assert "2 cores; Python" in in_words({**machine, "cores": 2, "load": None})


def test_a_table_has_its_numbers_where_it_is_told():
    from scripts.benchmarks.machine import table

    assert table([["a", "b"], ["c", 1]]) == "| a | b |\n|---|---|\n| c | 1 |"
    assert table([["a", "b"]], align="lr") == "| a | b |\n|---|---:|"


def test_the_report_names_what_the_numbers_are():
    from scripts.benchmarks import realvid as benchmark_realvid
    from scripts.benchmarks.machine import describe_machine

    scores = {"R@1": 0.9, "R@5": 0.95, "R@10": 1.0, "MdR": 1.0}
    recall = {"model: total": scores}
    part = {"count": 2, "milliseconds_per_query": 1.0, "recall": recall, "recall_at_1_by_weight": {"0.5": 0.9}}
    report = {
        "machine": describe_machine(),
        "lexical_weight": 0.5,
        "gallery": {"videos": 1, "seconds_of_video": 1.0, "seconds": 1.0, "seconds_of_ocr": 0.5},
        "text_queries": part,
        "visual_queries": part,
    }
    text = benchmark_realvid.to_markdown(report)
    assert text.count("| model: total | 0.900 | 0.950 | 1.000 | 1 |") == 2
    assert "same queries" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_kinds_of_queries_of_a_folder(tmp_path):
    from scripts.benchmarks import realvid as benchmark_realvid

    index = SimpleNamespace(paths=[str(tmp_path / "clips/b.mp4"), str(tmp_path / "clips/a.mp4")])
    annotations = [
        {"video": "clips/a.mp4", "has_text": True, "captions": ["the TESCO express", "TESCO", "a street"]},
        {"video": "clips/b.mp4", "has_text": False, "captions": ["a dog", "dogs", "a dog runs"]},
    ]
    kinds = benchmark_realvid.read_queries(index, annotations, tmp_path)
    assert kinds["text_queries"] == [("the TESCO express", 1), ("TESCO", 1)]
    assert kinds["visual_queries"] == [("a street", 1), ("a dog runs", 0)]
    (first, _), (second, _) = kinds["misspelt_queries"]
    assert first != "the TESCO express" and second != "TESCO"
    assert kinds["misspelt_queries"] == benchmark_realvid.read_queries(index, annotations, tmp_path)["misspelt_queries"]
    assert "meaning_queries" not in kinds
    (tmp_path / "meaning.json").write_text(json.dumps([{"video": "clips/b.mp4", "meaning": "a pet"}]))
    assert benchmark_realvid.read_queries(index, annotations, tmp_path)["meaning_queries"] == [("a pet", 0)]


def test_the_fused_score_without_each_part_by_hand():
    from scripts.benchmarks import realvid as benchmark_realvid

    parts = {"text_video": 0.3, "text_ocr": 0.6, "text_hybrid": 0.9, "lexical": 0.4, "similarity": 0.6}
    scores = SimpleNamespace(**{name: np.array([[value]]) for name, value in parts.items()}, text_window=None)
    without = benchmark_realvid.fused_without(None, scores, 0.5)
    assert {name: pytest.approx(value.item()) for name, value in without.items()} == {
        "search without the text-video part": 0.5 * 1.5 / 3 + 0.2,
        "search without the text-OCR part": 0.5 * 1.2 / 3 + 0.2,
        "search without the hybrid part": 0.5 * 0.9 / 3 + 0.2,
        "search without the lexical score": 0.5 * 0.6,
    }
    scores.text_window = np.array([[0.5]])
    calibration = {"bias": -1.0, "text_window": 2.0, "lexical": 5.0}
    without = benchmark_realvid.fused_without(calibration, scores, 0.5)
    assert {name: pytest.approx(value.item()) for name, value in without.items()} == {
        "search without the nearest window": 1 / (1 + np.exp(-1.0)),  # 5 * .4 - 1
        "search without the lexical score": 0.5,
    }
