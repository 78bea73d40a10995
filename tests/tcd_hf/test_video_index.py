import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

import tcd_hf
from scripts.benchmarks.lexical import LexicalScorer
from tcd_hf.index import storage as storage_module
from tcd_hf.index.hits import Hit
from tcd_hf.index.ingest import AddReport
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET, Recall
from tcd_hf.index.schema import IndexMismatchError, checksums, row_id
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.stored_index import IndexStats
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.reading.fingerprints import model_fingerprint
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor, open_storage

ROOT = Path(__file__).parents[2]
QUERIES = ["the store TESCO express", "star wars toys", "gate b4"]


@pytest.fixture
def make_index(tmp_path, code_reader):
    def make(name="index", engine=code_reader, model=None, **options):
        options = {"exist_ok": True, "cache_dir": tmp_path / "cache", **options}
        return VideoIndex.create(tmp_path / name, model or make_tiny_model(), make_tiny_processor(engine), **options)

    return make


@pytest.fixture
def filled(make_index, clips):
    index = make_index()
    index.add(clips.values(), workers=0)
    return index


def names(paths):
    return [Path(path).name for path in paths]


def test_the_package_exports_what_users_get_and_catch():
    assert tcd_hf.VideoIndex is VideoIndex
    assert tcd_hf.IndexMismatchError is IndexMismatchError
    assert (tcd_hf.Hit, tcd_hf.AddReport, tcd_hf.VideoReadError) == (Hit, AddReport, VideoReadError)


def test_finds_the_clip_its_window_and_the_matching_text(filled, clips):
    store, toys, gate = (hits[0] for hits in filled.search(QUERIES, top_k=1))
    assert (store.path, store.evidence) == (str(clips["shop.mp4"]), ["TESCO express"])
    assert (toys.path, toys.start, toys.end, toys.evidence) == (str(clips["toys.mp4"]), 1.0, 2.0, ["STAR WARS"])
    assert (gate.path, gate.evidence) == (str(clips["airport.mp4"]), ["Gate B4"])
    (alone,) = filled.search(QUERIES[0], top_k=1)
    assert (alone.path, alone.boxes, alone.score) == (store.path, store.boxes, pytest.approx(store.score, abs=1e-6))


def test_scores_are_the_stated_fusion_of_the_model_and_the_captions(make_index, clips, code_reader):
    index = make_index(lexical_weight=0.3, feature_type="float16")
    index.add(clips.values(), workers=0)
    processor = make_tiny_processor(code_reader)
    captions = processor.caption(list(map(str, clips.values())))
    with torch.no_grad():
        inputs = processor(text=QUERIES, videos=list(map(str, clips.values())), return_tensors="pt")
        output = make_tiny_model()(**inputs)
    model_scores = (output.logits_per_text / make_tiny_model().logit_scale.exp()).detach().numpy()
    lexical = LexicalScorer(captions).score(QUERIES)
    scores = index.score(QUERIES)
    assert names(index.paths) == list(clips)
    np.testing.assert_allclose(scores.lexical, lexical, atol=1e-6)
    np.testing.assert_allclose(scores.similarity, model_scores, atol=2e-3)
    np.testing.assert_allclose(scores.score, 0.7 * model_scores + 0.3 * lexical, atol=2e-3)


def test_an_opened_index_finds_the_same(filled, code_reader, tmp_path):
    hits = filled.search(QUERIES)
    opened = VideoIndex.open(tmp_path / "index", make_tiny_model(), make_tiny_processor(code_reader))
    assert opened.search(QUERIES) == hits
    assert len(opened) == 4 and opened.paths == filled.paths and opened.captions == filled.captions
    assert repr(opened) == f"VideoIndex('{tmp_path}/index', 4 videos)"


