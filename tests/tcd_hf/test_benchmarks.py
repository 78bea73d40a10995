"""The benchmark scripts: what they count and what they print."""

import json
from pathlib import Path

import numpy as np
import pytest

from tcd_hf.processing.ocr_engines import TextReading
from tcd_hf.processing.window_ocr import WindowCaption

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.parametrize("num_videos", [3, 60])
def test_time_of_the_reference_is_divided_by_the_videos_it_scored(monkeypatch, num_videos):
    import benchmark_scoring

    monkeypatch.setattr(benchmark_scoring, "best_of", lambda repeats, function: 1.0)
    report = benchmark_scoring.measure(num_texts=2, num_videos=num_videos, width=16, heads=1, repeats=1)
    assert report["reference"] == pytest.approx(1e6 / (2 * min(num_videos, 50)))
    assert report["factorized"] == pytest.approx(1e6 / (2 * num_videos))
    assert report["difference"] < 1e-4


def test_a_string_is_found_without_case_punctuation_and_spaces_in_one_caption():
    from benchmark_ocr import is_found

    captions = [WindowCaption(0, 1, "Tesco  EXPRESS!", []), WindowCaption(1, 2, "\uff12\uff10\uff11\uff19", [])]
    assert is_found("tesco-express", captions) and is_found("2019", captions) and is_found("2", captions)
    assert not is_found("express 2019", captions)


def test_ocr_of_a_folder_is_measured(tmp_path):
    import benchmark_ocr

    from tests.clips import write_clip

    write_clip(tmp_path / "a.mp4", [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(5)], fps=5)
    clips = [{"video": "a.mp4", "visible_text": ["one", "two"]}]
    (tmp_path / "annotations.json").write_text(json.dumps(clips))

    def engine(images):
        return [[TextReading("ONE", 0.9, (0.1, 0.1, 0.9, 0.4))] for _ in images]

    timed = benchmark_ocr.TimedEngine(engine, tmp_path / "readings.jsonl")
    result = benchmark_ocr.measure(tmp_path, {"num_windows": 2}, timed)
    assert (result["strings"], result["captioner"]["found"]) == (2, 0.5)
    # 1 s in 2 windows at 2 samples a second: the reference reads both
    assert result["every sampled frame, compared clips"]["frames_per_video_second"] == pytest.approx(2)
    assert result["missed"] == [["a.mp4", "two"]]


def test_the_report_names_what_is_required_and_what_the_numbers_are():
    import benchmark_realvid

    scores = {"R@1": 0.9, "R@5": 0.95, "R@10": 1.0, "MdR": 1.0}
    recall = dict.fromkeys(("model: total", *benchmark_realvid.REQUIRED), scores)
    part = {"count": 2, "milliseconds_per_query": 1.0, "recall": recall, "recall_at_1_by_weight": {"0.5": 0.9}}
    row = {"found": 0.83, "ocr_seconds_per_video_second": 0.1, "frames_per_video_second": 0.5, "clips": 1, "strings": 2}
    report = {
        "machine": {"processor": "x", "cores": 2, "python": "3.11", "versions": {"torch": "2", "av": None}},
        "lexical_weight": 0.5,
        "gallery": {"videos": 1, "seconds_of_video": 1.0, "seconds": 1.0, "seconds_of_ocr": 0.5},
        "text_queries": part,
        "visual_queries": part,
        "ocr": {"strings": 2, "captioner": row, "every sampled frame, compared clips": row},
    }
    text = benchmark_realvid.to_markdown(report)
    assert text.count("| R@1 0.92, R@10 0.97 |") == 1  # of text queries, not of visual ones
    assert "| model: total | 0.900 | 0.950 | 1.000 | 1 |  |" in text
    assert "same queries" in text and "Required of the captioner" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)
