"""`VideoIndex.add`: what is read, what is not, and what a killed run leaves."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tcd_hf.index import encoding
from tcd_hf.index import ingest as ingest_module
from tcd_hf.index.features import compute_features, stack_inputs
from tcd_hf.index.ingest import AddReport
from tcd_hf.index.schema import COARSE_COLUMN, FEATURES_COLUMN, feature_tensors
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.processing.ocr_engines import OCREngineError
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tcd_hf.reading import files as files_module
from tcd_hf.reading import video_reader
from tcd_hf.reading.cache import CacheError
from tcd_hf.reading.video_reader import OpenedVideo, VideoFile
from tcd_hf.reading.worker_pool import choose_num_workers, read_videos
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor, open_storage
from tests.tcd_hf.deadly import DeadlyReader

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make_index(tmp_path, code_reader):
    """A new index, or the one that is there: `make_index(engine=..., model=..., name=...)`."""

    def make(engine=code_reader, model=None, name="index", **options):
        return VideoIndex.create(
            tmp_path / name,
            model or make_tiny_model(),
            make_tiny_processor(engine),
            exist_ok=True,
            cache_dir=tmp_path / "cache",
            **options,
        )

    return make


@pytest.fixture
def forbid_reading(monkeypatch):
    """Call it, and from then on decoding a video is an error that is not taken for a bad file."""

    def refuse(*args, **kwargs):
        raise OCREngineError("a video was decoded")

    return lambda: monkeypatch.setattr(OpenedVideo, "read", refuse)


def contents(index):
    """All that the index stores of its videos, but for the time stamps, by path."""
    rows = open_storage(index).videos.to_arrow().drop_columns("modified").to_pylist()
    assert len({row["path"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    return {row.pop("path"): row for row in rows}


def texts(index):
    captions = zip(index.paths, index.captions, strict=True)
    return {Path(path).name: " ".join(caption.text for caption in windows).split() for path, windows in captions}


def paths_of(clips):
    return [Path(path).as_posix() for path in clips.values()]


def test_videos_are_added_once(make_index, clips, forbid_reading):
    index, seen = make_index(), []
    assert index.add(clips.values(), workers=0, on_video=seen.append) == AddReport(added=paths_of(clips))
    assert index.paths == seen == paths_of(clips)
    assert texts(index)["toys.mp4"] == ["STAR", "WARS"] and texts(index)["sea.mp4"] == []
    before = contents(index)
    forbid_reading()
    paths = [*clips.values(), clips["sea.mp4"]]
    assert make_index().add(paths, workers=0) == AddReport(unchanged=paths_of(clips))
    assert contents(make_index()) == before


def test_a_run_that_reads_in_this_process_says_so_once(make_index, clips, caplog):
    index, told = make_index(), "a bad file can end it"
    index.add(clips.values(), workers=0)
    index.refresh(clips.values(), workers=0)
    assert [told in record.getMessage() for record in caplog.records] == [True, True]
    caplog.clear()
    index.add(clips.values())
    index.add({"mine": coded_frame(1)[None]})
    assert told not in caplog.text


def test_rows_say_what_the_files_are(make_index, clips):
    index = make_index()
    index.add(clips.values(), workers=0)
    rows = contents(index)
    for path in clips.values():
        row = rows[path.as_posix()]
        assert (row["size"], row["duration"], row["fps"]) == (path.stat().st_size, 4.0, 5.0)
        assert row["has_text"] == (path.name != "sea.mp4")


def test_a_file_is_not_opened_while_its_stamp_says_it_is_the_same(make_index, clips, monkeypatch):
    monkeypatch.setattr(files_module, "SETTLING_NANOSECONDS", -1)  # as if the clips were made some time ago
    index = make_index()
    index.add(clips.values(), workers=0)
    monkeypatch.setattr(VideoFile, "of", lambda path: pytest.fail(f"{path} was opened"))
    assert index.add(clips.values(), workers=0).unchanged == paths_of(clips)


def test_a_change_that_keeps_size_and_date_is_seen(make_index, clips, monkeypatch):
    monkeypatch.setattr(files_module, "SETTLING_NANOSECONDS", -1)
    index, path = make_index(), clips["shop.mp4"]
    index.add([path], workers=0)
    status, data = path.stat(), path.read_bytes()
    time.sleep(0.02)  # a tick of the file system's clock
    path.write_bytes(clips["toys.mp4"].read_bytes()[: len(data)].ljust(len(data), b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.add([path], workers=0).unchanged == []


def test_files_touched_just_now_are_hashed_again_and_later_no_more(make_index, clips, monkeypatch):
    index, hashed = make_index(), []
    index.add(clips.values(), workers=0)
    hash_file = video_reader.hash_file
    monkeypatch.setattr(video_reader, "hash_file", lambda path, *rest: hashed.append(path) or hash_file(path, *rest))
    index.add(clips.values(), workers=0)
    assert sorted(hashed) == sorted(paths_of(clips))  # by several threads
    monkeypatch.setattr(files_module, "SETTLING_NANOSECONDS", -1)  # some time passes
    before = contents(index)
    assert index.add(clips.values(), workers=0).unchanged == paths_of(clips)
    assert len(hashed) == 2 * len(clips)
    assert index.add(clips.values(), workers=0).unchanged == paths_of(clips)
    assert len(hashed) == 2 * len(clips)
    assert contents(index) == before


def test_a_changed_file_replaces_its_row(make_index, clips):
    index, path = make_index(), clips["shop.mp4"]
    index.add(clips.values(), workers=0)
    write_clip(path, [coded_frame(code) for code in [2] * 20], fps=5)
    assert index.add(clips.values(), workers=0).replaced == [path.as_posix()]
    assert len(index) == len(clips)
    assert texts(index)["shop.mp4"] == ["DEPARTURES", "Gate", "B4"] * 4


def test_known_content_at_another_path_is_not_decoded(make_index, clips, tmp_path, forbid_reading):
    index = make_index()
    index.add(clips.values(), workers=0)
    moved = shutil.copy(clips["toys.mp4"], tmp_path / "it's moved.mp4")
    shutil.copy(clips["airport.mp4"], clips["shop.mp4"])
    forbid_reading()
    report = index.add([moved, *clips.values()], workers=0)
    assert (report.added, report.replaced) == ([str(moved)], [str(clips["shop.mp4"])])
    rows = contents(index)
    for new, old in ((str(moved), clips["toys.mp4"]), (str(clips["shop.mp4"]), clips["airport.mp4"])):
        new, old = dict(rows[new]), dict(rows[old.as_posix()])
        assert new.pop("id") != old.pop("id")
        assert new == old


def test_contents_that_change_places(make_index, clips, tmp_path):
    index = make_index()
    index.add(clips.values(), workers=0)
    before = texts(index)
    shutil.move(clips["shop.mp4"], tmp_path / "aside")
    shutil.move(clips["toys.mp4"], clips["shop.mp4"])
    shutil.move(tmp_path / "aside", clips["toys.mp4"])
    report = index.add(clips.values(), workers=0)
    assert report.replaced == [str(clips["shop.mp4"]), str(clips["toys.mp4"])]
    assert texts(index) == {**before, "shop.mp4": before["toys.mp4"], "toys.mp4": before["shop.mp4"]}


def test_equal_files_are_read_once(make_index, clips, tmp_path, code_reader):
    copies = [shutil.copy(clips["shop.mp4"], tmp_path / f"{name}.mp4") for name in "bac"]
    index = make_index()
    index.add(copies[:1], workers=0)
    read = code_reader.images_read
    other = make_index(engine=CodeReader({**code_reader.texts, 9: ["x"]}), name="other")
    assert other.add(copies, workers=0).added == list(map(str, copies))
    assert other.processor.ocr_engine.images_read == read
    assert len(set(map(str, texts(other).values()))) == 1


def test_text_is_not_read_again_for_another_model(make_index, clips, code_reader):
    make_index().add(clips.values(), workers=0)
    read = code_reader.images_read
    other = make_index(model=make_tiny_model(seed=1), name="other")
    other.add(clips.values(), workers=0)
    assert code_reader.images_read == read
    assert texts(other) == texts(make_index())


def test_what_is_finished_stays_when_a_run_is_broken_off(make_index, clips, code_reader, tmp_path):
    def interrupt(path):
        if path == str(clips["toys.mp4"]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_index().add(clips.values(), workers=0, on_video=interrupt)
    assert texts(make_index()).keys() == {"shop.mp4", "airport.mp4", "toys.mp4"}
    read = code_reader.images_read
    index = make_index()
    assert index.add(clips.values(), workers=0).added == [str(clips["sea.mp4"])]
    uninterrupted = make_index(engine=CodeReader(code_reader.texts), name="other")
    uninterrupted.add(clips.values(), workers=0)
    assert contents(index) == contents(uninterrupted)
    assert code_reader.images_read > read
    storage = open_storage(index)
    stored = storage.load_statistics()
    storage.save_statistics()  # counts
    counted = storage.load_statistics()
    np.testing.assert_array_equal(stored.document_frequency, counted.document_frequency)


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_statistics_are_those_of_the_rows_when_a_write_is_broken_off(make_index, clips, monkeypatch, write):
    index = make_index()
    index.add([clips["shop.mp4"], clips["airport.mp4"]], workers=0)
    write_clip(clips["shop.mp4"], [coded_frame(3)] * 20, fps=5)  # is replaced, and others are new
    real = getattr(IndexStorage, write)

    def write_and_interrupt(self, rows):
        real(self, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(IndexStorage, write, write_and_interrupt)
        index.add([clips["shop.mp4"] if write == "upsert" else clips["toys.mp4"]], workers=0)
    storage = open_storage(index)
    assert storage.has_statistics() and not storage.statistics_are_damaged() and index.check() == []
    assert make_index().add(clips.values(), workers=0).skipped == []
    assert texts(index)["shop.mp4"] == ["STAR", "WARS"] * 4 and index.check() == []


def test_an_error_is_told_although_another_writes_and_nobody_waits(make_index, clips):
    index, stop = make_index(), threading.Event()

    def fail(path):
        turn.enter_context(open_storage(index).writing())
        stop.set()
        raise KeyboardInterrupt

    with contextlib.ExitStack() as turn, pytest.raises(KeyboardInterrupt):
        index.add(clips.values(), workers=0, on_video=fail, stop=stop)
    assert index.add(clips.values(), workers=0).added == paths_of(clips)


@pytest.mark.parametrize("rows_per_commit", [1, 2, 3])
def test_any_rhythm_of_commits_gives_the_same_rows(make_index, clips, monkeypatch, rows_per_commit):
    whole = make_index(name="whole")
    whole.add(clips.values(), workers=1)  # in one commit
    assert open_storage(whole).videos.stats()["fragment_stats"]["num_fragments"] == 1
    monkeypatch.setattr(ingest_module, "ROWS_PER_COMMIT", rows_per_commit)
    index = make_index()
    index.add(clips.values(), workers=0)
    assert contents(index) == contents(whole)
    monkeypatch.setattr(ingest_module, "SECONDS_PER_COMMIT", 0)
    index = make_index(name="in time")
    index.add(clips.values(), workers=0)
    assert contents(index) == contents(whole)


def test_what_is_finished_is_committed_while_a_long_video_is_read(make_index, clips, tmp_path, monkeypatch):
    index = VideoIndex.create(
        f"{make_index().uri} of segments", make_tiny_model(), make_index().processor, segment_seconds=1
    )
    first, long, counts = write_clip(tmp_path / "short.mp4", [coded_frame(1)] * 5, fps=5), str(clips["toys.mp4"]), []

    def look(progress):
        if progress.path == long:
            counts.append(len(index.new_handle()))
            monkeypatch.setattr(ingest_module, "SECONDS_PER_COMMIT", 0)  # that time is over in the middle of it

    index.add([first, long], workers=1, on_progress=look)
    assert counts == [0, 1, 1, 1] and len(index) == 2 and index.check() == []


def bad_files(folder):
    folder.mkdir()
    (folder / "noise.mp4").write_bytes(b"no video at all")
    (folder / "empty.mp4").touch()
    return [str(folder / name) for name in ("noise.mp4", "empty.mp4", "missing.mp4", "\udcff.mp4", "\0.mp4")]


def test_bad_files_are_reported_and_stop_nothing(make_index, clips, tmp_path):
    bad, seen, index = bad_files(tmp_path / "bad"), [], make_index()
    report = index.add([bad[0], *clips.values(), *bad[1:]], workers=0, on_video=seen.append)
    assert [video.path for video in report.skipped] == bad
    assert report.added == paths_of(clips) and set(seen) == {*bad, *paths_of(clips)}
    for video in report.skipped:
        assert repr(video.path) in video.cause and video.cause.count("\n") == 0
    lines = (tmp_path / "index" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"path": video.path, "cause": video.cause} for video in sorted(report.skipped, key=lambda v: seen.index(v.path))
    ]
    assert index.errors == {video.path: video.cause for video in report.skipped}


def test_a_video_whose_features_cannot_be_stored_is_skipped(make_index, clips, monkeypatch):
    def compute_broken_features(model, inputs, padding_side):
        features = compute_features(model, inputs, padding_side)
        features.frame_embeds[1 % len(inputs)] = torch.nan
        return features

    index = make_index()
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "compute_features", compute_broken_features)
        report = index.add([clips["shop.mp4"]], workers=0)
    (skipped,) = report.skipped
    assert skipped.path == str(clips["shop.mp4"]) and "'feature_frame_embeds' holds numbers beyond" in skipped.cause
    assert index.errors == {skipped.path: skipped.cause} and not len(index)
    assert index.add([clips["shop.mp4"]], workers=0).added == [skipped.path] and not index.errors


def test_videos_that_are_encoded_together_have_the_rows_of_each_alone(make_index, clips, monkeypatch):
    alone, together = (make_index(name=name, feature_type="float16") for name in ("alone", "together"))
    num_inputs = []

    def compute_and_count(model, inputs, padding_side):
        num_inputs.append(len(inputs))
        return compute_features(model, inputs, padding_side)

    alone.add(clips.values(), workers=0)
    monkeypatch.setattr(encoding, "compute_features", compute_and_count)
    together.batch_size = 3
    together.add(clips.values(), workers=1)
    assert num_inputs == [3, 1]
    for path, row in contents(alone).items():
        other = contents(together)[path]
        for name in (COARSE_COLUMN, FEATURES_COLUMN):
            np.testing.assert_allclose(row.pop(name), other.pop(name), atol=1e-3)
        row.pop("checksum"), other.pop("checksum")  # of these numbers to the last digit
        assert row == other


def test_folders_stand_for_all_videos_below_them(make_index, clips, tmp_path):
    folder, index = clips["shop.mp4"].parent, make_index()
    (folder / "deeper").mkdir()
    shutil.move(clips["sea.mp4"], folder / "deeper" / "sea.mp4")
    (folder / "notes.txt").write_text("no video")
    (tmp_path / "empty").mkdir()
    report = index.add([folder, tmp_path / "empty"], workers=0)
    assert len(report.added) == 4 and report.left_out == [(str(folder / "notes.txt"), ".txt")]
    assert index.add(folder, workers=0).unchanged == index.paths
    (folder / "deeper" / "sea.mp4").unlink()
    assert index.refresh(folder, workers=0).removed == [str(folder / "deeper" / "sea.mp4")]
    (folder / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    report = index.refresh(folder, workers=0)
    assert [file.kind for file in report.left_out] == [".txt"]
    assert len(report.unchanged) == 3 and [Path(video.path).name for video in report.skipped] == ["dangling.mp4"]
    shutil.move(folder, tmp_path / "elsewhere")
    one = tmp_path / "elsewhere" / "shop.mp4"
    for place, error in (
        (folder, FileNotFoundError),
        ([folder, one], FileNotFoundError),
        (tmp_path / "empty", ValueError),
    ):
        with pytest.raises(error, match=r"(No such file or folder.*|No video found)\. Nothing was removed"):
            index.refresh(place, workers=0)
    assert len(index) == 3
    assert len(index.refresh(tmp_path / "elsewhere", workers=0).removed) == 3


def test_what_a_run_left_undone_that_was_killed_at_its_end_is_made_good(make_index, clips, monkeypatch):
    def die(self):
        raise KeyboardInterrupt

    index = make_index()
    monkeypatch.setattr(ingest_module, "ROWS_PER_COMMIT", 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ingest_module.Ingest, "finish", die)
        index.add(clips.values(), workers=0)
    storage = open_storage(index)
    assert storage.videos.index_stats("term_text_idx").num_unindexed_rows == 4
    assert storage.has_statistics()  # with every commit: other processes need not count
    storage.videos.delete("path LIKE '%sea.mp4'")  # as a kill before that would leave it: another version
    assert not storage.has_statistics()
    assert len(index.add(list(clips.values())[:2], workers=0).unchanged) == 2
    storage = open_storage(index)
    assert storage.videos.index_stats("term_text_idx").num_unindexed_rows == 0
    assert storage.has_statistics() and storage.load_statistics().num_rows == 3


def test_a_progress_bar_is_for_terminals_and_for_those_without_one_of_their_own(make_index, clips, capsys, monkeypatch):
    index = make_index()
    index.add([clips["shop.mp4"]], workers=0)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    index.add([clips["sea.mp4"]], workers=0, on_video=lambda path: None)
    assert capsys.readouterr() == ("", "")
    index.add(clips.values(), workers=0)
    assert "Indexing: 100%" in (shown := capsys.readouterr().err) and "4/4 files" in shown
    assert "of video" in shown and "x real time" in shown and "left" in shown


def test_a_file_that_is_fine_again_is_no_longer_in_the_list_of_errors(make_index, clips, tmp_path):
    bad, index = bad_files(tmp_path / "bad"), make_index()
    index.add(bad[:2], workers=0)
    shutil.copy(clips["shop.mp4"], bad[1])
    assert index.add(bad[1:2], workers=0).added == bad[1:2]
    assert list(index.errors) == bad[:1]  # not asked about this time, so still as it was
    assert not list((tmp_path / "index").glob("errors.jsonl?*"))


def test_a_row_stays_when_its_file_turns_bad(make_index, clips):
    index = make_index()
    index.add(clips.values(), workers=0)
    clips["shop.mp4"].write_bytes(b"half written")
    (skipped,) = index.add(clips.values(), workers=0).skipped
    assert skipped.path == str(clips["shop.mp4"]) and len(index) == len(clips)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("odd"), MemoryError("much")])
def test_whatever_a_reader_raises_the_others_are_read(make_index, clips, monkeypatch, error):
    read = WindowOCRCaptioner.read

    def read_or_fail(self, video, *args, **options):
        if video.name == str(clips["shop.mp4"]):
            raise error
        return read(self, video, *args, **options)

    monkeypatch.setattr(WindowOCRCaptioner, "read", read_or_fail)
    report = make_index().add(clips.values(), workers=0)
    assert [video.path for video in report.skipped] == [str(clips["shop.mp4"])]
    assert (getattr(error, "strerror", None) or str(error)) in report.skipped[0].cause
    assert len(report.added) == len(clips) - 1


def test_a_file_that_changes_while_it_is_read_is_left_for_later(make_index, clips, monkeypatch, tmp_path):
    read, path = WindowOCRCaptioner.read, clips["shop.mp4"]

    def read_and_append(self, video, *args, **options):
        with open(path, "ab") as file:
            file.write(b"more")
        return read(self, video, *args, **options)

    monkeypatch.setattr(WindowOCRCaptioner, "read", read_and_append)
    (skipped,) = make_index().add([path], workers=0).skipped
    assert "changed while it was read" in skipped.cause
    assert not (tmp_path / "cache").exists()


def test_what_no_video_is_to_blame_for_ends_the_run(make_index, clips, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CacheError, match="cannot be written"):
        make_index().add(clips.values(), workers=0)
    (tmp_path / "cache").unlink()

    def engine(images):
        raise OCREngineError("its weights are missing")

    with pytest.raises(OCREngineError, match="weights"):
        make_index(engine, name="other").add(clips.values(), workers=0)
    with pytest.raises(ValueError, match=r"workers must be 0 .* got -1"):
        make_index().add(clips.values(), workers=-1)


def test_captions_of_another_number_of_windows_are_read_again(make_index, clips, tmp_path):
    make_index().add([clips["shop.mp4"]], workers=0)
    (entry,) = (path for path in (tmp_path / "cache").rglob("*.json"))
    stored = json.loads(entry.read_bytes())
    entry.write_text(json.dumps(stored[:1]))
    other = make_index(name="other")
    assert len(other.add([clips["shop.mp4"]], workers=0).added) == 1
    assert json.loads(entry.read_bytes()) == stored


def test_nothing_is_written_beside_the_videos(make_index, clips, tmp_path):
    before = sorted((tmp_path / "videos").iterdir())
    make_index().add(clips.values(), workers=0)
    assert sorted((tmp_path / "videos").iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "cache", "index"}


def test_processes_are_for_many_files_on_several_cores_and_there_is_always_one(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert [choose_num_workers(count) for count in (0, 1, 7, 8, 20, 1000)] == [1, 1, 1, 4, 10, 16]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert choose_num_workers(1000) == 1


def test_in_this_process_a_file_is_taken_when_its_video_is_asked_for():
    taken = []
    files = (taken.append(name) or name for name in "abc")
    videos = read_videos(lambda name: iter([name + "1", name + "2"]), files, num_workers=0)
    assert [next(videos), next(videos)] == ["a1", "a2"] and taken == ["a"]


@pytest.mark.workers
def test_by_default_a_bad_file_costs_no_other_its_rows(make_index, clips):
    """`sea.mp4` ends the process that reads it, `toys.mp4` gives nothing more."""
    engine = DeadlyReader(aborts_at=64, hangs_at=32)
    index = make_index(engine)
    report = index.add(clips.values(), stall_seconds=20.0)
    causes = {Path(video.path).name: video.cause for video in report.skipped}
    assert causes.keys() == {"sea.mp4", "toys.mp4"} and len(report.added) == len(index) == 2
    assert "the process that read it died (SIGABRT)" in causes["sea.mp4"]
    assert "neither a frame nor a text" in causes["toys.mp4"] and index.errors.keys() == {
        v.path for v in report.skipped
    }
    here = make_index(engine, name="here")
    here.add([clips["shop.mp4"], clips["airport.mp4"]], workers=0)
    assert contents(index) == contents(here)  # whoever makes the inputs


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_seconds_that_are_none(make_index, clips, seconds):
    with pytest.raises(ValueError, match="stall_seconds must be above 0"):
        make_index().add(clips.values(), stall_seconds=seconds)


def test_a_run_is_stopped_from_another_thread(make_index, clips):
    stop, index = threading.Event(), make_index()
    report = index.add(clips.values(), workers=0, on_video=lambda path: stop.set(), stop=stop)
    assert report == AddReport(added=paths_of(clips)[:1]) and len(index) == 1
    assert index.add(clips.values(), workers=0).added == paths_of(clips)[1:]


ABORTED_RUN = """
    import os, sys
    from tcd_hf.index.video_index import VideoIndex
    from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
    from tests.tcd_hf.deadly import DeadlyReader

    folder, batch_size, *paths = sys.argv[1:]
    processor = make_tiny_processor(DeadlyReader(aborts_at=64))
    options = {"cache_dir": folder + "/cache", "batch_size": int(batch_size)}
    index = VideoIndex.create(folder + "/index", make_tiny_model(), processor, **options)
    index.add(paths, workers=0)