@pytest.mark.parametrize("form", [str, Path, Path.as_uri, os.path.relpath])
def test_places_may_be_written_in_several_ways(tmp_path, clips, code_reader, form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "some folder" / "ü.index"
    makers = make_tiny_model(), make_tiny_processor(code_reader)
    index = VideoIndex.create(form(folder), *makers, cache_dir=tmp_path / "cache")
    index.add([clips["shop.mp4"], tmp_path / "missing.mp4"], workers=0)
    assert (folder / "errors.jsonl").exists() and (folder / "videos.lance").is_dir()
    assert names(VideoIndex.open(str(folder), *makers).paths) == ["shop.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "some folder", "videos"]


def test_other_uris_go_to_lancedb_as_they_are(monkeypatch):
    import lancedb

    seen = []
    empty = SimpleNamespace(list_tables=lambda limit: SimpleNamespace(tables=[]))
    monkeypatch.setattr(lancedb, "connect", lambda uri: seen.append(uri) or empty)
    for uri in ("s3://bucket/a b", "gs://bucket/path", "file://server/share"):
        storage = IndexStorage(uri)
        assert storage.folder is None and storage.bytes_on_disk() is None
        with pytest.raises(IndexMismatchError, match="There is no index"):
            storage.open()
    assert seen == ["s3://bucket/a b", "gs://bucket/path", "file://server/share"]


@pytest.mark.parametrize("uri", ["db://collection", "memory://"])
def test_uris_that_keep_no_files_are_refused(uri):
    with pytest.raises(ValueError, match="keeps no files: give a folder"):
        IndexStorage(uri)


def test_home_folders_and_changes_of_the_working_folder(tmp_path, clips, code_reader, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    makers = make_tiny_model(), make_tiny_processor(code_reader)
    for uri, folder in (("~/my.index", tmp_path / "home" / "my.index"), ("my.index", tmp_path / "my.index")):
        index = VideoIndex.create(uri, *makers, cache_dir=tmp_path / "cache")
        index.add([clips["shop.mp4"]], workers=0)
        monkeypatch.chdir(tmp_path / "videos")
        index.add([clips["sea.mp4"]], workers=0)
        monkeypatch.chdir(tmp_path)
        assert len(VideoIndex.open(uri, *makers)) == 2
        assert {path.name for path in folder.iterdir()} >= {".writer.lock", "videos.lance"}
    assert not (tmp_path / "~").exists()


def test_an_object_store_holds_the_same(tmp_path, clips, code_reader, filled):
    (tmp_path / "store").mkdir()
    makers = make_tiny_model(), make_tiny_processor(code_reader)
    uri = f"file-object-store://{tmp_path}/store"  # LanceDB's: the local disk by the way that leads to a bucket
    index = VideoIndex.create(uri, *makers, cache_dir=tmp_path / "cache")
    report = index.add([*list(clips.values())[:2], tmp_path / "missing.mp4"], workers=0)
    assert (len(report.added), len(report.skipped), index.errors) == (2, 1, {})
    opened = VideoIndex.open(uri, *makers)
    assert len(opened.add(clips.values(), workers=0).added) == 2
    assert sorted(index.paths) == sorted(filled.paths) and index.stats().bytes_on_disk is None
    assert [hits[0] for hits in index.search(QUERIES, top_k=1)] == [hits[0] for hits in filled.search(QUERIES, top_k=1)]
    os.utime(clips["sea.mp4"])
    shutil.copy(clips["toys.mp4"], clips["sea.mp4"])
    assert len(index.refresh(list(clips.values())[1:], workers=0).removed) == 1
    index.compact()
    assert names(sorted(opened.paths)) == sorted(set(names(clips.values())) - {Path(next(iter(clips.values()))).name})
    assert open_storage(opened).load_statistics().num_rows == 3
    with pytest.raises(IndexMismatchError, match="There is no index"):
        VideoIndex.open(uri + "/other", *makers)


def test_no_index_there(tmp_path, code_reader, clips):
    makers = make_tiny_model(), make_tiny_processor(code_reader)
    (tmp_path / "file").touch()
    for place in (tmp_path / "nothing", tmp_path / "videos", tmp_path / "file"):
        with pytest.raises(IndexMismatchError, match=r"There is no index at .*VideoIndex\.create.*tcd-hf index"):
            VideoIndex.open(place, *makers)
    assert not (tmp_path / "nothing").exists()
    for place, name in ((tmp_path / "videos", "airport.mp4"), (tmp_path / "file", "file")):
        with pytest.raises(IndexMismatchError, match=f"is no index and not empty: it holds '{name}'"):
            VideoIndex.create(place, *makers)


def test_an_index_that_is_there_is_not_overwritten(filled, code_reader, tmp_path):
    makers = make_tiny_model(), make_tiny_processor(code_reader)
    with pytest.raises(FileExistsError, match=r"VideoIndex\.open"):
        VideoIndex.create(tmp_path / "index", *makers)
    assert len(VideoIndex.create(tmp_path / "index", *makers, exist_ok=True)) == 4


def test_what_a_killed_creation_leaves_is_no_hindrance(tmp_path, make_index, clips):
    for name in ("data", "_versions"):
        (tmp_path / "index" / "videos.lance" / name).mkdir(parents=True)
    (tmp_path / "index" / ".writer.lock").touch()
    index = make_index()
    index.add([clips["shop.mp4"]], workers=0)
    assert len(make_index()) == 1


def test_other_models_and_tokenizers_are_refused(filled, code_reader, tmp_path):
    place, processor = tmp_path / "index", make_tiny_processor(code_reader)
    with pytest.raises(IndexMismatchError, match=r"of the model without a name\) was made with another model"):
        VideoIndex.open(place, make_tiny_model(seed=1), processor)
    with pytest.raises(IndexMismatchError, match="dtype"):
        VideoIndex.create(place, make_tiny_model().to(torch.bfloat16), processor, exist_ok=True)
    processor.max_length = 9
    for make in (VideoIndex.open, lambda *args: VideoIndex.create(*args, exist_ok=True)):
        with pytest.raises(IndexMismatchError, match="another tokenizer or `max_length`"):
            make(place, make_tiny_model(), processor)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"ocr_engine": CodeReader({})}, "another OCR engine"),
        ({"ocr_fps": 1.0}, "other settings of the captions"),
        ({"num_frames": 5}, "`num_frames`"),
    ],
)
def test_searching_does_not_depend_on_how_videos_are_read_but_adding_does(filled, code_reader, clips, settings, part):
    processor = make_tiny_processor(code_reader)
    for name, value in settings.items():
        setattr(processor, name, value)
    opened = VideoIndex.open(filled.uri, make_tiny_model(), processor)
    assert opened.search(QUERIES) == filled.search(QUERIES)
    for write in (opened.add, opened.refresh):
        with pytest.raises(IndexMismatchError, match=f"{part}.*can be searched all the same"):
            write([clips["shop.mp4"]], workers=0)
    assert len(opened) == 4


