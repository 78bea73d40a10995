"""What machines ask that watch the server: whether it can search, and what it has counted."""

import json
import re
import time

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tcd_hf.app.library import Library
from tcd_hf.app.metrics import Metrics
from tcd_hf.app.server import build_app
from tcd_hf.index.ingest import AddReport
from tests.tcd_hf.app.conftest import make_index, serving


def wait_until_healthy(server):
    end = time.monotonic() + 60
    while (answer := server.get("/healthz")).status != 200:
        assert answer.status == 503 and json.loads(answer.body)["status"] == "starting"
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


def values_of(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.fixture
def index(tmp_path):
    return make_index(tmp_path, {"shop.mp4": [1, 8], "toys.mp4": [3, 8, 8]})


def test_healthz_tells_that_it_can_search(index):
    with serving(build_app(index)) as server:
        answer = wait_until_healthy(server)
        assert json.loads(answer.body) == {"status": "ok", "search_processes": 1}
        assert answer.headers["cache-control"] == "no-store"
        assert server.get("/healthz", Host="evil.example").status == 421  # by the page's guard


def test_healthz_is_503_before_the_first_search_and_while_none_can_be_done(index, monkeypatch, caplog):
    library = Library(index)
    assert not library.can_search()  # it starts
    library.ready.set()
    assert library.can_search()

    def fails(*arguments, **options):
        raise OSError("the disk is gone")

    monkeypatch.setattr(library.searches, "call", fails)
    assert library.can_search()  # nothing is known of it yet
    with pytest.raises(OSError):
        library.search("star wars", "full", 1, None)
    assert not library.can_search()
    assert "the disk is gone" in caplog.text  # why is in the log, and not on the page
    monkeypatch.undo()
    assert library.can_search()
    with pytest.raises(ValueError):
        library.search("star wars", "best", 1, None)  # a fault of the question
    assert library.can_search()


def test_healthz_of_an_index_that_is_gone(index, tmp_path):
    with serving(build_app(index)) as server:
        wait_until_healthy(server)
        (tmp_path / "index").rename(tmp_path / "away")
        answer = server.get("/healthz")
        assert (answer.status, json.loads(answer.body)) == (503, {"status": "cannot search"})
        (tmp_path / "away").rename(tmp_path / "index")
        assert server.get("/healthz").status == 200


def test_metrics_are_off_unless_asked_for(index):
    with serving(build_app(index)) as server:
        assert server.get("/metrics").status == 404


def test_queries_errors_files_and_videos_are_counted(index, tmp_path):
    with serving(build_app(index, with_metrics=True)) as server:
        wait_until_healthy(server)
        assert server.get("/metrics", Host="evil.example").status == 421
        assert server.get("/metrics", Origin="http://evil.example").status == 403
        before = values_of(server.get("/metrics").body.decode())
        client = Client(server.url, verbose=False)
        client.predict("a secret question", api_name="/search")
        client.predict("star wars", api_name="/search")
        with pytest.raises(AppError):
            client.predict("x", mode="best", api_name="/search")
        answer = server.get("/metrics")
        text = answer.body.decode()
        assert answer.headers["content-type"].startswith("text/plain; version=")
        after = values_of(text)
        count = 'tcd_hf_query_seconds_count{kind="search"}'
        assert (before[count], after[count]) == (0, 3)  # what the server asks itself, as it starts, is in none
        assert after['tcd_hf_query_seconds_bucket{kind="search",le="+Inf"}'] == after[count]
        assert after['tcd_hf_errors_total{kind="search"}'] == 0  # that one was refused
        assert (after["tcd_hf_index_videos"], after["tcd_hf_index_video_seconds"]) == (2, pytest.approx(5))
        assert "secret" not in text and str(tmp_path) not in text
        index.remove(index.paths[0])
        assert values_of(server.get("/metrics").body.decode())["tcd_hf_index_videos"] == 1


def test_what_is_counted_by_hand(index):
    metrics = Metrics(index)
    for _ in range(2):
        with metrics.timed("moments"):
            pass
    metrics.count_files(AddReport(added=["a", "b"], unchanged=["c"]))
    metrics.errors.labels("add").inc()
    values = values_of(metrics.render().decode())
    assert values['tcd_hf_query_seconds_count{kind="moments"}'] == 2
    assert values['tcd_hf_query_seconds_bucket{kind="moments",le="0.01"}'] == 2
    assert values['tcd_hf_query_seconds_count{kind="search"}'] == 0
    outcomes = {"added": 2, "replaced": 0, "unchanged": 1, "skipped": 0}
    found = {name: values[f'tcd_hf_files_total{{outcome="{name}"}}'] for name in outcomes}
    assert found == outcomes
    assert [values[f'tcd_hf_errors_total{{kind="{kind}"}}'] for kind in ("search", "moments", "add")] == [0, 0, 1]
    assert all(re.fullmatch(r"tcd_hf_[a-z_]+", name.partition("{")[0]) for name in values)


def test_an_index_that_cannot_be_read_takes_only_its_own_numbers_away(index, tmp_path):
    metrics = Metrics(index)
    (tmp_path / "index").rename(tmp_path / "away")
    values = values_of(metrics.render().decode())
    assert "tcd_hf_index_videos" not in values and 'tcd_hf_errors_total{kind="add"}' in values