"""


@pytest.mark.parametrize("batch_size", [1, 8])
def test_where_nothing_protects_the_process_what_was_finished_is_there_when_it_dies(
    make_index, clips, tmp_path, batch_size
):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(ABORTED_RUN))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    paths = [clips[f"{name}.mp4"] for name in ("shop", "toys", "sea", "airport")]
    command = [sys.executable, script, tmp_path, batch_size, *paths]
    run = subprocess.run(list(map(str, command)), env=environment, stderr=subprocess.PIPE, timeout=120)
    assert run.returncode == -signal.SIGABRT, run.stderr
    index = make_index(DeadlyReader(aborts_at=64))
    assert texts(index) == {"shop.mp4": ["code", "8"] * 2 + ["code", "1"] * 2, "toys.mp4": texts(index)["toys.mp4"]}
    report = index.add([path for name, path in clips.items() if name != "sea.mp4"], workers=0)
    assert len(report.unchanged) == 2 and report.added == [str(clips["airport.mp4"])]
    storage = open_storage(index)
    assert storage.has_statistics() and not storage.statistics_are_damaged()


def test_two_that_add_side_by_side_keep_each_video_once(make_index, clips, tmp_path):
    """Both read all of it before either commits; the first is given texts for one, the second is not."""
    both_read = threading.Barrier(2)

    def wait_for_the_other(path):
        if path == paths_of(clips)[-1]:
            both_read.wait(60)

    first = make_index()
    second = first.new_handle()
    own = {clips["sea.mp4"]: [(0.0, 1.0, "the open sea")]}
    reports = {}

    def add(name, index, **options):
        options |= {"workers": 1, "alongside": True, "on_video": wait_for_the_other}
        reports[name] = index.add(clips.values(), **options)

    threads = [
        threading.Thread(target=add, args=("first", first), kwargs={"texts": own}),
        threading.Thread(target=add, args=("second", second)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    shared = paths_of(clips)[:-1]
    added, unchanged = (
        [path for report in reports.values() for path in getattr(report, group)] for group in ("added", "unchanged")
    )
    assert sorted(path for path in added if path in shared) == sorted(shared)
    assert sorted(path for path in unchanged if path in shared) == sorted(shared)
    index = make_index()
    assert texts(index)["sea.mp4"] == ["the", "open", "sea"]  # whoever came first
    assert contents(index).keys() == set(paths_of(clips)) and len(index) == 4
    storage = open_storage(index)
    assert storage.has_statistics() and not storage.statistics_are_damaged()


def test_one_who_adds_waits_for_another_unless_told_to_read_alongside(make_index, clips, code_reader):
    first, told, begun, go_on = make_index(), [], threading.Event(), threading.Event()
    second = first.new_handle()

    def hold(path):
        begun.set()
        assert go_on.wait(60)

    def note(message):
        told.append(message)
        go_on.set()

    holder = threading.Thread(target=first.add, args=(clips.values(),), kwargs={"workers": 0, "on_video": hold})
    holder.start()
    assert begun.wait(60)
    stopped = threading.Event()
    stopped.set()
    assert second.add(clips["sea.mp4"], workers=0, stop=stopped) == AddReport()  # it does not wait, and reads nothing
    assert second.add(clips["sea.mp4"], workers=0, alongside=True, on_wait=told.append).added
    assert told == []
    assert second.add(clips.values(), workers=0, on_wait=note).unchanged == paths_of(clips)  # nothing is read twice
    holder.join(60)
    assert told[-1] is None and f"(process {os.getpid()} on " in told[0] and "is adding videos to the index" in told[0]


def test_hashing_is_cancelled_in_the_middle_of_a_file(make_index, tmp_path, monkeypatch):
    """Of a file that takes hours no more is read than a megabyte; the same goes for those that are hashed ahead."""
    index, stop, read = make_index(), threading.Event(), []
    update = files_module.beat

    def stop_at_the_third():
        update()
        read.append(1)
        if len(read) == 3:
            stop.set()

    monkeypatch.setattr(files_module, "beat", stop_at_the_third)
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(b"\0" * 50_000_000)
    report = index.add([tmp_path / f"{name}.mp4" for name in "abc"], workers=0, stop=stop)
    assert report == AddReport() and len(read) < 10 and index.errors == {}


@pytest.mark.slow
def test_workers_that_somebody_kills_change_no_row(tmp_path, make_index):
    """`kill -9` of a worker, ten times at random moments: every file is in, with the captions and features it has."""
    chance = random.Random(0)
    paths = [write_clip(tmp_path / f"{n}.mp4", [coded_frame(n % 8)] * 20, fps=5) for n in range(1, 41)]
    texts = {1: ["TESCO express"], 2: ["Gate B4"], 3: ["STAR WARS"]}
    whole, index = (make_index(SlowReader(texts), name=name, feature_type="float16") for name in ("whole", "index"))
    whole.add(paths, workers=0)
    shutil.rmtree(tmp_path / "cache")
    done, killed = threading.Event(), []

    def kill():
        while len(killed) < 10 and not done.wait(chance.uniform(0.1, 2.0)):
            if workers := children_of(os.getpid()):
                killed.append(chance.choice(workers))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    report = index.add(paths, workers=2)
    done.set()
    killer.join()
    assert len(killed) == 10 and len(report.added) == 40 and not report.skipped
    for path, row in contents(whole).items():
        other = contents(index)[path]
        for name in (COARSE_COLUMN, FEATURES_COLUMN):
            np.testing.assert_allclose(row.pop(name), other.pop(name), atol=1e-3)
        row.pop("checksum"), other.pop("checksum")  # of these numbers to the last digit
        assert row == other


class SlowReader(CodeReader):
    """Takes its time, as an engine does that reads."""

    def __call__(self, images):
        time.sleep(0.3)
        return super().__call__(images)


def children_of(process: int) -> list[int]:
    """Python processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = status.read_text().rpartition(")")
            if int(fields.split()[1]) == process and fields.split()[0] != "Z" and "python" in name:
                found.append(int(status.parent.name))
    return found