def test_without_a_model_an_index_can_be_looked_at_and_cleaned(filled, clips):
    opened = VideoIndex.open(filled.uri)
    assert opened.paths == filled.paths and opened.captions == filled.captions and opened.stats() == filled.stats()
    assert opened.remove([clips["sea.mp4"]]) == 1
    opened.compact()
    assert len(opened.export_dataset()) == len(filled) == 3
    for use in (
        lambda: opened.search("x"),
        lambda: opened.score(["x"]),
        lambda: opened.add([clips["shop.mp4"]]),
        lambda: opened.refresh([clips["shop.mp4"]]),
    ):
        with pytest.raises(ValueError, match=r"a model without a name: give that model.*`VideoIndex\.open`"):
            use()
    assert len(opened) == 3


def test_an_index_knows_what_its_model_is_loaded_by(make_index, tmp_path):
    make_tiny_model().save_pretrained(tmp_path / "model")
    index = make_index(model=TCDModel.from_pretrained(tmp_path / "model"))
    assert index.metadata.model_name == index.stats().model == str(tmp_path / "model")
    assert make_index(model=make_tiny_model()).metadata == index.metadata  # the same weights, from elsewhere


def test_tables_of_others_and_of_other_versions_are_refused(tmp_path, code_reader, filled):
    import lancedb  # not above: what it logs is settled when it is imported

    makers = make_tiny_model(), make_tiny_processor(code_reader)
    lancedb.connect(tmp_path / "foreign").create_table("videos", pa.table({"id": ["a"]}))
    with pytest.raises(IndexMismatchError, match=r"Cannot use the index .*foreign: .*not made by tcd-hf"):
        VideoIndex.open(tmp_path / "foreign", *makers)
    schema = open_storage(filled).videos.schema
    newer = schema.with_metadata({b"tcd_hf": b'{"schema_version": 7}'})
    lancedb.connect(tmp_path / "newer").create_table("videos", schema=newer)
    with pytest.raises(
        IndexMismatchError, match=r"version 7, and this release of tcd-hf reads version 3\. Make it anew"
    ):
        VideoIndex.open(tmp_path / "newer", *makers)


