"""The benchmark of several indexes as one: its parts hold all rows, and find what the whole finds."""

import json

import pytest


@pytest.fixture
def benchmark(monkeypatch):
    from scripts.benchmarks import joint, synthetic_rows
    from scripts.benchmarks.retrieval import tables

    monkeypatch.setattr(synthetic_rows, "VOCABULARY", 500)
    monkeypatch.setattr(synthetic_rows, "ROWS_PER_BATCH", 20)
    tables.generator.cache_clear()
    yield joint
    tables.generator.cache_clear()


def test_parts_find_what_the_whole_finds(benchmark, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "ROWS_AT_ONCE", 7)
    report = tmp_path / "report.json"
    options = ["--size", "50", "--parts", "3", "--dim", "16", "--queries", "5", "--folder", tmp_path, "--json", report]
    assert benchmark.main(list(map(str, options))) == 0
    assert "| 3 as one |" in capsys.readouterr().out
    results = json.loads(report.read_text())["results"]
    assert results["3 as one"]["same"] == 1  # all 50 are candidates
    assert all(result["p50"] > 0 and result["work"] > 0 for result in results.values())