@pytest.mark.slow
def test_processes_read_the_same_and_one_that_dies_takes_no_other_video_with_it(
    make_index, clips, tmp_path, code_reader
):
    extra = {
        f"{name}.mp4": write_clip(tmp_path / "videos" / f"{name}.mp4", [coded_frame(code)] * 20, fps=5)
        for name, code in {"more": 5, "deadly": 128, "failing": 256, "last": 1}.items()
    }
    paths = [*list(clips.values())[:2], extra["deadly.mp4"], *list(clips.values())[2:], *extra.values()]
    engine = DeadlyReader(aborts_at=128, fails_at=256, texts=code_reader.texts)
    index, seen = make_index(engine), []
    report = index.add([*paths, tmp_path / "missing.mp4"], workers=2, on_video=seen.append)
    causes = {Path(video.path).name: video.cause for video in report.skipped}
    assert causes.keys() == {"deadly.mp4", "failing.mp4", "missing.mp4"}
    assert "process that read it died" in causes["deadly.mp4"] and "cannot read this" in causes["failing.mp4"]
    assert len(seen) == len(set(seen)) == len(clips) + len(extra) + 1
    alone = make_index(name="alone")
    alone.add([*clips.values(), extra["more.mp4"], extra["last.mp4"]], workers=0)
    assert contents(index) == contents(alone)