def test_a_new_index_is_empty(make_index):
    index = make_index()
    assert len(index) == 0 and index.paths == [] and index.captions == []
    assert index.stats().videos == index.stats().videos_with_text == index.stats().seconds_of_video == 0
    assert index.remove(["/x.mp4"]) == 0
    index.compact()
    assert len(index.export_dataset()) == 0
    with pytest.raises(ValueError, match="empty"):
        index.search("x")
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        make_index(lexical_weight=1.5)


def test_a_removal_that_was_killed_half_way_is_ended_by_the_next(filled, clips):
    storage = open_storage(filled)
    storage.delete([str(clips["shop.mp4"])])  # and the run was killed before it had counted words anew
    assert not open_storage(filled).has_statistics()
    assert filled.remove(clips["shop.mp4"]) == 0
    storage = open_storage(filled)
    assert storage.has_statistics()
    counted = storage.load_statistics().to_table()
    storage.save_statistics()  # counts
    assert storage.load_statistics().to_table().equals(counted) and len(counted)


def test_removed_videos_are_gone(filled, clips, tmp_path):
    filled.search("gate b4")  # what search holds in memory must follow
    assert filled.remove([clips["airport.mp4"], tmp_path / "never was.mp4"]) == 1
    assert names(filled.paths) == ["shop.mp4", "toys.mp4", "sea.mp4"]
    assert "airport.mp4" not in names(hit.path for hit in filled.search("gate b4"))
    assert open_storage(filled).load_statistics().num_rows == 3
    assert filled.remove(str(clips["sea.mp4"])) == 1
    assert filled.add([clips["airport.mp4"]], workers=0).added == [str(clips["airport.mp4"])]
    assert filled.search("gate b4", top_k=1)[0].evidence == ["Gate B4"]


def test_a_folder_stands_for_all_below_it(filled, clips, tmp_path):
    (tmp_path / "videos" / "sub").mkdir()
    beside = tmp_path / "videos" / "sub.mp4"
    inside = tmp_path / "videos" / "sub" / "100%_'.mp4"
    bad = tmp_path / "videos" / "sub" / "bad.mp4"
    shutil.copy(clips["shop.mp4"], beside)
    shutil.copy(clips["shop.mp4"], inside)
    bad.touch()
    filled.add([beside, inside, bad], workers=0)
    assert list(filled.errors) == [str(bad)]
    assert filled.remove([tmp_path / "videos" / "sub"]) == 1
    assert len(filled) == 5 and str(inside) not in filled.paths and filled.errors == {}
    assert filled.remove([str(tmp_path / "videos") + "/"]) == 5


