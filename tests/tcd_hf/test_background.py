"""Large tables: indexed by another process while others write, and searched before their vectors are in memory."""

import gc
import logging
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from tcd_hf.index import background, held_vectors
from tcd_hf.index import recall as recall_module
from tcd_hf.index import storage as storage_module
from tcd_hf.index.background import FAILURE_FILE
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET, Recall
from tcd_hf.index.row_indices import create_coarse_index
from tcd_hf.index.schema import IndexMetadata, rows_from, table_schema
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord
from tests.conftest import norms_like

DIM, NUM_FRAMES, NUM_ROWS = 16, 4, 1200


def rows_of(model, schema, start, count):
    generator = torch.Generator().manual_seed(start)
    frames, windows = torch.nn.functional.normalize(torch.randn(2, count, NUM_FRAMES, DIM, generator=generator), dim=-1)
    with torch.no_grad():
        features = model.precompute(model.fuse(frames, windows, norms_like(frames) > 0, frame_norms=norms_like(frames)))
    records = [
        VideoRecord(
            f"/{number}.mp4", str(number), 1, 0, 4.0, 5.0, [WindowCaption(0.0, 1.0, f"sign {number}")] * NUM_FRAMES
        )
        for number in range(start, start + count)
    ]
    return features if schema is None else rows_from(records, features, schema)


@pytest.fixture
def storage(tmp_path, random_model):
    made_by = {f"{part}_fingerprint": part for part in ("model", "tokenizer", "caption", "frame")}
    sizes = {"dim": DIM, "num_frames": NUM_FRAMES, "segment_seconds": 30.0, "model_name": "m", "feature_type": "int8"}
    metadata = IndexMetadata.describe(rows_of(random_model, None, 0, 1), **made_by, **sizes)
    storage = IndexStorage(tmp_path / "index")
    with storage.writing(new=True):
        storage.create(table_schema(metadata))
        storage.append(rows_of(random_model, storage.videos.schema, 0, NUM_ROWS))
        storage.save_statistics()
    return storage


class NotStarted:
    def wait(self):
        pass


def unindexed(storage):
    storage.update_version()
    names = {index.columns[0]: index.name for index in storage.videos.list_indices()}
    return {column: storage.videos.index_stats(name).num_unindexed_rows for column, name in names.items()}


@pytest.mark.slow
def test_a_large_table_is_indexed_by_another_process(storage, monkeypatch, caplog):
    monkeypatch.setattr(storage_module, "LARGE_TABLE", 1000)
    start = time.monotonic()
    with storage.writing():
        storage.maintain(DEFAULT_MEMORY_BUDGET)
    assert "indexed in the background" in caplog.text and not unindexed(storage).get("coarse")
    took = time.monotonic() - start
    (working,) = [thread for thread in threading.enumerate() if thread.name == "indexing"]
    working.join(600)
    assert took < time.monotonic() - start and not working.is_alive()
    assert unindexed(storage) == {"term_text": 0, "coarse": 0} and storage.has_statistics()
    with storage.writing():
        storage.maintain(DEFAULT_MEMORY_BUDGET)
    assert not any(thread.name == "indexing" for thread in threading.enumerate())  # nothing is due


def test_others_write_while_it_is_indexed(storage, random_model):
    working = threading.Thread(target=background.main, args=([storage.uri, "coarse", "term_text"],))
    working.start()
    other = IndexStorage(storage.uri)
    other.open()
    written = 0
    while working.is_alive() or not written:
        with other.writing():
            other.append(rows_of(random_model, other.videos.schema, NUM_ROWS + 2 * written, 2))
            other.upsert(rows_of(random_model, other.videos.schema, 3, 2))
            other.save_statistics()
        written += 1
    assert storage.update_version().count() == NUM_ROWS + 2 * written
    left = unindexed(storage)
    assert set(left) == {"term_text", "coarse"} and max(left.values()) <= 4 * written
    assert not storage.statistics_are_damaged() and not (storage.folder / FAILURE_FILE).exists()


def test_statistics_stay_those_of_the_version_that_indexing_makes(storage):
    before = storage.videos.version
    storage.index_beside_others("coarse")
    assert storage.videos.version > before and storage.has_statistics()
    assert unindexed(storage)["coarse"] == 0


def test_compacting_waits_for_an_indexer_and_makes_what_is_due(storage, random_model):
    """Its unfinished files would go with those of a killed run."""
    index = VideoIndex(storage, random_model, None)
    order = []

    def compact():
        index.compact()
        order.append("compacted")

    with storage.new_handle().indexing():
        working = threading.Thread(target=compact)
        working.start()
        time.sleep(1)
        order.append("indexed")
    working.join()
    assert order == ["indexed", "compacted"]
    assert unindexed(storage.update_version())["term_text"] == 0


def test_a_process_that_is_ended_leaves_word(storage, monkeypatch):
    def die(self, column):
        raise KeyboardInterrupt

    monkeypatch.setattr(IndexStorage, "index_beside_others", die)
    with pytest.raises(KeyboardInterrupt):
        background.main([storage.uri, "coarse"])
    assert "KeyboardInterrupt" in (storage.folder / FAILURE_FILE).read_text()


def test_why_indexing_failed_is_told_when_it_is_tried_again(storage, monkeypatch, caplog):
    def fail(self, column):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(IndexStorage, "index_beside_others", fail)
        background.main([storage.uri, "coarse"])
    assert (storage.folder / FAILURE_FILE).exists()
    monkeypatch.setattr(background.subprocess, "Popen", lambda *arguments, **options: NotStarted())
    background.index_in_background(storage, ["coarse"])
    assert "failed when it was tried last: OSError: No space left on device" in caplog.text
    background.main([storage.uri, "coarse"])
    assert not (storage.folder / FAILURE_FILE).exists() and unindexed(storage)["coarse"] == 0


def test_a_large_table_is_searched_before_its_vectors_are_read(storage, monkeypatch, caplog):
    monkeypatch.setattr(recall_module, "LARGE_TABLE", 1000)
    caplog.set_level(logging.INFO)
    create_coarse_index(storage.videos)
    queries = torch.nn.functional.normalize(torch.randn(20, DIM, generator=torch.manual_seed(5)), dim=1).numpy()
    exact = Recall(storage.open_table(), 1 << 30)
    with monkeypatch.context() as patch:
        patch.setattr(recall_module, "LARGE_TABLE", 10_000)
        expected = exact.nearest(queries, 10)
    go_on = threading.Event()
    read = held_vectors.HeldVectors

    def read_when_told(*arguments, **options):
        assert go_on.wait(60)
        return read(*arguments, **options)

    monkeypatch.setattr(held_vectors, "HeldVectors", read_when_told)
    recall = Recall(storage.open_table(), 1 << 30)
    found = recall.nearest(queries, 10)
    assert recall.vectors(found[0]) is None and "read in the background" in caplog.text
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, expected, strict=True)]) > 9
    go_on.set()
    deadline = time.monotonic() + 60
    while recall.vectors(found[0]) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for own, right in zip(recall.nearest(queries, 10), expected, strict=True):
        assert own.tolist() == right.tolist()


def test_vectors_that_nobody_waits_for_are_not_read_on(storage):
    class Waiting:
        def keep(self, held):
            raise AssertionError("It was not to be read.")

    waiting = Waiting()
    keep, waiting = weakref.WeakMethod(waiting.keep), None
    gc.collect()
    with pytest.raises(InterruptedError):
        held_vectors.HeldVectors(storage.videos, 1 << 30, is_over=lambda: keep() is None)