KILLED_RUN = """
    import sys
    from tcd_hf.index import ingest
    from tcd_hf.index.video_index import VideoIndex
    from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

    class OwnReader(CodeReader):  # a class of a script reaches the processes too
        pass

    ingest.ROWS_PER_COMMIT = 2
    folder, workers, *paths = sys.argv[1:]
    engine = OwnReader({1: ["TESCO express"], 2: ["Gate B4"], 3: ["STAR WARS"]})
    index = VideoIndex.create(
        folder + "/index", make_tiny_model(), make_tiny_processor(engine), exist_ok=True, cache_dir=folder + "/cache"
    )
    print("begin", flush=True)
    report = index.add(paths, workers=int(workers), on_video=lambda path: print(path, flush=True))
    print("end", len(report.added), len(report.unchanged), len(index), flush=True)
"""  # without `if __name__ == "__main__"`: it must not be needed


def run_script(folder, workers, paths, kill_after=None, before_kill=lambda: None):
    """Runs the script; kills it, by a signal that cannot be caught, once it has printed so many lines."""
    script = folder / "run.py"
    script.write_text(textwrap.dedent(KILLED_RUN))
    command = [sys.executable, script, folder, str(workers), *paths]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TCD_HF_TEST": str(folder)}
    lines = []
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            lines.append(line.strip())
            if len(lines) == kill_after:
                before_kill()
                os.kill(process.pid, signal.SIGKILL)
                break
    return lines


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(0, (1, 4, 5)), (2, (3,))])
def test_killed_runs_add_up_to_the_whole(tmp_path, make_index, workers, kills):
    paths = [write_clip(tmp_path / f"{n}.mp4", [coded_frame(n % 8)] * 20, fps=5) for n in range(1, 10)]
    paths.append(shutil.copy(paths[0], tmp_path / "copy.mp4"))
    for kill_after in kills:
        assert not run_script(tmp_path, workers, paths, kill_after)[-1].startswith("end")
    *_, last = run_script(tmp_path, workers, paths)
    end, added, unchanged, total = last.split()
    assert end == "end" and int(added) + int(unchanged) == int(total) == len(paths)
    assert workers or int(unchanged) >= 2  # what was committed before is not read again
    whole = make_index(CodeReader({1: ["TESCO express"], 2: ["Gate B4"], 3: ["STAR WARS"]}), name="whole")
    whole.add(paths, workers=0)

    from lancedb import connect

    rows = connect(tmp_path / "index").open_table("videos").to_arrow().drop_columns("modified").to_pylist()
    assert len(rows) == len(paths)
    assert {row.pop("path"): row for row in rows} == contents(whole)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_processes_end_with_the_one_that_was_killed(tmp_path):
    def processes():
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"TCD_HF_TEST={tmp_path}".encode() in (process / "environ").read_bytes():
                    found.append(process)
        return found

    paths = [write_clip(tmp_path / f"{n}.mp4", [coded_frame(n)] * 20, fps=5) for n in range(1, 10)]
    before = []
    run_script(tmp_path, 2, paths, kill_after=3, before_kill=lambda: before.extend(processes()))
    assert len(before) >= 3  # itself and its two workers
    deadline = time.monotonic() + 30
    while processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert processes() == []


