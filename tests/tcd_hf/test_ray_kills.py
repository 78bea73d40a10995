"""Kill -9 of a driver, a worker, a node and the feed of a Ray cluster: nothing is lost, next to nothing read again."""

import os

import pytest

from scripts.benchmarks.ray_kills import _parse, measure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    pytest.importorskip("ray", reason="needs the extra tcd-hf[ray]")
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness", "RAY_memory_monitor_refresh_ms", "PYTHONPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def run(tmp_path, *options):
    """Indexes 8 segments for each kill."""
    report = measure(_parse([*options, "--kills", "1", "--minutes", "2", "1", "1"]), tmp_path)
    assert report["segments"] == 8
    return report["runs"]


def test_each_of_them_once(tmp_path):
    runs = run(tmp_path, "--seed", "1", "--kinds", "driver", "worker", "node")
    assert [found["kind"] for found in runs] == ["driver", "worker", "node"]
    for found in runs:
        assert found["comparison"]["equal"], found
        assert found["frames"] <= found["allowed"], found


def test_the_feed_is_found_and_killed(tmp_path):
    (found,) = run(tmp_path, "--kinds", "feed", "--seed", "14")  # early, while there is something to feed
    assert "_feed" in found["victim"] and found["comparison"]["equal"], found


def test_a_node_for_whose_actors_there_is_no_place(tmp_path):
    (found,) = run(tmp_path, "--kinds", "node", "--readers", "6", "--patience", "20")
    assert found["comparison"]["equal"] and found["frames"] <= found["allowed"], found