def test_refresh_makes_the_index_one_of_these_files(filled, clips, tmp_path):
    moved = shutil.move(clips["shop.mp4"], tmp_path / "videos" / "moved.mp4")
    clips["toys.mp4"].unlink()
    shutil.copy(clips["airport.mp4"], clips["sea.mp4"])
    bad = tmp_path / "videos" / "bad.mp4"
    bad.touch()
    filled.add([tmp_path / "old.mp4"], workers=0)
    report = filled.refresh([clips["airport.mp4"], clips["sea.mp4"], moved, bad], workers=0)
    assert names(report.added) == ["moved.mp4"]
    assert names(report.unchanged) == ["airport.mp4"]
    assert names(report.replaced) == ["sea.mp4"]
    assert names(video.path for video in report.skipped) == ["bad.mp4"] == names(filled.errors)
    assert names(report.removed) == ["shop.mp4", "toys.mp4"]
    assert sorted(names(filled.paths)) == ["airport.mp4", "moved.mp4", "sea.mp4"]
    found = {Path(hit.path).name for hit in filled.search("TESCO", top_k=1)}
    assert found == {"moved.mp4"}


def test_statistics_stored_are_those_counted(filled, clips, tmp_path):
    def check(videos):
        storage = open_storage(filled)
        assert storage.has_statistics()  # up to date: nobody has to count
        stored = storage.load_statistics()
        storage.save_statistics()  # counts
        counted = storage.load_statistics()
        assert stored.num_rows == counted.num_rows == videos
        np.testing.assert_array_equal(stored.document_frequency, counted.document_frequency)

    check(4)
    copy = shutil.copy(clips["shop.mp4"], tmp_path / "copy.mp4")
    filled.add([copy], workers=0)
    check(5)
    shutil.copy(clips["toys.mp4"], copy)
    filled.add([copy], workers=0)
    check(5)
    filled.remove([copy])
    check(4)
    filled.compact()
    check(4)
    storage = open_storage(filled)
    storage.delete(filled.paths[:1])  # a run killed before they were stored
    assert not storage.has_statistics() and storage.load_statistics().num_rows == 3


def test_stats(filled, clips, tmp_path):
    stats = filled.stats()
    size = sum(file.stat().st_size for file in (tmp_path / "index").rglob("*") if file.is_file())
    fingerprint = model_fingerprint(make_tiny_model())
    assert stats == IndexStats(4, 3, 4, 16.0, size, 16, 4, 30.0, "", fingerprint, 3)


def test_compacting_frees_old_versions_and_what_killed_runs_left(filled, clips, tmp_path):
    hits = filled.search(QUERIES)
    data = tmp_path / "index" / "videos.lance" / "data"
    for path in clips.values():
        filled.remove([path])
        filled.add([path], workers=0)
    (file, *_) = data.glob("*.lance")
    shutil.copy(file, data / "0101010101010101010101010101010101010101010101010101010101.lance")
    unfinished = [data / ".tmpAbCdEf", data.parent / "_versions" / "7.manifest#1", tmp_path / "index" / ".0a1b.part"]
    for each in unfinished:
        each.write_bytes(b"x" * 100_000)
    reader = VideoIndex.open(filled.uri, filled.model, filled.processor)
    filled.compact()
    assert len(list(data.iterdir())) == 1 and not any(each.exists() for each in unfinished)
    assert [[hit.score for hit in each] for each in filled.search(QUERIES)] == [
        [pytest.approx(hit.score, abs=1e-6) for hit in each] for each in hits
    ]
    assert reader.search(QUERIES) == filled.search(QUERIES)  # one that was open before


def test_many_fragments_are_merged(make_index, clips, monkeypatch):
    monkeypatch.setattr(storage_module, "MAX_FRAGMENTS", 2)
    index = make_index()
    for path in clips.values():
        index.add([path], workers=0)
    table = open_storage(index).videos
    assert table.stats()["fragment_stats"]["num_fragments"] <= 2
    assert table.index_stats("term_text_idx").num_unindexed_rows == 0


