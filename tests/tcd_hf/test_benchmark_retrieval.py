"""The benchmark of search: its synthetic videos, its restart, and its report."""

import json
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_retrieval

    monkeypatch.setattr(benchmark_retrieval, "time_text_tower", lambda: {"p50": 1.0, "p95": 2.0})
    monkeypatch.setattr(benchmark_retrieval, "VOCABULARY", 500)
    monkeypatch.setattr(benchmark_retrieval, "ROWS_PER_BATCH", 20)
    monkeypatch.setattr(benchmark_retrieval, "ROWS_PER_COMMIT", 40)
    return benchmark_retrieval


def test_queries_are_near_their_videos_and_blocks_repeat(benchmark):
    videos = benchmark.SyntheticVideos(60, dim=64)
    everything = np.concatenate([videos.videos(start, 20) for start in (0, 20, 40)])
    np.testing.assert_allclose(np.linalg.norm(everything, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(videos.videos(20, 20), everything[20:40], atol=1e-6)
    same, other = everything[:20] @ everything[:20].T, everything[:20] @ everything[20:].T
    assert same[np.triu_indices(20, 1)].mean() == pytest.approx(1 / 1.49, abs=0.1)
    assert abs(other.mean()) < 0.3
    meant, texts, vectors = videos.queries(60)
    cosines = (vectors.numpy() * everything[meant]).sum(axis=1)
    assert cosines.mean() == pytest.approx(17**-0.5, abs=0.06)
    assert all(len(text.split()) == 5 for text in texts)


def test_it_measures_continues_and_reports(benchmark, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--dim", "16", "--queries", "8", "--slow-queries", "2", "--folder", str(tmp_path), "--json", str(report)]
    sizes = ["--sizes", "60", "100", "--largest", "60", "--threads", "1"]
    assert benchmark.main([*sizes, *options]) == 0
    text = capsys.readouterr().out
    assert "100 of 100 videos written" in text
    measured = json.loads(report.read_text())["sizes"]
    assert measured["60"]["recall"]["two-stage, recall_k=100"]["same first hit"] == 1  # all 60 are candidates
    assert set(measured["100"]["latency"]) == {"recall by coarse vector", "recall by text", "recall by both"}
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3 and all(len({line.count("|") for line in table}) == 1 for table in tables)
    assert benchmark.main([*sizes, *options]) == 0
    assert "written" not in capsys.readouterr().out
