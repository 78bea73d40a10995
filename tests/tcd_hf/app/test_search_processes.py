import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil  # comes with accelerate
import pytest

from tcd_hf.app.library import Library
from tcd_hf.app.search_processes import OwnSearches, SearchProcesses
from tcd_hf.app.server import build_app
from tcd_hf.index.metadata import IndexDamagedError
from tests.tcd_hf.app.conftest import make_clip, make_index, serving

NUM_PROCESSES = 2


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def searches(index):
    searches = SearchProcesses(index, NUM_PROCESSES)
    yield searches
    searches.close()


def processes_of(searches) -> list[psutil.Process]:
    return [psutil.Process(process._popen.pid) for workers in searches._all for process in workers._processes]


def assert_same_hits(found, expected):
    assert [(hit.path, hit.evidence, hit.boxes) for hit in found] == [
        (hit.path, hit.evidence, hit.boxes) for hit in expected
    ]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)


def test_they_find_what_this_process_finds(index, searches):
    for query in ("the store TESCO express", '"star wars" OR "gate b4"', "express >> hall"):
        options = {"syntax": "query", "top_k": 3}
        assert_same_hits(searches.call("search", query, **options), OwnSearches(index).call("search", query, **options))
    path = index.paths[0]
    assert searches.call("moments", "express", path) == OwnSearches(index).call("moments", "express", path)
    assert len(processes_of(searches)) == NUM_PROCESSES
    assert os.getpid() not in [process.pid for process in processes_of(searches)]


def test_what_a_search_raises_is_raised_here_and_the_process_goes_on(searches):
    before = processes_of(searches)
    with pytest.raises(ValueError, match="mode must be one of"):
        searches.call("search", "x", mode="best")
    with pytest.raises(AttributeError):
        searches.call("no_such_method")
    assert len(searches.call("search", "x")) > 0
    assert processes_of(searches) == before


def test_they_see_what_is_added(index, searches, tmp_path):
    clip = make_clip(tmp_path / "late.mp4", [1, 3])
    found = {hit.path for hit in searches.call("search", "star wars")}
    assert clip.as_posix() not in found
    index.add(clip, workers=0)
    try:
        for _ in range(2 * NUM_PROCESSES):
            assert clip.as_posix() in {hit.path for hit in searches.call("search", "star wars")}
    finally:
        index.remove(clip)


def test_one_that_is_killed_is_made_anew_and_its_search_is_answered(searches):
    with ThreadPoolExecutor(4) as visitors:
        found = [visitors.submit(searches.call, "search", "star wars", top_k=1) for _ in range(12)]
        for process in processes_of(searches):
            os.kill(process.pid, signal.SIGKILL)
        assert {each.result()[0].path.rpartition("/")[2] for each in found} == {"toys.mp4"}
    assert len(searches.call("search", "star wars", top_k=1)) == 1


def test_they_end_with_the_server_and_searches_that_wait_are_told(index):
    searches = SearchProcesses(index, 1)
    (process,) = processes_of(searches)
    folder = searches._folder.name
    searches.close()
    assert not process.is_running() and not os.path.exists(folder)
    with pytest.raises(RuntimeError, match="about to end"):
        searches.call("search", "x")


def test_the_page_searches_by_them(tmp_path):
    index = make_index(tmp_path, {"shop.mp4": [1], "toys.mp4": [3]})
    app = build_app(index, search_processes=NUM_PROCESSES)
    children = psutil.Process().children()
    with serving(app) as server:
        assert len(children) >= NUM_PROCESSES
        end = time.monotonic() + 60
        while server.get("/healthz").status != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert b'"search_processes":2' in server.get("/healthz").body
        index.search = None  # this process is not asked
        clip = server.get(f"/moments/{clip_id(index, 'shop.mp4')}?query=tesco").body
        assert b"TESCO express" in clip
    with pytest.raises(ValueError, match="search_processes must be at least 1, got 0"):
        build_app(index, search_processes=0)


def clip_id(index, name):
    return next(clip.id for clip in Library(index).first_clips(10) if clip.title == name)


def test_damage_is_told_as_such(tmp_path):
    index = make_index(tmp_path, {"shop.mp4": [1]})
    data = next((tmp_path / "index" / "videos.lance" / "data").glob("*.lance"))
    whole = data.read_bytes()
    searches = SearchProcesses(index, 1)
    try:
        data.write_bytes(b"\0" * len(whole))
        library = Library(index, searches)
        with pytest.raises(IndexDamagedError, match="is damaged"):
            library.search("kiosk", "full", 1, None)
        library.ready.set()
        assert not library.can_search()
        data.write_bytes(whole)
        assert library.can_search()
    finally:
        searches.close()