def test_vectors_beyond_the_memory_budget_get_an_index(filled, make_index):
    storage, generator = open_storage(filled), np.random.default_rng(0)

    def add_rows(number):
        row = storage.read(storage.videos.schema.names).slice(0, 1)
        rows = pa.concat_tables([row] * number)
        vectors = generator.standard_normal((number, 16)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        values = {
            "id": [row_id(f"/{len(filled)}-{place}.mp4", 0) for place in range(number)],
            "path": [f"/{len(filled)}-{place}.mp4" for place in range(number)],
            "coarse": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 16),
        }
        for name, value in values.items():
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), [value])
        place, field = rows.schema.get_field_index("checksum"), rows.schema.field("checksum")
        storage.append(rows.set_column(place, field, pa.array(checksums(rows), field.type)))

    def unindexed(budget=0):
        storage.maintain(budget)
        names = [index.name for index in storage.videos.list_indices() if index.columns == ["coarse"]]
        return storage.videos.index_stats(names[0]).num_unindexed_rows if names else None

    assert unindexed() is None  # too few to be worth it
    add_rows(1100)
    assert unindexed(budget=1 << 20) is None
    assert unindexed() == 0
    add_rows(50)
    assert unindexed() == 50  # made anew only when a tenth is missing from it
    add_rows(100)
    assert unindexed() == 0
    small = VideoIndex.open(filled.uri, filled.model, filled.processor, memory_budget=0)
    found, expected = (index.search("sea", top_k=5, mode="coarse") for index in (small, filled))
    assert [hit.path for hit in found] == [hit.path for hit in expected]


def test_rows_are_read_by_columns_a_filter_and_a_limit(filled, clips):
    assert names(filled.read(["path"])["path"].to_pylist()) == list(clips)
    shown = filled.read(["path", "captions"], "caption_text LIKE '%Gate%'").to_pylist()
    assert [row["path"] for row in shown] == [str(clips["airport.mp4"])]
    assert {track["text"] for window in shown[0]["captions"] for track in window["tracks"]} == {"DEPARTURES", "Gate B4"}
    assert names(filled.read(["path"], "has_text", limit=2)["path"].to_pylist()) == ["shop.mp4", "airport.mp4"]
    for where in ("DROP TABLE videos", "nothing = 1", "duration < 'x'"):
        for use in (
            lambda where=where: filled.read(["path"], where),
            lambda where=where: filled.search("x", where=where),
        ):
            with pytest.raises(ValueError, match=r"where=.* cannot be used as a filter"):
                use()
    with pytest.raises(ValueError, match="nothing"):
        filled.read(["nothing"])


def test_captions_of_one_video_and_of_a_part_of_it(make_index, clips):
    index = make_index(segment_seconds=2)
    index.add(clips.values(), workers=0)
    shop = clips["shop.mp4"]
    windows = index.captions_of(shop)
    assert windows == index.captions[0] and [window.start for window in windows] == [0.5 * n for n in range(8)]
    assert index.captions_of(str(shop), (2.5, np.inf)) == windows[4:]
    assert index.captions_of(shop, (0.0, 1.0)) == windows[:4]
    assert index.captions_of("/never was.mp4") == []


def test_the_version_grows_with_every_change(filled, clips, make_index):
    version = filled.version
    make_index().remove(clips["sea.mp4"])  # through another handle
    assert filled.version > version


def test_a_new_handle_writes_while_the_other_one_searches(filled, clips, monkeypatch):
    monkeypatch.setattr(IndexStorage, "open", lambda self: pytest.fail("it was opened again"))
    filled.batch_size = 2
    other = filled.new_handle()
    assert other.model is filled.model and other.processor is not filled.processor and other.batch_size == 2
    found = []
    other.remove(clips["airport.mp4"])
    other.add([clips["airport.mp4"]], workers=0, on_video=lambda path: found.append(len(filled.search("gate b4"))))
    assert found == [3] and len(filled) == len(other) == 4


