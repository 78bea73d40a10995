"""The benchmark of millions of segments, small: what its rows are like, and its report."""

import json

import numpy as np
import pytest


@pytest.fixture
def rows(monkeypatch):
    from scripts.benchmarks import synthetic_rows
    from scripts.benchmarks.millions import rows

    monkeypatch.setattr(synthetic_rows, "VOCABULARY", 500)
    monkeypatch.setattr(rows, "VOCABULARY", 500)
    return rows


def test_vectors_and_queries_lie_as_those_of_tcd_mini(rows):
    hours = rows.LargeHours(30, 384)
    vectors = np.concatenate([hours.vectors(hour) for hour in range(30)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(vectors.mean(axis=0)) == pytest.approx(rows.COMMON, abs=0.05)
    np.testing.assert_array_equal(hours.videos(240, 130)[120:], hours.vectors(3)[:10])
    queries = np.stack([query.vector for query in hours.queries(40)])
    assert np.median(queries @ vectors.T) == pytest.approx(0.12, abs=0.04)


def test_terms_are_those_of_the_texts_that_are_shown(rows):
    from tcd_hf.index.spelling import spell

    hours = rows.LargeHours(3, 32)
    expected = [set() for _ in range(rows.SEGMENTS_PER_HOUR)]
    for text, windows in hours.shown(2):
        own = {term for word in text.split() for term in spell(word).split()}
        for segment in {window // rows.NUM_FRAMES for span in windows for window in range(*span)}:
            expected[segment] |= own
    found = [text.split() for text in hours.term_texts(2).to_pylist()]
    assert [set(terms) for terms in found] == expected and all(len(terms) == len(set(terms)) for terms in found)


def tables_of(printed):
    return [block.splitlines() for block in printed.split("\n\n") if block.startswith("|")]


@pytest.mark.slow
def test_it_measures_and_reports(tmp_path, capfd):
    from scripts.benchmarks.millions import __main__ as command

    report = tmp_path / "report.json"
    small = ["--hours", "10", "--queries", "5", "--threads", "1", "--json", str(report)]
    kinds = ["--kinds", "IvfRq", "IvfSq", "--breadths", "20"]
    assert command.main([*small, "--dim", "32", *kinds, "--folder", str(tmp_path / "whole")]) == 0
    result = json.loads(report.read_text())["sizes"]["10"]
    assert result["coarse"][-1]["searches"][-1]["recall"] > 0.98
    assert set(result["search"]) == {"vectors in memory", "their index alone"} and result["text"]["bytes"] > 0
    tables = tables_of(capfd.readouterr().out)
    assert len(tables) == 3 and all(len({line.count("|") for line in each}) == 1 for each in tables)


@pytest.mark.slow
def test_texts_can_be_measured_without_vectors(tmp_path, capfd):
    from scripts.benchmarks.millions import __main__ as command

    report = tmp_path / "report.json"
    alone = ["--dim", "1", "--kinds", "--parts", "text", "--folder", str(tmp_path), "--json", str(report)]
    assert command.main(["--hours", "10", "--queries", "5", "--threads", "1", *alone]) == 0
    result = json.loads(report.read_text())["sizes"]["10"]
    assert result["coarse"] == [] and result["text"]["p50"] > 0 and len(tables_of(capfd.readouterr().out)) == 2
