"""The benchmark of search: its synthetic videos, its restart, and its report."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def benchmark(monkeypatch):
    from scripts.benchmarks import synthetic_rows
    from scripts.benchmarks.retrieval import __main__ as command
    from scripts.benchmarks.retrieval import tables

    monkeypatch.setattr(command, "time_text_tower", lambda: {"p50": 1.0, "p95": 2.0, "work": 1.0})
    monkeypatch.setattr(synthetic_rows, "VOCABULARY", 500)
    monkeypatch.setattr(synthetic_rows, "ROWS_PER_BATCH", 20)
    monkeypatch.setattr(tables, "BATCHES_PER_COMMIT", 2)
    tables.generator.cache_clear()
    yield command
    tables.generator.cache_clear()


def test_queries_are_near_their_videos_and_blocks_repeat(benchmark):
    videos = benchmark.SyntheticVideos(60, dim=64)
    everything = np.concatenate([videos.videos(start, 20) for start in (0, 20, 40)])
    np.testing.assert_allclose(np.linalg.norm(everything, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(videos.videos(20, 20), everything[20:40], atol=1e-6)
    same, other = everything[:20] @ everything[:20].T, everything[:20] @ everything[20:].T
    assert same[np.triu_indices(20, 1)].mean() == pytest.approx(1 / 1.49, abs=0.1)
    assert abs(other.mean()) < 0.3
    queries = videos.queries(60)
    meant = [int(Path(query.path).stem) for query in queries]
    cosines = (np.stack([query.vector for query in queries]) * everything[meant]).sum(axis=1)
    assert cosines.mean() == pytest.approx(17**-0.5, abs=0.06)
    assert all(len(query.text.split()) == 5 for query in queries)


def test_an_hour_shows_its_texts_when_it_says(benchmark):
    hours = benchmark.SyntheticHours(2, dim=16)
    records = hours.records(120, 120)
    assert {record.path for record in records} == {"/videos/hour-00001.mp4"}
    assert [record.start for record in records[:3]] == [0, 30, 60] and records[-1].end == 3600
    texts = [{track.text for caption in record.captions for track in caption.tracks} for record in records]
    assert min(map(len, texts)) >= 40
    windows = [caption for record in records for caption in record.captions]
    for shown in hours.shown(1)[::97]:
        seen = {window for window, caption in enumerate(windows) if shown.text in [t.text for t in caption.tracks]}
        assert {window for begin, end in shown.windows for window in range(begin, end)} <= seen
    for query in hours.queries(10):
        if query.kind in ("exact", "many segments"):
            hour = int(query.path[-5])
            (start, end), *_ = query.times
            segment = hours.records(120 * hour + int(start) // 30, 1)[0]
            window = segment.captions[int((start - segment.start) / 2.5)]
            assert window.start == start and query.text in [track.text for track in window.tracks]
            assert (len(query.times) > 50 or end - start == 3600) == (query.kind == "many segments")


def test_it_measures_continues_and_reports(benchmark, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = [
        "--dim",
        "16",
        "--queries",
        "10",
        "--slow-queries",
        "2",
        "--folder",
        str(tmp_path),
        "--json",
        str(report),
    ]
    sizes = ["--sizes", "60", "100", "--hours", "1", "--largest", "60", "--threads", "1"]
    assert benchmark.main([*sizes, *options]) == 0
    text = capsys.readouterr().out
    assert "100 of 100 rows written" in text and "120 of 120 rows written" in text
    measured = json.loads(report.read_text())["sizes"]
    assert measured["60"]["recall"]["two-stage, recall_k=100"]["same first hit"] == 1  # all 60 are candidates
    assert set(measured["100"]["latency"]) == {"recall by coarse vector", "recall by text", "recall by both"}
    assert measured["1 of 1 h"]["recall"]["two-stage, exact"]["R@1"] == 1
    assert measured["1 of 1 h"]["recall"]["two-stage, exact"]["moment"] == 1
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3 and all(len({line.count("|") for line in table}) == 1 for table in tables)
    assert benchmark.main([*sizes, *options]) == 0
    assert "written" not in capsys.readouterr().out