def test_captions_of_a_batch_are_padded_on_the_side_of_the_tokenizer():
    captions = [np.array([[[1, 2, 3]]]), np.array([[[4]]])]
    assert stack_inputs(captions, "right").tolist() == [[[1, 2, 3]], [[4, 0, 0]]]
    assert stack_inputs(captions, "left").tolist() == [[[1, 2, 3]], [[0, 0, 4]]]


def test_a_batch_of_videos_has_the_features_of_each_alone(random_model, make_inputs):
    inputs = {name: value.numpy() for name, value in make_inputs(num_videos=3).items()}
    del inputs["input_ids"], inputs["attention_mask"]
    videos = [{name: value[row : row + 1] for name, value in inputs.items()} for row in range(3)]
    for video in videos:  # its longest caption decides how far its captions are padded
        length = video["ocr_attention_mask"].sum(axis=-1).max()
        for name in ("ocr_input_ids", "ocr_attention_mask"):
            video[name] = video[name][..., :length]
    assert len({video["ocr_input_ids"].shape for video in videos}) > 1
    together = feature_tensors(compute_features(random_model, videos))
    alone = [feature_tensors(compute_features(random_model, [video])) for video in videos]
    for name, rows in together.items():
        np.testing.assert_allclose(rows.float(), np.concatenate([each[name].float() for each in alone]), atol=2e-3)
