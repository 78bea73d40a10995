"""Several indexes as one, against one index that holds all the videos."""

import gc
import os
import shutil
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from tcd_hf.index.joint_index import JointIndex
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.schema import IndexDamagedError, IndexMismatchError
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.modeling.modeling_tcd import TCDModel
from tests.clips import coded_frame, write_clip
from tests.conftest import randomise_fusion
from tests.tcd_hf.conftest import CodeReader, count_calls, make_tiny_model, make_tiny_processor

TEXTS = {
    1: ["TESCO express", "£1.30"],
    2: ["DEPARTURES", "Gate B4"],
    3: ["STAR WARS"],
    4: ["no exit", "Gate B4"],
    5: ["Zürich cafe", "open 7 am to 10 pm"],
    6: ["platform 9", "DEPARTURES 17:27"],
    7: ["way out"],
}
# Seconds of the clips, and of which code: two segments each.
CLIPS = [[1, 8, 2, 2], [2, 2, 4, 4], [3, 3, 3, 9], [9, 9, 9, 9], [5, 5, 6, 7], [1, 1, 7, 7], [6, 2, 2, 4], [9, 4, 7, 9]]
BOUNDS = (1, 5, 5, 8)  # of what each index holds: one is empty
QUERIES = ["the store TESCO express", "gate b4 departures", "somebody swims in the sea", "way out of the cafe", "1.30"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Clips, one index of all of them, and a way to have others whose rows are the same bit for bit."""
    folder = tmp_path_factory.mktemp("clips")
    clips = [
        str(write_clip(folder / f"{number}.mp4", [coded_frame(code) for code in codes for _ in range(5)], fps=5))
        for number, codes in enumerate(CLIPS)
    ]
    makers = randomise_fusion(make_tiny_model(), 0), make_tiny_processor(CodeReader(TEXTS))
    whole = VideoIndex.create(folder / "whole", *makers, segment_seconds=2, cache_dir=folder / "cache")
    whole.add(clips, workers=0)

    def copy(uri, videos):
        shutil.copytree(whole.uri, uri)
        VideoIndex.open(uri).remove(set(clips).difference(videos))
        return open_again(uri)

    def open_again(uri):
        return VideoIndex.open(uri, *makers, cache_dir=folder / "cache")

    return SimpleNamespace(clips=clips, makers=makers, whole=whole, copy=copy, open=open_again)


@pytest.fixture(scope="module")
def shelf(material, tmp_path_factory):
    """All clips in one index, and the same in several that are opened as one."""
    folder = tmp_path_factory.mktemp("shelf")
    uris = [str(folder / str(number)) for number in range(len(BOUNDS))]
    for uri, start, stop in zip(uris, (0, *BOUNDS), BOUNDS, strict=False):
        material.copy(uri, material.clips[start:stop])
    joint = material.open(uris)
    held = {path: part.uri for part in joint.parts for path in part.paths}
    return SimpleNamespace(whole=material.whole, joint=joint, uris=uris, held=held, clips=material.clips)


@pytest.fixture
def two(material, tmp_path):
    """Two small indexes, to be opened as one."""
    uris = [str(tmp_path / "a.index"), str(tmp_path / "b.index")]
    for uri, videos in zip(uris, (material.clips[:2], material.clips[2:4]), strict=True):
        material.copy(uri, videos)
    return SimpleNamespace(uris=uris, open=lambda *others: material.open([*uris, *others]), clips=material.clips)


def plain(found):
    """Hits or moments as JSON without the place of their index, numbers to be compared."""
    if isinstance(found, list):
        return [plain(each) for each in found]
    values = found.to_dict() if hasattr(found, "to_dict") else vars(found)
    return {name: value for name, value in values.items() if name != "index"}


def assert_alike(value, other):
    """Equal but for the last digit of numbers: a product of matrices rounds a row by what stands around it."""
    if isinstance(value, dict):
        assert value.keys() == other.keys()
        for name in value:
            assert_alike(value[name], other[name])
    elif isinstance(value, list | tuple):
        assert len(value) == len(other)
        for item, other_item in zip(value, other, strict=True):
            assert_alike(item, other_item)
    elif hasattr(value, "__dict__"):
        assert_alike(vars(value), vars(other))
    else:
        assert value == (pytest.approx(other, abs=1e-6) if isinstance(value, float) else other)


ASKED = {
    "text": (QUERIES, {}),
    "a few": (QUERIES, {"top_k": 3}),
    "all scored": (QUERIES, {"mode": "full"}),
    "all scored, a few": (QUERIES, {"mode": "full", "top_k": 2, "moments": 1}),
    "vectors alone": (QUERIES, {"mode": "coarse"}),
    "spelling alone": (QUERIES, {"mode": "lexical"}),
    "a condition": (QUERIES, {"where": "segment = 1 AND has_text"}),
    "a part of each": (QUERIES, {"between": (1.0, 2.5)}),
    "phrases": (['"gate b4"', '"way out" OR "no exit"'], {"syntax": "query"}),
    "exclusions": (["departures -exit", "store -gate"], {"syntax": "query"}),
    "first and then": (["tesco >> gate", "cafe >> departures >> out"], {"syntax": "query", "mode": "full"}),
    "in two stages": (["departures >> exit"], {"syntax": "query", "within": 1.0}),
    "nothing passes": (["gate"], {"where": "duration > 100"}),
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_search_is_that_of_one_index_of_all_videos(shelf, asked):
    queries, options = ASKED[asked]
    expected = shelf.whole.search(queries, **options)
    found = shelf.joint.search(queries, **options)
    assert_alike(plain(found), plain(expected))
    assert all(hit.index == shelf.held[hit.path] for hits in found for hit in hits)
    assert_alike(plain(shelf.joint.search(queries[0], **options)), plain(expected[0]))
    assert any(map(len, expected)) == (asked != "nothing passes")


def test_scores_and_moments_are_those_of_one_index(shelf):
    scores, expected = shelf.joint.score(QUERIES), shelf.whole.score(QUERIES)
    assert shelf.joint.paths == shelf.whole.paths == shelf.clips
    for name, value in vars(expected).items():
        given = getattr(scores, name)
        assert (given is None) == (value is None)
        if value is not None:
            np.testing.assert_allclose(given, value, atol=1e-6)
    for path in shelf.clips[::3]:
        for query, syntax in (("gate b4", "plain"), ("departures >> exit", "query"), ("a sea", "plain")):
            assert_alike(
                plain(shelf.joint.moments(query, path, syntax)), plain(shelf.whole.moments(query, path, syntax))
            )


def test_what_they_hold_is_read_as_of_one_index(shelf):
    joint, whole = shelf.joint, shelf.whole
    assert len(joint) == len(whole) == len(CLIPS)
    assert joint.captions == whole.captions
    assert joint.captions_of(shelf.clips[5], (2.0, 9.0)) == whole.captions_of(shelf.clips[5], (2.0, 9.0))
    assert joint.transcript(shelf.clips[1]) == whole.transcript(shelf.clips[1])
    columns = ["path", "segment", "captions", "coarse", "has_text"]
    assert_alike(joint.read(columns).to_pylist(), whole.read(columns).to_pylist())
    assert joint.read(["path"], "has_text", limit=5) == whole.read(["path"], "has_text", limit=5)
    assert joint.export_dataset()["captions"] == whole.export_dataset()["captions"]
    (ours, theirs) = (vars(index.stats()) for index in (joint, whole))
    assert ours.pop("bytes_on_disk") == sum(part.stats().bytes_on_disk for part in joint.parts)
    theirs.pop("bytes_on_disk")
    assert ours == theirs
    assert joint.check() == [] and joint.errors == {}
    assert joint.uri == ", ".join(shelf.uris) and repr(joint) == f"JointIndex({joint.uri!r}, 8 videos)"


def test_a_part_alone_counts_its_own_words(shelf):
    """Both ways may be asked in turn: what is rare in all of them is not what is rare in one."""
    shelf.joint.search("way out")
    for part in shelf.joint.parts:
        if len(part):
            alone = VideoIndex.open(part.uri, part.model, part.processor)
            assert_alike(plain(part.search(QUERIES)), plain(alone.search(QUERIES)))
            assert not any(hit.index for hit in part.search("way out"))


def test_a_query_is_embedded_once(two, monkeypatch):
    joint = two.open()
    calls = count_calls(monkeypatch, TCDModel, "get_text_features")
    joint.search(QUERIES)
    assert len(calls) == 1
    joint.score(QUERIES)
    assert len(calls) == 2


def test_a_search_sees_what_each_has_committed_last(two, material):
    joint = two.open()
    assert joint.search("platform 9", mode="lexical") == []
    version = joint.version
    material.open(two.uris[1]).add(two.clips[6], workers=0)
    (hit,) = joint.search("platform 9", mode="lexical")
    assert (hit.path, hit.index) == (two.clips[6], two.uris[1])
    assert joint.version > version and len(joint) == 5
    whole = material.copy(two.uris[0] + "l", [*two.clips[:4], two.clips[6]])
    for hits, expected in zip(joint.search(QUERIES), whole.search(QUERIES), strict=True):
        assert {hit.path: hit.score for hit in hits} == pytest.approx(
            {hit.path: hit.score for hit in expected}, abs=1e-3
        )
    joint.parts[1].remove(two.clips[6])
    assert joint.search("platform 9", mode="lexical") == []


def test_words_that_were_counted_before_do_not_stay_in_memory(two, material, monkeypatch):
    merge, made = LexicalStatistics.merged, []

    def merged(parts):
        result = merge(parts)
        made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(LexicalStatistics, "merged", merged)
    joint = two.open()
    joint.search("platform 9", mode="lexical")
    for clip in two.clips[5:7]:  # the first index stays as it is
        material.open(two.uris[1]).add(clip, workers=0)
        joint.search("platform 9", mode="lexical")
    gc.collect()
    assert [each() is None for each in made] == [True, True, False]


def test_a_video_of_several_counts_once(two, material):
    expected = two.open().search(QUERIES)
    shutil.rmtree(two.uris[1])
    material.copy(two.uris[1], two.clips[:4])
    joint = two.open()
    assert len(joint) == 4 and joint.stats().videos == 4 and joint.stats().segments == 8
    assert joint.paths == two.clips[:4] and len(joint.captions) == 4
    assert joint.read(["segment"], "has_text", limit=6).num_rows == 6
    for hits, others in zip(joint.search(QUERIES), expected, strict=True):
        assert sorted(hit.path for hit in hits) == sorted(hit.path for hit in others)
    top = joint.search(QUERIES[0], top_k=1)[0]
    assert (top.path, top.index) == (two.clips[0], two.uris[0])  # of equal ones the first
    scores = joint.score(QUERIES)
    assert scores.score.shape == (len(QUERIES), 4)
    np.testing.assert_allclose(scores.score.max(axis=1), [hits[0].score for hits in joint.search(QUERIES)], atol=1e-6)
    assert joint.moments(QUERIES[0], two.clips[0])[0].evidence == ["TESCO express", "£1.30"][:1]


def test_a_changed_copy_is_found_by_its_best_hit(two, material, tmp_path):
    path = str(shutil.copy(two.clips[3], tmp_path / "changing.mp4"))
    material.open(two.uris[0]).add(path, workers=0)
    shutil.copy(two.clips[6], path)
    material.open(two.uris[1]).add(path, workers=0)
    hit = two.open().search("platform 9", top_k=1)[0]
    assert (hit.path, hit.index) == (path, two.uris[1])
    assert any("platform 9" in moment.evidence for moment in two.open().moments("platform 9", path))


def test_adding_goes_to_the_first_or_the_one_that_is_named(two, material):
    joint = two.open()
    report = joint.add([two.clips[2], two.clips[4], two.clips[0]], workers=0)
    assert (report.added, report.unchanged) == ([two.clips[4]], [two.clips[2], two.clips[0]])
    assert [len(part) for part in joint.parts] == [3, 2]
    told = []
    report = joint.add(two.clips[4:6], into=os.path.relpath(two.uris[1]) + "/", workers=0, on_video=told.append)
    assert (report.added, report.unchanged, told) == ([two.clips[5]], [two.clips[4]], two.clips[4:6])
    assert [len(part) for part in joint.parts] == [3, 3]
    assert joint.add(two.clips[5], workers=0).unchanged == [two.clips[5]]
    with pytest.raises(ValueError, match=r"into='c' is none of the indexes that were opened: .*a\.index, .*b\.index"):
        joint.add(two.clips[6], into="c")
    with pytest.raises(ValueError, match="which another of the indexes has: add them to that one"):
        joint.add([two.clips[5]], texts={two.clips[5]: [(0, 1, "hello")]}, workers=0)
    assert len(joint.new_handle().add(two.clips[6], workers=0).added) == 1
    frames = {"sign": [coded_frame(7)] * 4, two.clips[2]: [coded_frame(7)] * 4}
    report = joint.add(frames)
    assert (len(report.added), report.unchanged) == (1, [two.clips[2]])
    found = joint.search('"way out"', syntax="query")
    assert len(joint.parts[0]) == 5 and any(hit.path.endswith("/sign") for hit in found)


def test_indexes_that_do_not_compare_are_refused(two, material, tmp_path):
    model, processor = material.makers
    VideoIndex.create(tmp_path / "other", make_tiny_model(seed=1), processor, segment_seconds=2)
    VideoIndex.create(tmp_path / "longer", model, processor, segment_seconds=4)
    shorter = make_tiny_processor(CodeReader(TEXTS))
    shorter.max_length = 9
    VideoIndex.create(tmp_path / "shorter", model, shorter, segment_seconds=2)
    told = {
        "other": "made with another model, or other weights or dtype",
        "shorter": "made with another tokenizer",
        "longer": r"made with segments of another length \(4.0\) than .*a\.index \(2.0\), .*Search it by itself",
    }
    for name, words in told.items():
        with pytest.raises(IndexMismatchError, match=f"The index {tmp_path}/{name} was {words}"):
            two.open(tmp_path / name)
    with pytest.raises(IndexMismatchError, match="made with another model"):
        VideoIndex.open(two.uris, make_tiny_model(seed=1), processor)


def test_places_that_are_none(two, tmp_path):
    with pytest.raises(IndexMismatchError, match=f"There is no index at {tmp_path}/nothing"):
        two.open(tmp_path / "nothing")
    with pytest.raises(ValueError, match="No index is named"):
        VideoIndex.open([])
    twice = two.open(two.uris[0] + "/")
    assert [part.uri for part in twice.parts] == two.uris and len(twice) == 4
    assert isinstance(VideoIndex.open(two.uris[:1]), JointIndex)


def test_all_of_them_empty(material, tmp_path):
    for name in "ab":
        VideoIndex.create(tmp_path / name, *material.makers)
    joint = VideoIndex.open([tmp_path / "a", tmp_path / "b"], *material.makers)
    assert len(joint) == 0 and joint.paths == [] and joint.stats().videos == 0
    for ask in (joint.search, lambda query: joint.score([query]), lambda query: joint.moments(query, "a.mp4")):
        with pytest.raises(ValueError, match="The indexes are empty: add videos"):
            ask("a car")


def test_a_video_that_none_has(two):
    for ask in (lambda: two.open().moments("a", "gone.mp4"), lambda: two.open().transcript("gone.mp4")):
        with pytest.raises(ValueError, match=r"no video '.*gone\.mp4'"):
            ask()


def test_damage_is_told_of_the_index_that_has_it(two, material):
    joint = two.open()
    for file in (joint.parts[1]._storage.folder / "videos.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(IndexDamagedError, match=f"The index {two.uris[1]} is damaged"):
        joint.search("gate b4")
    damages = joint.check()
    assert damages and all(damage.detail.startswith(f"{two.uris[1]}: ") for damage in damages)


def test_one_that_is_gone_is_named(two):
    joint = two.open()
    shutil.rmtree(two.uris[1])
    with pytest.raises((IndexMismatchError, IndexDamagedError), match=two.uris[1]):
        joint.search("gate b4")


def test_the_model_is_loaded_once_and_each_reads_as_it_says(two, material, monkeypatch):
    model = material.makers[0]
    loaded = []

    def load(name, device):
        loaded.append(name)
        return model, make_tiny_processor("rapidocr")

    monkeypatch.setattr("tcd_hf.loading.load", load)
    joint = VideoIndex.open(two.uris, "tiny")
    assert len(joint.search("gate b4")) == 4 and joint.model is model
    assert all(part.model is model for part in joint.parts) and loaded == ["tiny"]
    assert joint.parts[0].processor is not joint.parts[1].processor