def test_export(filled, clips):
    dataset = filled.export_dataset()
    assert names(dataset["path"]) == list(clips)
    shop = dataset[0]
    assert [caption["text"] for caption in shop["captions"]] == ["", "", "TESCO express £1.30", "TESCO express £1.30"]
    assert (shop["captions"][2]["start"], shop["captions"][2]["tracks"][0]["text"]) == (2.0, "TESCO express")
    assert len(shop["captions"][2]["tracks"][0]["box"]) == 4 and shop["duration"] == 4.0
    coarse = np.array(dataset["coarse"])
    np.testing.assert_allclose(np.linalg.norm(coarse, axis=1), 1, atol=1e-5)


def test_readers_see_what_is_committed_while_a_writer_goes_on(make_index, clips, monkeypatch, code_reader):
    monkeypatch.setattr("tcd_hf.index.ingest.ROWS_PER_COMMIT", 1)
    index = make_index()
    reader = VideoIndex.open(index.uri, make_tiny_model(), make_tiny_processor(code_reader))
    found = []

    def look(path):
        if len(reader):
            found.append([len(reader), *sorted(names(hit.path for hit in reader.search("star wars")))])

    index.add(clips.values(), workers=0, on_video=look)
    assert found == [
        [1, "shop.mp4"],
        [2, "airport.mp4", "shop.mp4"],
        [3, "airport.mp4", "shop.mp4", "toys.mp4"],
    ]
    assert len(reader) == 4 and reader.search("star wars", top_k=1)[0].evidence == ["STAR WARS"]


@pytest.mark.parametrize("where", [None, "duration < 60"])
def test_a_question_that_lost_its_files_to_a_writer_is_asked_again(filled, code_reader, tmp_path, monkeypatch, where):
    from tcd_hf.index.retrieval import Retriever

    reader = VideoIndex.open(tmp_path / "index", make_tiny_model(), make_tiny_processor(code_reader))
    paths = reader.paths

    def meanwhile(name):
        ask, attempts = getattr(Retriever, name), []

        def ask_while_a_writer_compacts(self, *args, **kwargs):
            attempts.append(self)
            if len(attempts) == 1:
                filled.remove(paths.pop())
                filled.compact()
            return ask(self, *args, **kwargs)

        monkeypatch.setattr(Retriever, name, ask_while_a_writer_compacts)
        return attempts

    reader.search(QUERIES[:1])
    attempts = meanwhile("search")
    (found,) = reader.search(QUERIES[:1], where=where)
    assert sorted(hit.path for hit in found) == sorted(paths) and len(attempts) == 2
    attempts = meanwhile("score")
    assert reader.score(QUERIES).score.shape == (3, len(paths)) and len(attempts) == 2


