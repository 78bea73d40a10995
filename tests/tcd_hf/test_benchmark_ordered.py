"""The benchmark of ordered queries: what it shows is in the order that it says, and is found by it."""

import json

import pytest


@pytest.fixture
def benchmark(monkeypatch):
    from scripts.benchmarks import ordered, synthetic_rows
    from scripts.benchmarks.retrieval import tables

    monkeypatch.setattr(synthetic_rows, "VOCABULARY", 1000)
    tables.generator.cache_clear()
    yield ordered
    tables.generator.cache_clear()


def test_each_pair_is_in_order_within_a_minute_in_one_video(benchmark):
    videos = benchmark.OrderedHours(6, dim=16)
    for number in range(benchmark.PAIRS):
        in_order = []
        for hour in range(6):
            first, then = (2.5 * place for place in videos.places(number, hour))
            assert min(first, then) >= 0 and max(first, then) <= 3595 and abs(then - first) >= 5
            in_order.append(first < then <= first + 5 + 60)
        assert [hour for hour in range(6) if in_order[hour]] == [videos.pair(number).hour]
    (first, then, hour), places = videos.pair(7), videos.places(7, 3)
    windows = [{track.text for track in caption.tracks} for caption in videos.captions(3)]
    for text, place in zip((first, then), places, strict=True):
        assert [window for window, texts in enumerate(windows) if text in texts] == [place, place + 1]
    assert hour == 1


def test_the_order_tells_what_plain_text_cannot(benchmark, tmp_path, capsys, monkeypatch):
    ways = {name: benchmark.WAYS[name] for name in ("plain text", "in order")}
    monkeypatch.setattr(benchmark, "WAYS", ways)
    report = tmp_path / "report.json"
    assert benchmark.main(["--hours", "6", "--dim", "16", "--folder", str(tmp_path), "--json", str(report)]) == 0
    assert "| in order |" in capsys.readouterr().out
    measured = json.loads(report.read_text())
    assert measured["pairs"] >= 40 and measured["chance"] == pytest.approx(1 / 6)
    plain, in_order = measured["results"]["plain text"], measured["results"]["in order"]
    assert plain["R@1"] <= 2.5 / 6
    assert in_order["R@1"] >= 0.95 and in_order["moments"] >= 0.95
