"""`VideoIndex.cached`: a folder is searched in passing, by an index in the cache."""

from pathlib import Path

import pytest

from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.reading import fingerprints
from tcd_hf.reading.cache import CacheError
from tests.tcd_hf.conftest import count_calls, make_tiny_model, make_tiny_processor


@pytest.fixture
def open_cached(tmp_path, clips, code_reader):
    """Opens the index of the folder of clips, or of other paths."""

    def open_cached(*paths, **options):
        given = make_tiny_model(), make_tiny_processor(code_reader)
        paths = paths or tmp_path / "videos"
        return VideoIndex.cached(paths, *given, cache_dir=tmp_path / "cache", workers=0, **options)

    return open_cached


def names(index):
    return sorted(Path(path).name for path in index.paths)


def test_a_folder_is_read_once(open_cached, clips, tmp_path, code_reader):
    index = open_cached()
    assert index.search("gate b4", top_k=1)[0].path == str(clips["airport.mp4"])
    assert Path(index.uri).parent == tmp_path / "cache" / "indexes"
    read = code_reader.images_read
    again = open_cached(tmp_path / "videos")
    assert (again.uri, again.paths, code_reader.images_read) == (index.uri, index.paths, read)
    assert open_cached(clips["airport.mp4"]).uri != index.uri
    assert code_reader.images_read == read  # captions are in the cache


def test_it_follows_the_folder(open_cached, clips):
    assert names(open_cached()) == sorted(clips)
    clips["airport.mp4"].write_bytes(b"junk")
    clips["sea.mp4"].unlink()
    assert names(open_cached(refresh=False)) == sorted(clips)
    index = open_cached()
    assert names(index) == ["shop.mp4", "toys.mp4"]
    assert list(index.errors) == [str(clips["airport.mp4"])]


def test_what_cannot_be_searched_is_refused(open_cached, clips, tmp_path):
    (tmp_path / "bad").mkdir()
    with pytest.raises(ValueError, match="No video found in"):
        open_cached(tmp_path / "bad")
    (tmp_path / "bad" / "broken.mp4").write_bytes(b"junk")
    with pytest.raises(ValueError, match="None of the 1 videos could be read"):
        open_cached(tmp_path / "bad")
    with pytest.raises(FileNotFoundError, match="gone"):
        open_cached(tmp_path / "gone")
    with pytest.raises(ValueError, match="Give the processor of the model too"):
        VideoIndex.cached(tmp_path / "videos", make_tiny_model())
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="Choose another"):
        VideoIndex.cached(clips["sea.mp4"], make_tiny_model(), make_tiny_processor(), cache_dir=tmp_path / "file")


def test_a_model_that_is_not_given_is_loaded(open_cached, clips, tmp_path, code_reader, monkeypatch):
    loaded = []

    def load(name, device):
        loaded.append((name, device))
        return make_tiny_model(), make_tiny_processor(code_reader)

    monkeypatch.setattr("tcd_hf.loading.load", load)
    options = {"cache_dir": tmp_path / "cache", "workers": 0}
    indexes = [VideoIndex.cached(tmp_path / "videos", **options), open_cached()]
    indexes.append(VideoIndex.cached(tmp_path / "videos", "a/model", **options))
    assert loaded == [("tcd-mini", "auto"), ("a/model", "auto")]
    assert len({index.uri for index in indexes}) == 1  # they are alike
    hits = indexes[0].search("star wars")
    assert VideoIndex.open(indexes[0].uri, "a/model", device="cpu").search("star wars") == hits
    assert loaded[2:] == [("a/model", "cpu")]


def test_the_command_line_searches_the_same_index_and_hashes_the_weights_once(
    run, open_cached, clips, tmp_path, code_reader, monkeypatch
):
    opened = count_calls(monkeypatch, IndexStorage, "open")
    hashed = count_calls(monkeypatch, fingerprints, "hash_weights")
    search = ["search", "gate b4", "--videos", tmp_path / "videos"]
    assert run(*search).exit_code == 0
    assert (len(opened), len(hashed)) == (0, 1)  # it was made
    assert run(*search).exit_code == 0
    assert (len(opened), len(hashed)) == (1, 2)
    read = code_reader.images_read
    assert [Path(open_cached().uri)] == list((tmp_path / "cache" / "indexes").iterdir())
    assert code_reader.images_read == read
