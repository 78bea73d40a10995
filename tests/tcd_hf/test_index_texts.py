"""Texts that videos come with, in an index."""

import os
from pathlib import Path

import numpy as np
import pytest

from tcd_hf.index.video_index import VideoIndex
from tcd_hf.reading.text_files import read_cues, write_cues
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor

ROOT = Path(__file__).parents[2]
SPOKEN = [(0.5, 1.5, "the harbour master"), (2.2, 3.0, "a ferry to Oslo")]


@pytest.fixture
def make_index(tmp_path, code_reader):
    def make(name="index", engine=code_reader, **options):
        options = {"exist_ok": True, "cache_dir": tmp_path / "cache", **options}
        return VideoIndex.create(tmp_path / name, make_tiny_model(), make_tiny_processor(engine), **options)

    return make


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_given_texts_are_found_with_their_times_and_marked(make_index, clips, workers, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # the process imports the OCR engine of the tests
    index, sea = make_index(), clips["sea.mp4"]
    report = index.add(clips.values(), workers=workers, texts={sea: SPOKEN})
    assert len(report.added) == 4
    hit = index.search("ferry to oslo", top_k=1)[0]
    assert (hit.path, hit.evidence) == (str(sea), ["a ferry to Oslo"])
    assert (hit.start, hit.end) == pytest.approx((2.2, 3.0))
    assert hit.boxes[0]["source"] == "given" and hit.start < hit.boxes[0]["time"] < hit.end
    assert [cue.source for cue in index.transcript(sea)] == ["given", "given"]
    assert index.search('"harbour master"', syntax="query")[0].path == str(sea)
    spoken = index.search("ferry", where="sources LIKE '%given%'")
    assert [hit.path for hit in spoken] == [str(sea)]
    assert len(index.search("ferry", where="sources = 'ocr'")) == 3
    hit.draw()  # without a box around the whole picture


def test_given_texts_stand_beside_what_is_read(make_index, clips):
    index, shop = make_index(), clips["shop.mp4"]
    index.add([shop], workers=0, texts={str(shop): [(2.0, 4.0, "bread and milk")]})
    (row,) = index.read(["caption_text", "sources", "texts_hash"]).to_pylist()
    assert row["caption_text"] == "TESCO express £1.30 bread and milk" and row["sources"] == "given ocr"
    assert len(row["texts_hash"]) == 16


def test_other_texts_count_as_a_changed_file(make_index, clips, code_reader):
    index, sea = make_index(), clips["sea.mp4"]
    index.add([sea], workers=0)
    read = code_reader.images_read
    assert index.add([sea], workers=0, texts={sea: SPOKEN}).replaced == [str(sea)]
    assert index.add([sea], workers=0, texts={sea: SPOKEN}).unchanged == [str(sea)]
    assert index.add([sea], workers=0).unchanged == [str(sea)]  # not asked about texts: it keeps them
    assert index.search("ferry to oslo")[0].evidence == ["a ferry to Oslo"]
    assert index.add([sea], workers=0, texts={sea: SPOKEN[:1]}).replaced == [str(sea)]
    assert index.search("ferry to oslo")[0].evidence == []
    assert index.add([sea], workers=0, texts={sea: []}).replaced == [str(sea)]
    assert index.transcript(sea) == []
    assert code_reader.images_read == read  # pictures are read once


def test_a_video_that_is_not_named_keeps_its_texts(make_index, clips):
    index, sea, shop = make_index(), clips["sea.mp4"], clips["shop.mp4"]
    index.add([sea, shop], workers=0, texts={sea: SPOKEN})
    report = index.add([sea, shop], workers=0, texts={shop: [(0.0, 1.0, "bread and milk")]})
    assert (report.unchanged, report.replaced) == ([str(sea)], [str(shop)])
    os.utime(sea, (1, 1))  # its content is still the same
    assert index.refresh([sea, shop], workers=0, texts={}).unchanged == [str(sea), str(shop)]
    assert [cue.text for cue in index.transcript(sea)] == ["the harbour master", "a ferry to Oslo"]


def test_other_content_has_none_of_the_texts_from_before(make_index, clips):
    index, sea = make_index(), clips["sea.mp4"]
    index.add([sea], workers=0, texts={sea: SPOKEN})
    sea.write_bytes(clips["shop.mp4"].read_bytes())
    assert index.add([sea], workers=0, texts={}).replaced == [str(sea)]
    assert {cue.source for cue in index.transcript(sea)} == {"ocr"}


def test_copies_of_a_file_have_texts_of_their_own(make_index, clips, tmp_path):
    index, sea, copy = make_index(), clips["sea.mp4"], tmp_path / "copy.mp4"
    copy.write_bytes(sea.read_bytes())
    index.add([sea, copy], workers=0, texts={sea: SPOKEN})
    assert len(index.transcript(sea)) == 2 and index.transcript(copy) == []


def test_texts_go_with_a_file_that_is_moved(make_index, clips, tmp_path, code_reader):
    index, sea, moved = make_index(), clips["sea.mp4"], tmp_path / "moved.mp4"
    index.add([sea], workers=0, texts={sea: SPOKEN})
    sea.rename(moved)
    report = index.refresh([moved], workers=0)
    assert (report.added, report.removed) == ([str(moved)], [str(sea)])
    assert [cue.text for cue in index.transcript(moved)] == ["the harbour master", "a ferry to Oslo"]


def test_without_an_engine_given_texts_are_all_there_is(make_index, clips):
    index = make_index(engine=None)
    index.add(clips.values(), workers=0, texts={clips["sea.mp4"]: SPOKEN})
    assert index.stats().videos_with_text == 1
    assert index.search("harbour master", top_k=1)[0].evidence == ["the harbour master"]


def test_texts_of_no_video_are_refused(make_index, clips, tmp_path):
    with pytest.raises(ValueError, match="not among the videos"):
        make_index().add([clips["sea.mp4"]], texts={tmp_path / "lost.mp4": SPOKEN})
    with pytest.raises(ValueError, match=r"Text 2 of .*sea\.mp4 lasts no time, 1\.0 to 1\.0"):
        make_index().add([clips["sea.mp4"]], texts={clips["sea.mp4"]: [SPOKEN[0], (1, 1, "goal")]})


def test_an_export_given_back_is_found_alike(make_index, clips, tmp_path):
    """Texts read in pictures, written as SubRip, and given to an index that reads none."""
    index = make_index()
    index.add(clips.values(), workers=0)
    texts = {}
    for name, path in clips.items():
        file = tmp_path / f"{name}.srt"
        file.write_text(write_cues(index.transcript(path), "srt"), encoding="utf-8")
        texts[path] = read_cues(file)
    given = make_index("given", engine=None)
    given.add(clips.values(), workers=0, texts=texts)
    queries = ["the store TESCO express", "star wars toys", "gate b4", "departures", "1.30"]
    for query in queries:
        first, second = index.search(query), given.search(query)
        assert [hit.path for hit in first] == [hit.path for hit in second]
        assert first[0].evidence == second[0].evidence
        assert (first[0].start, first[0].end) == pytest.approx((second[0].start, second[0].end), abs=2e-3)
    np.testing.assert_allclose(index.score(queries).score, given.score(queries).score, atol=1e-5)
