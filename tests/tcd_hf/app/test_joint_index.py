"""The page of several indexes as one."""

import pytest

from tcd_hf.app import adding
from tcd_hf.app.adding import Adder
from tcd_hf.app.library import Library
from tcd_hf.app.search_processes import SearchProcesses
from tcd_hf.index.schema import video_id
from tcd_hf.index.video_index import VideoIndex
from tests.tcd_hf.app.conftest import make_clip, make_index


@pytest.fixture
def joint(tmp_path, monkeypatch):
    monkeypatch.setattr(adding, "WORKERS", 0)
    parts = []
    for name, schedule in (("a", {"shop.mp4": [8, 1], "toys.mp4": [3, 32]}), ("b", {"airport.mp4": [2, 16]})):
        (tmp_path / name).mkdir()
        parts.append(make_index(tmp_path / name, schedule))
    uris = [part.uri for part in parts]
    return VideoIndex.open(uris, parts[0].model, parts[0].processor, cache_dir=tmp_path / "a" / "cache")


def test_clips_of_all_are_found_and_shown(joint):
    library = Library(joint)
    hits = library.search("gate b4", "two-stage", 10, None)
    assert hits[0].path == joint.parts[1].paths[0] and len(hits) == len(library) == 3
    clips = library.clips(video_id(path) for path in joint.paths)
    assert [clips[video_id(path)].title for path in joint.paths] == ["shop.mp4", "toys.mp4", "airport.mp4"]
    clip = library.clip(video_id(hits[0].path))
    library.check(clip)
    assert [cue.text for cue in library.transcript(clip).cues] == ["DEPARTURES hall", "Gate B4"]
    assert library.moments("gate b4", clip)[0].evidence == ["Gate B4"]
    assert library.example_queries() and len(library.first_clips(2)) == 2
    library.ready.set()
    assert library.can_search() and b"tcd_hf_index_videos 3.0" in library.metrics.render()


def test_what_is_added_goes_to_the_first_unless_another_has_it(joint, tmp_path):
    library = Library(joint)
    new = make_clip(tmp_path / "b" / "videos" / "new.mp4", [4, 128])
    (tmp_path / "b" / "videos" / "bad.mp4").write_bytes(b"no video")
    news = list(Adder(joint.new_handle(), None, [tmp_path]).add_path("b/videos"))
    assert "1 added, 1 already there, 1 could not be read" in news[-1]
    assert "The index holds 4 videos." in news[-1]
    assert [len(part) for part in joint.parts] == [3, 1]
    assert str(new) in [hit.path for hit in library.search("kiosk", "two-stage", 10, None)]


def test_other_processes_search_all(joint):
    searches = SearchProcesses(joint, 1)
    try:
        hits = searches.call("search", "gate b4", top_k=3)
    finally:
        searches.close()
    expected = joint.search("gate b4", top_k=3)
    assert [(hit.path, hit.index) for hit in hits] == [(hit.path, hit.index) for hit in expected]