def test_other_failures_of_a_search_are_raised(filled, monkeypatch):
    from tcd_hf.index.retrieval import Retriever

    def fail(self, *args, **kwargs):
        raise OSError("the disk is gone")

    monkeypatch.setattr(Retriever, "search", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        filled.search(QUERIES[0])


def test_a_model_that_was_trained_meanwhile_searches_and_adds_in_evaluation_mode(filled, make_index, clips):
    hits, rows = filled.search(QUERIES), filled.read(["features"])
    filled.model.train()
    assert filled.search(QUERIES) == hits
    other = make_index(name="other")
    other.model.train()
    other.add(clips.values(), workers=0)
    assert other.read(["features"]).equals(rows)


def test_the_state_of_torch_around_a_search_does_not_matter(filled):
    queries = np.eye(3, filled.metadata.dim, dtype=np.float32)

    def nearest():
        recall = Recall(open_storage(filled).videos, DEFAULT_MEMORY_BUDGET)  # has read no vectors yet
        return [rows.tolist() for rows in recall.nearest(queries, 2)]

    expected = nearest()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
            assert nearest() == expected
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("config", [{"interaction": "tib"}, {"interaction": "tib", "use_patch_features": True}])
def test_an_index_of_a_model_that_reads_no_text_finds_it_by_spelling(make_index, clips, config):
    index = make_index(model=make_tiny_model(**config))
    index.add(clips.values(), workers=0)
    for mode in ("two-stage", "full", "lexical"):
        for query, name in zip(QUERIES, ("shop.mp4", "toys.mp4", "airport.mp4"), strict=True):
            hit = index.search(query, mode=mode)[0]
            assert (Path(hit.path).name, hit.text_ocr, hit.text_hybrid) == (name, None, None)
    coarse = index.search(QUERIES[0], mode="coarse", top_k=4)
    assert sorted(hit.path for hit in coarse) == sorted(index.paths)
    assert [hit.score for hit in coarse] == sorted((hit.score for hit in coarse), reverse=True)


def test_two_characters_are_found_inside_a_longer_word(make_index, clips):
    index = make_index(engine=CodeReader({1: ["GateB4Terminal"], 2: ["北京大学"], 3: ["STAR WARS"]}))
    index.add(clips.values(), workers=0)
    for query, text in (("B4", "GateB4Terminal"), ("京大", "北京大学")):
        (hit,) = index.search(query, mode="lexical")
        shown = index.captions[index.paths.index(hit.path)]
        assert text in {caption.text for caption in shown} and hit.lexical > 0.01


def test_a_second_writer_waits(make_index, clips, caplog):
    first, second = make_index(), make_index()
    reports = []
    thread = threading.Thread(target=lambda: reports.append(second.add(clips.values(), workers=0)))

    def start_second(path):
        if not thread.ident:
            thread.start()
            thread.join(0.5)
            assert thread.is_alive() and not reports

    with caplog.at_level(logging.WARNING):
        assert len(first.add(clips.values(), workers=0, on_video=start_second).added) == 4
        thread.join(60)
    assert [len(report.unchanged) for report in reports] == [4]
    assert len(first) == len(second) == 4
    assert any("waiting" in record.getMessage() for record in caplog.records)


@pytest.mark.slow
def test_two_processes_write_at_once_and_a_dead_one_holds_no_lock(tmp_path, clips, make_index):
    make_index()
    script = tmp_path / "write.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        from tcd_hf.index.video_index import VideoIndex
        from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor, open_storage
        folder, *paths = sys.argv[1:]
        texts = {1: ["TESCO express", "£1.30"], 2: ["DEPARTURES", "Gate B4"], 3: ["STAR WARS"]}
        makers = make_tiny_model(), make_tiny_processor(CodeReader(texts))
        index = VideoIndex.open(folder + "/index", *makers, cache_dir=folder + "/cache")
        if not paths:
            with open_storage(index).writing():
                print("locked", flush=True)
                sys.stdin.read()
        report = index.add(paths, workers=0)
        print(len(report.added), len(report.unchanged))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*paths):
        command = list(map(str, (sys.executable, script, tmp_path, *paths)))
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)

    with run() as holder:
        assert holder.stdout.readline() == "locked\n"
        shop, airport, *others = clips.values()
        writers = [run(shop, airport), run(airport, *others)]
        with pytest.raises(subprocess.TimeoutExpired):
            writers[0].wait(timeout=15)
        os.kill(holder.pid, signal.SIGKILL)
    outputs = [writer.communicate(timeout=120) for writer in writers]
    assert [output[0].strip() for output in outputs] in (["2 0", "2 1"], ["1 1", "3 0"]), outputs  # added, unchanged
    assert sorted(names(make_index().paths)) == sorted(clips)


def test_nothing_is_printed(make_index, clips, capfd, recwarn):
    index = make_index()
    index.add(clips.values(), workers=0)
    index.search(QUERIES)
    index.refresh(list(clips.values())[:2], workers=0)
    index.compact()
    index.stats()
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
