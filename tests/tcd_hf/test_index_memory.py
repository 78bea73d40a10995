"""Videos that are no files, in an index, by names of their own."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from tcd_hf.index.video_index import VideoIndex
from tcd_hf.processing.video_reading import open_video
from tests.clips import coded_frame, read_code, write_clip
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor


@pytest.fixture
def index(tmp_path, code_reader, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processor = make_tiny_processor(code_reader)
    return VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path / "cache")


def frames(*codes: int) -> np.ndarray:
    return np.stack([coded_frame(code) for code in codes])


def test_arrays_tensors_and_wrapped_files_are_found_by_their_names(index, clips, tmp_path):
    airport = torch.from_numpy(frames(2, 2, 16, 16)).permute(0, 3, 1, 2)
    slow = {"array": frames(32, 3, 32, 32), "video_metadata": {"fps": 0.5}}
    report = index.add(
        {"shop": frames(8, 8, 1, 1), "air/port": airport, "toys": slow, "sea": {"path": clips["sea.mp4"]}}
    )
    names = [f"{tmp_path}/{name}" for name in ("shop", "air/port", "toys", "sea")]
    assert report.added == names and not report.skipped
    hit = index.search("tesco express", top_k=1)[0]
    assert (hit.path, hit.evidence, hit.start, hit.end) == (names[0], ["TESCO express"], 2.0, 4.0)
    assert index.search("gate b4", top_k=1)[0].path == names[1]
    toys = index.search("star wars", top_k=1)[0]
    assert (toys.path, toys.start, toys.end) == (names[2], 2.0, 4.0)  # of 8 s
    assert [caption.text for caption in index.captions_of("shop")] == [
        "",
        "",
        "TESCO express £1.30",
        "TESCO express £1.30",
    ]
    assert index.remove("air") == 1


def test_what_is_the_same_is_not_read_again(index, code_reader):
    index.add({"shop": frames(8, 8, 1, 1)})
    read = code_reader.images_read
    again = index.add({"shop": torch.from_numpy(frames(8, 8, 1, 1)), "copy": frames(8, 8, 1, 1) / 255})
    assert ([os.path.basename(path) for path in again.unchanged], len(again.added)) == (["shop"], 1)
    assert code_reader.images_read == read
    changed = index.add({"shop": frames(8, 8, 1, 2)})
    assert [os.path.basename(path) for path in changed.replaced] == ["shop"]
    assert index.captions_of("shop")[3].text == "DEPARTURES Gate B4"


def test_texts_go_with_names(index):
    index.add({"sea": frames(64, 64)}, texts={"sea": [(0.0, 1.0, "a ferry to Oslo")]})
    assert index.search("ferry to oslo", top_k=1)[0].evidence == ["a ferry to Oslo"]


def test_one_that_is_no_video_is_skipped_and_named(index):
    report = index.add({"sea": frames(64, 64), "bad": np.zeros((2, 4, 4, 1), np.uint8), "lost": "nowhere.mp4"})
    assert [os.path.basename(path) for path in report.added] == ["sea"]
    causes = {os.path.basename(video.path): video.cause for video in report.skipped}
    assert "got uint8 of shape (2, 4, 4, 1)" in causes["bad"] and "No such file" in causes["lost"]


@pytest.mark.parametrize("bad", [3, [3], {"video": 3.5}, object()])
def test_one_of_a_wrong_type_is_skipped_and_named(index, bad):
    report = index.add({"bad": bad, "sea": frames(64, 64)})
    assert [os.path.basename(path) for path in report.added] == ["sea"]
    (skipped,) = report.skipped
    assert os.path.basename(skipped.path) == "bad" and "A video must be a path" in skipped.cause


def test_frames_that_are_given_may_be_as_large_as_the_processor_allows(index):
    size = (8200, 8200)  # of more than 2^26 pixels
    images = [Image.new("RGB", size), Image.new("RGB", size, "white")]
    assert "`max_pixels` allows" in index.add({"wall": images}).skipped[0].cause
    index.processor.max_pixels = size[0] * size[1]
    assert index.add({"wall": images}).added


def test_a_video_that_is_given_open_stays_open(index):
    with open_video(frames(8, 1)) as video:
        assert index.add({"shop": video}).added
        assert read_code(video.frames_at([1.0])[0]) == 1


@pytest.mark.parametrize("wrap", [str, lambda path: {"path": str(path)}])
def test_a_given_file_that_changes_while_it_is_read_is_not_taken(tmp_path, monkeypatch, wrap):
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "clip.mp4", [coded_frame(8)] * 10, fps=5)
    other = write_clip(tmp_path / "other.mp4", [coded_frame(1)] * 20, fps=5).read_bytes()
    read = []

    def engine(images):
        if not read:
            clip.write_bytes(other)
        read.extend(images)
        return [[] for _ in images]

    processor = make_tiny_processor(engine)
    index = VideoIndex.create(tmp_path / "index", make_tiny_model(), processor, cache_dir=tmp_path / "cache")
    report = index.add({"shop": wrap(clip)})
    assert read and not report.added
    assert "it changed while it was read" in report.skipped[0].cause
    assert not list((tmp_path / "cache").rglob("*.json*"))


def test_they_are_read_in_this_process(index):
    for options in ({"workers": 2}, {"engine": "ray"}):
        with pytest.raises(ValueError, match="in this process"):
            index.add({"sea": frames(64, 64)}, **options)


def test_addresses_are_refused(index):
    with pytest.raises(ValueError, match="Download it first"):
        index.add(["https://example.org/a.mp4"])
    with pytest.raises(ValueError, match="Download it first"):
        VideoIndex.cached("https://example.org/a.mp4")
