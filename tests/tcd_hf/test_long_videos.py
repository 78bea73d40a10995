"""Videos of several segments in an index: in or not in, counted as files, found at the right second."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tcd_hf.index import encoding
from tcd_hf.index import ingest as ingest_module
from tcd_hf.index.progress import VideoProgress
from tcd_hf.index.schema import IndexMismatchError, checksums, row_id, table_schema, video_id
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.integrations.videos import process_video
from tcd_hf.modeling.modeling_tcd import TCDModel
from tests.tcd_hf.conftest import (
    NUM_FRAMES,
    assert_statistics_are_those_of_a_recount,
    make_tiny_model,
    make_tiny_processor,
    open_storage,
)
from tests.tcd_hf.long_clips import WatchedReader, write_codes, write_sparse

ROOT = Path(__file__).parents[2]
TEXTS = {3: ["WAY OUT"], 5: ["platform seven"], 9: ["no smoking"], 17: ["platform nine"], 33: ["lost property"]}
BLANK = 64  # a code that stands for no text
STEP = 0.5  # seconds between two looks at a video


@pytest.fixture
def engine():
    return WatchedReader(TEXTS)


@pytest.fixture
def make_index(tmp_path, engine):
    def make(name="index", engine=engine, segment_seconds=4.0, cache="cache", **options):
        options = {"exist_ok": True, "cache_dir": tmp_path / cache, "segment_seconds": segment_seconds, **options}
        options["feature_type"] = "float16"  # to be compared
        return VideoIndex.create(tmp_path / name, make_tiny_model(), make_tiny_processor(engine), **options)

    return make


@pytest.fixture
def station(tmp_path):
    """20 s: five segments of 4 s, or one."""
    return write_codes(tmp_path / "station.mp4", *((code, 4) for code in TEXTS))


@pytest.fixture
def hall(tmp_path):
    return write_codes(tmp_path / "hall.mp4", (BLANK, 4), (33, 4))


def contents(index):
    """All rows but for the time stamps, by path and segment."""
    rows = index.read(table_schema(index.metadata).names).drop_columns("modified").to_pylist()
    by_place = {(row["path"], row["segment"]): row for row in rows}
    assert len(by_place) == len({row["id"] for row in rows}) == len(rows)
    return by_place


def assert_same_contents(index, expected):
    ours, theirs = contents(index), contents(expected)
    assert ours.keys() == theirs.keys()
    for place, row in ours.items():
        other = theirs[place]
        for name in ("coarse", "features"):
            np.testing.assert_allclose(row.pop(name), other.pop(name), atol=1e-3)
        assert row.pop("checksum") and other.pop("checksum")  # of these numbers, to the last digit
        assert len(row.pop("caption_vectors")) == len(other.pop("caption_vectors"))  # likewise
        assert row == other


def stored_rows(index):
    """The rows as they lie in the table, captions too."""
    return open_storage(index).videos.to_arrow()


class TestRows:
    def test_a_row_is_a_segment(self, make_index, station):
        index = make_index()
        assert index.add([station], workers=0).added == [str(station)]
        rows = index.read(["id", "path", "segment", "start", "end", "duration", "has_text", "caption_text"]).to_pylist()
        assert rows == [
            {
                "id": row_id(str(station), number),
                "path": str(station),
                "segment": number,
                "start": pytest.approx(4.0 * number),
                "end": pytest.approx(4.0 * number + 4),
                "duration": pytest.approx(20.0),
                "has_text": True,
                "caption_text": TEXTS[code][0],
            }
            for number, code in enumerate(TEXTS)
        ]
        assert [row["id"] for row in rows[:2]] == [video_id(str(station)), f"{video_id(str(station))}-1"]

    def test_a_segment_has_the_row_of_a_file_of_its_own(self, make_index, station, tmp_path):
        index = make_index()
        alone = write_codes(tmp_path / "alone.mp4", (9, 4))
        index.add([station, alone], workers=0)
        rows = contents(index)
        within, own = rows[str(station), 2], rows[str(alone), 0]
        for name in ("coarse", "features"):
            np.testing.assert_allclose(within[name], own[name], atol=0.05)  # pictures of two encodings
        for name in ("texts", "term_text", "caption_text", "has_text"):
            assert within[name] == own[name]

    def test_what_counts_counts_files(self, make_index, station, hall):
        index = make_index()
        index.add([station, hall], workers=0)
        assert len(index) == 2 and repr(index).endswith("2 videos)")
        assert index.paths == [str(station), str(hall)]
        captions = index.captions
        assert [len(windows) for windows in captions] == [5 * NUM_FRAMES, 2 * NUM_FRAMES]
        assert [caption.text for caption in captions[1]] == [""] * NUM_FRAMES + ["lost property"] * NUM_FRAMES
        starts = [caption.start for caption in captions[0]]
        assert starts == pytest.approx(np.arange(20.0).tolist())
        stats = index.stats()
        assert (stats.videos, stats.videos_with_text, stats.segments) == (2, 2, 7)
        assert (stats.seconds_of_video, stats.segment_seconds) == (pytest.approx(28.0), 4.0)
        scores = index.score(["way out", "lost property"])
        assert scores.score.shape == scores.lexical.shape == scores.text_ocr.shape == (2, 2)
        assert scores.lexical[0, 0] > 0.5 > scores.lexical[0, 1]
        dataset = index.export_dataset()
        assert dataset["segment"][:] == [0, 1, 2, 3, 4, 0, 1]
        assert dataset["start"][:] == pytest.approx([0, 4, 8, 12, 16, 0, 4])

    def test_the_score_of_a_video_is_that_of_its_best_segment(self, make_index, station, hall):
        index = make_index()
        index.add([hall, station], workers=0)
        queries = ["way out", "platform nine", "lost property"]
        scores = index.score(queries)
        for row, query in enumerate(queries):
            for hit in index.search(query, mode="full"):
                column = index.paths.index(hit.path)
                assert hit.score == pytest.approx(scores.score[row, column], abs=1e-5)
                assert hit.lexical == pytest.approx(scores.lexical[row, column], abs=1e-5)
                for part in ("text_video", "text_ocr", "text_hybrid"):
                    assert getattr(hit, part) == pytest.approx(getattr(scores, part)[row, column], abs=1e-5)

    def test_the_door_to_segments(self, make_index, station, hall):
        index = make_index()
        index.add([station, hall], workers=0)
        late = index.read(["path", "segment"], where='"start" >= 12')
        assert late.to_pylist() == [{"path": str(station), "segment": number} for number in (3, 4)]
        assert VideoIndex.open(index.uri).read(["start"]).num_rows == 7

    def test_checksums_are_those_of_the_rows_as_they_come_back(self, make_index, station, hall):
        index = make_index()
        index.add([station, hall], workers=0)
        index.remove(hall)
        index.add(hall, workers=0)
        index.compact()
        rows = stored_rows(index)
        assert checksums(rows) == rows["checksum"].to_pylist()
        assert len(set(checksums(rows))) == len(rows)
        pieces = pa.concat_tables([rows.slice(3), rows.slice(0, 3)])
        assert checksums(pieces) == pieces["checksum"].to_pylist()

    @pytest.mark.parametrize(
        ("column", "change"),
        [
            ("features", lambda value: [*value[:-1], value[-1] + 0.5]),
            ("coarse", lambda value: [-value[0], *value[1:]]),
            ("texts", lambda value: value.replace("out", "in")),
            ("start", lambda value: value + 1e-6),
            ("segment", lambda value: value + 1),
            ("content_hash", lambda value: value[::-1]),
            ("captions", lambda value: value[:-1] + bytes([value[-1] ^ 1])),
        ],
    )
    def test_a_checksum_shows_what_was_changed(self, make_index, station, column, change):
        index = make_index()
        index.add([station], workers=0)
        rows = stored_rows(index)
        values = rows[column].to_pylist()
        field = rows.schema.field(column)
        changed = pa.array([change(values[0]), *values[1:]], field.type)
        after = checksums(rows.set_column(rows.schema.get_field_index(column), field, changed))
        assert after[0] != rows["checksum"][0].as_py() and after[1:] == rows["checksum"].to_pylist()[1:]

    def test_moving_a_file_keeps_its_checksums(self, make_index, station, tmp_path):
        index = make_index()
        index.add([station], workers=0)
        moved = shutil.copy(station, tmp_path / "moved.mp4")
        index.add([moved], workers=0)
        rows = index.read(["path", "checksum"]).to_pylist()
        ours, theirs = ([row["checksum"] for row in rows if row["path"] == str(path)] for path in (station, moved))
        assert ours == theirs and len(ours) == 5


class TestLengthOfSegments:
    def test_is_kept_and_another_refused(self, make_index, station):
        make_index(segment_seconds=5).add([station], workers=0)
        index = make_index(segment_seconds=None)
        assert index.metadata.segment_seconds == 5.0 and index.stats().segments == 4
        assert make_index(segment_seconds=5.0).metadata == index.metadata
        with pytest.raises(IndexMismatchError, match=r"segments of at most 5 s, not 30 s\. Leave segment_seconds out"):
            make_index(segment_seconds=30)
        with pytest.raises(ValueError, match=r"at least 1, got 0\.5"):
            make_index("other", segment_seconds=0.5)

    def test_is_30_seconds_by_default(self, make_index, tmp_path):
        index = make_index(segment_seconds=None)
        assert index.metadata.segment_seconds == 30.0
        index.add([write_codes(tmp_path / "a.mp4", (3, 30)), write_codes(tmp_path / "b.mp4", (3, 31))], workers=0)
        rows = index.read(["path", "start", "end"]).to_pylist()
        assert [(Path(row["path"]).name, row["start"], row["end"]) for row in rows] == [
            ("a.mp4", 0.0, pytest.approx(30.0)),
            ("b.mp4", 0.0, pytest.approx(15.5)),
            ("b.mp4", pytest.approx(15.5), pytest.approx(31.0)),
        ]

    def test_only_an_index_cuts(self, engine, tmp_path):
        """40 s: one video of 12 windows elsewhere, as in the papers, and two segments of 12 in an index."""
        clip = write_codes(tmp_path / "clip.mp4", (3, 20), (5, 20))
        processor = make_tiny_processor(engine)
        processor.num_frames = 12
        (captions,) = processor.caption(str(clip))
        assert [caption.text for caption in captions] == ["WAY OUT"] * 6 + ["platform seven"] * 6
        assert [caption.start for caption in captions] == pytest.approx([i * 40 / 12 for i in range(12)])
        inputs, others = processor(videos=[str(clip)]), process_video(processor, clip)
        assert inputs["pixel_values_videos"].shape[:2] == (1, 12) and inputs["ocr_mask"].shape == (1, 12)
        assert inputs.keys() == others.keys()
        for name in inputs:
            torch.testing.assert_close(inputs[name], others[name])
        config = make_tiny_model().config
        config.num_frames = 12
        model = TCDModel(config).eval()
        index = VideoIndex.create(tmp_path / "index", model, processor, cache_dir=tmp_path / "cache")
        index.add([clip], workers=0)
        assert index.stats().segments == 2 and [len(windows) for windows in index.captions] == [24]
        assert index.read(["caption_text"])["caption_text"].to_pylist() == ["WAY OUT", "platform seven"]

    def test_an_index_of_version_1_is_refused(self, make_index, tmp_path):
        import lancedb

        index = make_index()
        schema = table_schema(index.metadata)
        values = {**json.loads(schema.metadata[b"tcd_hf"]), "schema_version": 1}
        values.pop("segment_seconds")
        older = schema.with_metadata({b"tcd_hf": json.dumps(values).encode()})
        lancedb.connect(tmp_path / "older").create_table("videos", schema=older)
        for refuse in (lambda: VideoIndex.open(tmp_path / "older"), lambda: make_index("older")):
            with pytest.raises(IndexMismatchError, match=r"schema version 1, and .*reads version 3\. Make it anew"):
                refuse()


class TestAFileIsInOrIsNot:
    def test_nothing_of_a_file_that_was_broken_off(self, make_index, engine, station, hall, monkeypatch):
        monkeypatch.setattr(ingest_module, "ROWS_PER_COMMIT", 1)

        def interrupt(code):
            if code == 17:
                raise KeyboardInterrupt

        engine.on_code = interrupt
        with pytest.raises(KeyboardInterrupt):
            make_index().add([hall, station], workers=0)
        index = make_index(engine=(again := WatchedReader(TEXTS)))
        assert index.paths == [str(hall)] and index.stats().segments == 2
        assert_statistics_are_those_of_a_recount(index)
        index.add([hall, station], workers=0)
        assert set(again.codes) == {17, 33}  # the segments before are in the cache
        whole = make_index("whole", cache="other cache")
        engine.on_code = lambda code: None
        whole.add([hall, station], workers=0)
        assert_same_contents(index, whole)

    def test_nothing_of_a_file_with_a_bad_segment(self, make_index, engine, station, hall):
        def fail(code):
            if code == 9:
                raise ValueError("cannot read this")

        engine.on_code = fail
        index = make_index()
        report = index.add([station, hall], workers=0)
        assert report.added == index.paths == [str(hall)]
        assert [video.path for video in report.skipped] == [str(station)]
        assert "cannot read this" in index.errors[str(station)]
        assert len(index.read(["id"])) == 2

    def test_nothing_of_a_file_with_a_segment_that_cannot_be_stored(self, make_index, station, hall, monkeypatch):
        compute, calls = encoding.compute_features, []

        def compute_broken_features(model, inputs, padding_side):
            features = compute(model, inputs, padding_side)
            calls.append(len(inputs))
            if len(calls) == 3:
                features.frame_embeds[0] = torch.nan
            return features

        monkeypatch.setattr(encoding, "compute_features", compute_broken_features)
        index = make_index()
        report = index.add([station, hall], workers=0)
        assert (report.added, [video.path for video in report.skipped]) == ([str(hall)], [str(station)])
        assert index.paths == [str(hall)] and len(index.read(["id"])) == 2

    def test_nothing_is_in_until_all_of_it_is(self, make_index, station, hall, monkeypatch):
        monkeypatch.setattr(ingest_module, "ROWS_PER_COMMIT", 1)
        index, seen = make_index(), []
        reader = VideoIndex.open(index.uri)
        index.add([station, hall], workers=0, on_progress=lambda progress: seen.append(reader.stats().segments))
        assert seen == [0] * 5 + [5] * 2 and reader.stats().segments == 7

    def test_segments_of_files_that_are_encoded_together(self, make_index, station, hall):
        alone, together = make_index("alone"), make_index("together")
        alone.add([station, hall], workers=0)
        together.batch_size = 3
        together.add([station, hall], workers=0)
        assert_same_contents(together, alone)

    def test_progress_moves_inside_a_file(self, make_index, station, hall):
        seen, done = [], []
        make_index().add([station, hall], workers=0, on_video=done.append, on_progress=seen.append)
        size = station.stat().st_size
        assert seen[:5] == [VideoProgress(str(station), pytest.approx(4.0 * n), 20.0, size) for n in range(1, 6)]
        assert [progress.seconds for progress in seen[5:]] == pytest.approx([4.0, 8.0])
        assert done == [str(station), str(hall)]


class TestChanges:
    def test_a_file_that_became_shorter_leaves_no_rows(self, make_index, station, hall):
        index = make_index()
        index.add([station, hall], workers=0)
        index.search("way out")
        write_codes(station, (5, 8))
        assert index.add([station, hall], workers=0).replaced == [str(station)]
        assert sorted(contents(index)) == sorted([(str(station), 0), (str(station), 1), (str(hall), 0), (str(hall), 1)])
        assert_statistics_are_those_of_a_recount(index)
        assert index.search("no smoking", mode="lexical", where="has_text") == [] or not any(
            hit.evidence for hit in index.search("no smoking")
        )
        write_codes(station, *((code, 4) for code in TEXTS))
        index.add([station], workers=0)
        assert index.stats().segments == 7
        assert_statistics_are_those_of_a_recount(index)

    def test_copies_have_all_rows(self, make_index, engine, station, tmp_path):
        index = make_index()
        index.add([station], workers=0)
        read = len(engine.codes)
        copies = [str(shutil.copy(station, tmp_path / f"{name}.mp4")) for name in ("b", "it's a")]
        assert index.add([*copies, station], workers=0).added == copies
        assert len(engine.codes) == read and len(index) == 3 and index.stats().segments == 15
        rows = contents(index)
        for copy in copies:
            for number in range(5):
                ours, theirs = dict(rows[copy, number]), dict(rows[str(station), number])
                assert ours.pop("id") == row_id(copy, number) != theirs.pop("id")
                assert (ours.pop("path"), theirs.pop("path")) == (copy, str(station))
                assert ours == theirs
        assert_statistics_are_those_of_a_recount(index)

    def test_a_copy_over_a_longer_file(self, make_index, station, hall):
        index = make_index()
        index.add([station, hall], workers=0)
        shutil.copy(hall, station)
        assert index.add([station], workers=0).replaced == [str(station)]
        assert index.stats().segments == 4 and index.captions[0] == index.captions[1]
        assert_statistics_are_those_of_a_recount(index)

    def test_remove_and_refresh(self, make_index, station, hall, tmp_path):
        index = make_index()
        index.add([station, hall], workers=0)
        assert index.remove([station]) == 1
        assert index.paths == [str(hall)] and index.stats().segments == 2
        assert_statistics_are_those_of_a_recount(index)
        moved = str(shutil.move(hall, tmp_path / "moved.mp4"))
        report = index.refresh([moved, station], workers=0)
        assert (report.added, report.removed) == ([moved, str(station)], [str(hall)])
        assert len(index) == 2 and index.stats().segments == 7
        assert_statistics_are_those_of_a_recount(index)

    def test_a_file_that_was_only_touched_gets_new_stamps_in_all_rows(self, make_index, station, monkeypatch):
        from tcd_hf.reading import files

        monkeypatch.setattr(files, "SETTLING_NANOSECONDS", -1)
        index = make_index()
        index.add([station], workers=0)
        os.utime(station)
        assert index.add([station], workers=0).unchanged == [str(station)]
        stamps = index.read(["modified"])["modified"].to_pylist()
        assert stamps == [files.file_stamp(station).modified] * 5


class TestAClockThatLies:
    def test_thirty_years_of_thirty_frames_cost_thirty_frames(self, make_index, engine, tmp_path):
        """The clock says 30 years."""
        years = 30 * 365.25 * 86400
        codes = [3, 5, 9, 17, 33] * 6
        times = [0.1 * i for i in range(15)] + [years * (i + 1) / 16 for i in range(15)]
        clip = write_sparse(tmp_path / "years.mkv", codes, times)
        index = make_index(segment_seconds=30)
        report = index.add([clip], workers=0)
        assert report.added == [str(clip)], report.skipped
        rows = index.read(["start", "end", "duration"]).to_pylist()
        assert 2 <= len(rows) <= 30
        # A segment also shows what was on screen when it began.
        assert engine.calls <= 30 and len(engine.codes) <= 30 + len(rows)
        assert all(0 < row["end"] - row["start"] <= 30.001 for row in rows)
        assert rows[-1]["duration"] > 0.9 * years
        hit = index.search("lost property", mode="full")[0]
        assert hit.path == str(clip) and 0 <= hit.start < hit.end

    def test_in_one_piece_it_costs_them_too(self, engine, tmp_path):
        years = 30 * 365.25 * 86400
        clip = write_sparse(tmp_path / "years.mkv", [3] * 10 + [5], [*(0.1 * i for i in range(10)), years])
        (captions,) = make_tiny_processor(engine).caption(str(clip))
        assert len(captions) == NUM_FRAMES and captions[0].text == "WAY OUT"
        assert len(engine.codes) <= 11


class TestMoments:
    @pytest.fixture
    def index(self, make_index, tmp_path):
        """A minute in two segments. WAY OUT from 28 to 33 s, over the cut; platform seven from 6 to 9, 20 to 22 and 50
        to 53 s, of which the one at 20 s with no smoking beneath."""
        texts = {**TEXTS, 6: ["platform seven", "no smoking"]}
        schedule = [(BLANK, 6), (5, 3), (BLANK, 11), (6, 2), (BLANK, 6), (3, 5), (BLANK, 17), (5, 3), (BLANK, 7)]
        self.path = write_codes(tmp_path / "minute.mp4", *schedule)
        self.other = write_codes(tmp_path / "other.mp4", (BLANK, 8), (33, 4))
        index = make_index(engine=WatchedReader(texts), segment_seconds=30)
        index.add([self.path, self.other], workers=0)
        assert index.stats().segments == 3
        return index

    def times(self, moments):
        return [(moment.start, moment.end) for moment in moments]

    def test_a_text_over_the_cut_is_one_moment(self, index):
        hit = index.search("way out")[0]
        assert hit.path == str(self.path) and hit.evidence == ["WAY OUT"]
        assert (hit.start, hit.end) == pytest.approx((28.0, 33.0), abs=STEP)
        assert [moment for moment in hit.moments if moment.evidence] == []
        (moment,) = index.moments("way out", self.path)
        assert (moment.start, moment.end) == pytest.approx((28.0, 33.0), abs=STEP)

    def test_all_of_a_video_in_the_order_of_time(self, index):
        moments = index.moments("platform seven", str(self.path))
        assert self.times(moments) == [
            pytest.approx(times, abs=STEP) for times in ((6.0, 9.0), (20.0, 22.0), (50.0, 53.0))
        ]
        assert all(moment.evidence[0] == "platform seven" for moment in moments)
        with pytest.raises(ValueError, match=r"no video .*minutes\.mp4"):
            index.moments("way out", "minutes.mp4")
        with pytest.raises(ValueError, match="empty"):
            index.moments(" ", self.path)

    def test_a_hit_has_its_best_and_so_many_others(self, index):
        everything = index.moments("platform seven", self.path)
        for count in (0, 1, 2, 5):
            hit = index.search("platform seven", moments=count)[0]
            assert len(hit.moments) == min(count, 2)
            shown = [(hit.start, hit.end), *self.times(hit.moments)]
            assert set(shown) <= set(self.times(everything)) and len(set(shown)) == len(shown)
            scores = [moment.score for moment in hit.moments]
            assert scores == sorted(scores, reverse=True)
        best = max(everything, key=lambda moment: moment.score)
        assert hit.score == pytest.approx(best.score, abs=1e-5)
        assert (hit.start, hit.end, hit.evidence) == (best.start, best.end, best.evidence)
        assert hit.boxes == best.boxes

    @pytest.mark.parametrize("mode", ["two-stage", "full", "lexical", "coarse"])
    def test_between_two_times(self, index, mode):
        def found(start, end, **options):
            hits = index.search("platform seven", mode=mode, between=(start, end), moments=9, **options)
            return {Path(hit.path).name: sorted([(hit.start, hit.end), *self.times(hit.moments)]) for hit in hits}

        assert found(15, 40)["minute.mp4"] == [pytest.approx((20.0, 22.0), abs=STEP)]
        assert found(7, 8)["minute.mp4"] == [pytest.approx((6.0, 9.0), abs=STEP)]
        assert len(found(0, 60)["minute.mp4"]) == 3
        assert len(found(8, 51)["minute.mp4"]) == 3
        assert "other.mp4" not in found(13, 60)  # it lasts 12 s
        assert found(61, 99) == {}

    @pytest.mark.parametrize("between", [(5, 4), (float("nan"), 3)])
    def test_times_that_are_no_range(self, index, between):
        with pytest.raises(ValueError, match="between must be"):
            index.search("x", between=between)

    @pytest.mark.parametrize("mode", ["two-stage", "full", "lexical"])
    def test_what_is_excluded_drops_moments_not_videos(self, index, mode):
        hit = index.search("platform seven -smoking", syntax="query", mode=mode, moments=9)[0]
        assert hit.path == str(self.path)
        assert sorted([(hit.start, hit.end), *self.times(hit.moments)]) == [
            pytest.approx((6.0, 9.0), abs=STEP),
            pytest.approx((50.0, 53.0), abs=STEP),
        ]
        moments = index.moments("platform seven -smoking", self.path, syntax="query")
        assert self.times(moments) == [pytest.approx((6.0, 9.0), abs=STEP), pytest.approx((50.0, 53.0), abs=STEP)]

    @pytest.mark.parametrize("mode", ["two-stage", "full", "lexical", "coarse"])
    def test_what_is_quoted_must_be_there(self, index, mode):
        hits = index.search('"no smoking"', syntax="query", mode=mode)
        assert [hit.path for hit in hits] == [str(self.path)]
        assert (hits[0].start, hits[0].end) == pytest.approx((20.0, 22.0), abs=STEP)
        assert index.search('"smoking no"', syntax="query", mode=mode) == []
        assert index.search('"way out" "lost property"', syntax="query", mode=mode) == []

    @pytest.mark.parametrize("mode", ["two-stage", "full", "lexical"])
    def test_either(self, index, mode):
        hits = index.search('"way out" OR "lost property"', syntax="query", mode=mode)
        assert {hit.path: hit.evidence for hit in hits} == {
            str(self.path): ["WAY OUT"],
            str(self.other): ["lost property"],
        }
        plain = index.search('"way out" OR "lost property"', mode=mode)
        assert {hit.path for hit in plain} == {str(self.path), str(self.other)}

    def test_the_modes_agree(self, index):
        for query in ("platform seven", "way out", "lost property please"):
            full, two_stage, coarse, lexical = (
                index.search(query, mode=mode, moments=9) for mode in ("full", "two-stage", "coarse", "lexical")
            )
            assert len(full) == len(two_stage) == len(coarse) == 2
            by_path = {hit.path: hit for hit in full}
            for hits in (two_stage, lexical):
                for hit in hits:
                    other = by_path[hit.path]
                    shown, others = ([(hit.start, hit.end), *self.times(hit.moments)] for hit in (hit, other))
                    assert hit.evidence == other.evidence
                    if hits is two_stage:
                        assert shown == others
                    elif hit.evidence:  # by spelling alone another of them may be the best
                        assert set(shown) == set(others)
                    assert hit.lexical == pytest.approx(other.lexical, abs=1e-5)
                    assert hit.score == pytest.approx(hit.lexical if hits is lexical else other.score, abs=1e-5)
            assert [hit.path for hit in two_stage] == [hit.path for hit in full]
            assert lexical and lexical[0].path == full[0].path

    def test_a_filter_may_name_times_of_segments(self, index):
        hit = index.search("platform seven", where='"start" >= 30', moments=9)[0]
        assert (hit.start, hit.end) == pytest.approx((50.0, 53.0), abs=STEP) and hit.moments == []


class TestOverManySegments:
    @pytest.fixture
    def index(self, make_index, tmp_path):
        """24 s of one sign, twelve segments of 2 s, after 8 s without."""
        path = write_codes(tmp_path / "long_stay.mp4", (BLANK, 8), (17, 24), (BLANK, 4))
        index = make_index("long", segment_seconds=2.0)
        index.add([path])
        return index

    @pytest.mark.parametrize("moments", [0, 1, 3, 20])
    def test_a_long_moment_is_whole_however_many_are_shown(self, index, moments):
        (hit,) = index.search("platform nine", moments=moments)
        assert (hit.start, hit.end) == pytest.approx((8, 32), abs=STEP) and hit.moments == []


@pytest.mark.parametrize("between", [(0, 8.6), (20, 21), (31.9, float("inf")), (float("-inf"), 9)])
def test_a_time_filter_leaves_moments_whole(make_index, tmp_path, between):
    path = write_codes(tmp_path / "stay.mp4", (BLANK, 8), (17, 24), (BLANK, 4))
    index = make_index("filtered", segment_seconds=36.0)
    index.add([path])
    (hit,) = index.search("platform nine", between=between)
    assert (hit.start, hit.end) == pytest.approx((8, 32), abs=STEP)


def test_a_video_without_a_moment_in_the_time_range_makes_room_for_another(make_index, tmp_path):
    early = write_codes(tmp_path / "early.mp4", (BLANK, 1), (17, 3), (BLANK, 16))  # its window goes on to 5 s
    late = write_codes(tmp_path / "late.mp4", (BLANK, 6), (5, 4), (BLANK, 10))
    index = make_index("room", segment_seconds=20.0)
    index.add([early, late])
    (best,) = index.search("platform nine", top_k=1)
    assert Path(best.path).name == "early.mp4"
    (other,) = index.search("platform nine", top_k=1, between=(4.3, 20))
    assert Path(other.path).name == "late.mp4"


def test_alternatives_are_found_in_one_segment(make_index, tmp_path):
    path = write_codes(tmp_path / "both.mp4", (BLANK, 4), (9, 4), (BLANK, 4), (33, 4), (BLANK, 4))
    index = make_index("either", segment_seconds=20.0)
    index.add([path])
    query = '"no smoking" OR "lost property"'
    starts = [moment.start for moment in index.moments(query, index.paths[0], syntax="query")]
    assert starts == pytest.approx([4, 12], abs=STEP)
    (hit,) = index.search(query, syntax="query")
    assert sorted([hit.start, *(moment.start for moment in hit.moments)]) == pytest.approx([4, 12], abs=STEP)


class TestRecall:
    """Segments are recalled, videos are asked for."""

    @pytest.fixture
    def index(self, make_index, tmp_path):
        """Four minutes that show nothing but the text of the query, in 120 segments, and five short clips that show it
        with another."""
        texts = {code: ["platform nine", f"train {code}"] for code in (3, 5, 9, 17, 33)}
        texts[6], texts[10] = ["platform nine"], ["no smoking"]
        self.long = write_codes(tmp_path / "long.mp4", (6, 240), fps=2)
        self.clips = [write_codes(tmp_path / f"{code}.mp4", (code, 2)) for code in (3, 5, 9, 17, 33)]
        self.quiet = write_codes(tmp_path / "quiet.mp4", (10, 2))
        index = make_index(engine=WatchedReader(texts), segment_seconds=2)
        index.add([self.long, *self.clips, self.quiet], workers=0)
        assert index.stats().segments == 120 + 6 and len(index) == 7
        return index

    @pytest.mark.parametrize("recall_k", [1, 5, 50])
    def test_one_video_does_not_take_all_places(self, index, recall_k):
        for mode in ("two-stage", "lexical"):
            hits = index.search("platform nine", top_k=6, recall_k=recall_k, mode=mode)
            assert len(hits) == 6 and {hit.path for hit in hits} >= set(map(str, [self.long, *self.clips]))
            assert hits[0].path == str(self.long)
        for mode in ("two-stage", "coarse", "full"):
            hits = index.search("platform nine", top_k=5, recall_k=recall_k, mode=mode)
            assert len(hits) == len({hit.path for hit in hits}) == 5

    def test_where_and_between_hold_when_more_is_recalled(self, index):
        hits = index.search("platform nine", top_k=6, recall_k=1, between=(0, 1))
        assert len(hits) == 6 and all(hit.start <= 1 for hit in hits)
        hits = index.search("platform nine", top_k=6, recall_k=1, where="duration < 60")
        assert {hit.path for hit in hits} == set(map(str, [*self.clips, self.quiet]))

    @pytest.mark.parametrize("mode", ["two-stage", "lexical", "coarse"])
    def test_what_is_excluded_is_excluded_before_the_cut(self, index, mode):
        # All but one of the videos that match show what is excluded.
        hits = index.search('platform -"platform nine"', top_k=1, recall_k=1, mode=mode, syntax="query")
        assert [hit.path for hit in hits] == ([str(self.quiet)] if mode != "lexical" else [])
        query = "platform nine " + " ".join(f'-"train {code}"' for code in (3, 5, 9, 17))
        hits = index.search(query, top_k=2, recall_k=1, mode=mode, syntax="query", where="duration < 60 AND has_text")
        assert str(self.clips[4]) in {hit.path for hit in hits}
        assert not {hit.path for hit in hits} & set(map(str, self.clips[:4]))

    @pytest.mark.parametrize("mode", ["two-stage", "lexical", "coarse", "full"])
    def test_a_phrase_is_found_however_few_are_recalled(self, index, mode):
        hits = index.search('platform "train 17"', top_k=3, recall_k=1, mode=mode, syntax="query")
        assert [hit.path for hit in hits] == [str(self.clips[3])]


KILLED_RUN = """
    import os, signal, sys
    from tcd_hf.index import ingest
    from tcd_hf.index.video_index import VideoIndex
    from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
    from tests.tcd_hf.long_clips import WatchedReader
    from tests.tcd_hf.test_long_videos import TEXTS

    ingest.ROWS_PER_COMMIT = 1
    folder, deadly, *paths = sys.argv[1:]
    engine = WatchedReader(TEXTS)
    engine.on_code = lambda code: code == int(deadly) and os.kill(os.getpid(), signal.SIGKILL)
    makers = make_tiny_model(), make_tiny_processor(engine)
    options = {"exist_ok": True, "segment_seconds": 4.0, "feature_type": "float16", "cache_dir": folder + "/cache"}
    index = VideoIndex.create(folder + "/index", *makers, **options)
    index.add(paths, workers=0)
"""


@pytest.mark.slow
def test_kill_9_in_a_segment_leaves_whole_files_and_the_segments_before(make_index, station, hall, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(KILLED_RUN))
    command = [sys.executable, str(script), str(tmp_path), "17", str(hall), str(station)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    index = make_index(engine=(again := WatchedReader(TEXTS)))
    assert index.paths == [str(hall)] and index.stats().segments == 2
    assert_statistics_are_those_of_a_recount(index)
    index.add([hall, station], workers=0)
    assert set(again.codes) == {17, 33}
    whole = make_index("whole", cache="other cache")
    whole.add([hall, station], workers=0)
    assert_same_contents(index, whole)
