import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tcd_hf.index.schema import (
    IndexMetadata,
    IndexMismatchError,
    are_whole,
    checksums,
    feature_tensors,
    features_from,
    row_id,
    rows_from,
    table_schema,
    video_id,
)
from tcd_hf.index.stored_captions import captions_from, decode_captions, windows_from
from tcd_hf.modeling.outputs import TCDVideoFeatures
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.video_reader import VideoRecord
from tests.conftest import norms_like

DIM, NUM_FRAMES = 16, 4


@pytest.fixture(scope="module")
def features(random_model):
    generator = torch.Generator().manual_seed(0)
    frames, windows = torch.nn.functional.normalize(
        torch.randn(2, 3, NUM_FRAMES, DIM, generator=generator), dim=-1
    ).half().float()  # fmt: skip
    mask = torch.tensor([[True] * 4, [True, False, True, False], [False] * 4])
    with torch.no_grad():
        return random_model.precompute(random_model.fuse(frames, windows, mask, frame_norms=norms_like(frames)))


def describe(features) -> IndexMetadata:
    made_by = {f"{part}_fingerprint": part for part in ("model", "tokenizer", "caption", "frame")}
    sizes = {"dim": DIM, "num_frames": NUM_FRAMES, "segment_seconds": 30.0}
    return IndexMetadata.describe(features, **made_by, **sizes, model_name="some/model")


@pytest.fixture(scope="module")
def metadata(features):
    return describe(features)


@pytest.fixture(scope="module")
def schema(metadata):
    return table_schema(metadata)


def captions_of(*texts):
    return [
        WindowCaption(
            0.1 * i,
            0.1 * (i + 1),
            text,
            [TextTrack(text, 1 / 3, 0.1 * i, 0.1 * i + 0.05, (0.1, 1 / 7, 0.9, 0.3), count=3, box_time=0.123)]
            if text
            else [],
        )
        for i, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def records():
    return [
        VideoRecord("/v/a b.mp4", "aa", 2**40, 1_700_000_000_123_456_789, 1 / 3, 29.97, captions_of("2", "", "x", "2")),
        VideoRecord("/v/é'b.mp4", "bb", 7, 0, 4.0, 5.0, captions_of("", "", "", "")),
        VideoRecord("/v/c.mp4", "aa", 1, 1, 4.0, 5.0, captions_of("停车", "OPEN", "", "")),
    ]  # fmt: skip


def test_captions_and_numbers_come_back_as_they_were(records, features, schema):
    table = rows_from(records, features, schema)
    assert captions_from(table["captions"]) == [record.captions for record in records]
    for record, packed in zip(records, table["captions"].to_pylist(), strict=True):
        windows = windows_from(packed, len(record.captions))
        of_windows = [(window.start, window.end, window.tracks) for window in windows]
        assert of_windows == [(caption.start, caption.end, caption.tracks) for caption in record.captions]
    for name in ("path", "content_hash", "size", "modified", "duration", "fps"):
        assert table[name].to_pylist() == [getattr(record, name) for record in records]
    assert table["id"].to_pylist() == [video_id(record.path) for record in records]
    assert table["has_text"].to_pylist() == [True, False, True]
    assert table["caption_text"].to_pylist() == ["2 x", "", "停车 OPEN"]
    assert table.schema.equals(schema, check_metadata=True)


def test_captions_can_be_had_as_structs(records, features, schema):
    table = rows_from(records, features, schema)
    decoded = decode_captions(table)
    assert decoded["captions"].to_pylist() == [[window.to_dict() for window in record.captions] for record in records]
    assert decoded.column_names == table.column_names
    assert decode_captions(table.select(["path"])).column_names == ["path"]
    assert decode_captions(table.slice(0, 0))["captions"].type == decoded["captions"].type


def test_numbers_of_numpy_in_captions_stay_what_they_are(records, features, schema):
    readings = [TextTrack("A", np.float32(0.1), 0.0, 1.0, (np.float32(0.1), 0.0, 1.0, 1.0), np.int64(2))]
    record = replace(records[0], captions=[WindowCaption(0.0, 1.0, "A", readings)] * 4)
    ((window, *_), *_) = captions_from(rows_from([record, *records[1:]], features, schema)["captions"])
    assert window.tracks == readings and type(window.tracks[0].count) is int


def test_a_checksum_changes_with_what_a_search_reads(records, features, schema):
    table = rows_from(records, features, schema)
    assert checksums(table) == table["checksum"].to_pylist()
    for name, value in (("captions", b"other"), ("texts", "other"), ("end", 9.0)):
        values = [value, *table[name].to_pylist()[1:]]
        changed = table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))
        same = [a == b for a, b in zip(checksums(changed), table["checksum"].to_pylist(), strict=True)]
        assert same == [False, True, True], name


@pytest.mark.parametrize("index_has_mask", [True, False])
@pytest.mark.parametrize("video_has_mask", [True, False])
def test_masks_of_frames_beside_indexes_without_them(records, features, index_has_mask, video_has_mask):
    """An index made before frames could be left out goes on without; where nothing says other, all frames count."""
    mask = torch.tensor([[True, False, True, True], [True] * 4, [True, False, False, False]])
    masked = TCDVideoFeatures(**{**features, "frame_mask": mask.long()})
    metadata = describe(masked if index_has_mask else features)
    given = masked if video_has_mask else features
    restored = features_from(rows_from(records, given, table_schema(metadata)), metadata)
    if index_has_mask:
        assert torch.equal(restored.frame_mask, (mask if video_has_mask else torch.ones_like(mask)).long())
    else:
        assert restored.frame_mask is None
    assert torch.equal(restored.visible_frames(), mask if index_has_mask and video_has_mask else torch.ones_like(mask))


def test_features_and_tables_come_back_in_float16_precision(records, features, schema, metadata):
    restored = features_from(rows_from(records, features, schema), metadata)
    before, after = feature_tensors(features), feature_tensors(restored)
    assert set(before) == set(after) and "table_frame_gram" in after and "coarse" in after
    for name, tensor in before.items():
        assert after[name].shape == tensor.shape
        assert after[name].dtype == (torch.long if name == "feature_ocr_mask" else torch.float32)
        expected = tensor if name in ("coarse", "feature_ocr_mask") else tensor.half().float()
        assert torch.equal(after[name], expected), name


def test_scores_of_stored_features_are_those_of_the_features(records, features, schema, metadata, random_model):
    text = torch.nn.functional.normalize(torch.randn(5, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)
    with torch.no_grad():
        expected = random_model.score(text, features, method="reference")
        scores = random_model.score(text, features_from(rows_from(records, features, schema), metadata))
    for name in expected:
        np.testing.assert_allclose(scores[name], expected[name], atol=2e-3)


def test_features_as_int8_take_half_and_score_alike(records, features, metadata, random_model):
    small = replace(metadata, feature_type="int8")
    table = rows_from(records, features, table_schema(small))
    assert table["features"].nbytes < 0.8 * rows_from(records, features, table_schema(metadata))["features"].nbytes
    assert IndexMetadata.from_schema(table.schema) == small and all(are_whole(table, small))
    restored = features_from(table, small)
    before, after = feature_tensors(features), feature_tensors(restored)
    assert set(before) == set(after)
    for name, tensor in before.items():
        assert after[name].dtype == (torch.long if name == "feature_ocr_mask" else torch.float32)
        if name.startswith("feature_") and name != "feature_ocr_mask":
            allowed = tensor.abs().amax(dim=-1, keepdim=True) / 254 + 1e-3
            assert ((after[name] - tensor).abs() <= allowed).all(), name
        else:
            expected = tensor if name in ("coarse", "feature_ocr_mask") else tensor.half().float()
            assert torch.equal(after[name], expected), name
    again = rows_from(records, restored, table.schema)
    assert again["features"] == table["features"]
    some = features_from(pa.concat_tables([table.slice(2, 1), table.slice(0, 1)]).select(["features"]), small)
    assert torch.equal(some.fused_ocr_embeds, restored.fused_ocr_embeds[[2, 0]])
    assert features_from(table.slice(0, 0), small).frame_embeds.shape == (0, NUM_FRAMES, DIM)
    text = torch.nn.functional.normalize(torch.randn(5, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)
    with torch.no_grad():
        expected, scores = random_model.score(text, features), random_model.score(text, restored)
    for name in expected:
        np.testing.assert_allclose(scores[name], expected[name], atol=2e-2)


def test_metadata_from_before_there_was_a_choice_mean_float16(schema, metadata):
    values = json.loads(metadata.to_json())
    del values["feature_type"]
    before = schema.with_metadata({b"tcd_hf": json.dumps(values).encode()})
    assert IndexMetadata.from_schema(before) == metadata and metadata.feature_type == "float16"
    values["feature_type"] = "int4"
    with pytest.raises(IndexMismatchError, match="not as this release"):
        IndexMetadata.from_schema(schema.with_metadata({b"tcd_hf": json.dumps(values).encode()}))


def test_features_of_slices_chunks_and_some_columns(records, features, schema, metadata):
    table = rows_from(records, features, schema)
    whole = features_from(table, metadata)
    pieces = pa.concat_tables([table.slice(2, 1), table.slice(0, 2)])
    some = features_from(pieces.select(["features"]), metadata)
    assert torch.equal(some.frame_embeds, whole.frame_embeds[[2, 0, 1]])
    assert torch.equal(some.ocr_mask, whole.ocr_mask[[2, 0, 1]])
    assert torch.equal(some.scoring_tables.clue_gram, whole.scoring_tables.clue_gram[[2, 0, 1]])
    assert some.coarse_embeds is None
    coarse = features_from(pieces.select(["coarse"]), metadata)
    assert torch.equal(coarse.coarse_embeds, whole.coarse_embeds[[2, 0, 1]])
    assert coarse.frame_embeds is None and coarse.scoring_tables is None
    assert features_from(table.slice(0, 0), metadata).frame_embeds.shape == (0, NUM_FRAMES, DIM)


def test_a_model_without_ocr_has_fewer_features(records, make_model):
    model = make_model(use_ocr=False)
    with torch.no_grad():
        frames = torch.randn(3, NUM_FRAMES, DIM)
        features = model.precompute(model.fuse(frames, frame_norms=norms_like(frames)))
    tensors = feature_tensors(features)
    assert features.frame_norms is not None and "feature_frame_norms" not in tensors  # no score reads them
    assert "feature_ocr_embeds" not in tensors and "feature_frame_embeds" in tensors
    metadata = describe(features)
    schema = table_schema(metadata)
    restored = features_from(rows_from(records, features, schema), metadata)
    assert restored.ocr_mask is None and restored.frame_embeds.shape == (3, NUM_FRAMES, DIM)


def test_features_that_do_not_fit_are_refused(records, features, schema):
    with pytest.raises(ValueError, match="features of the shapes"):
        rows_from(records, type(features)(**{**features, "scoring_tables": None}), schema)
    with pytest.raises(ValueError, match=r"\(2, .*but got .*\(3, "):
        rows_from(records[:2], features, schema)
    huge = features.map_videos(lambda rows: rows * 1e6 if rows.is_floating_point() else rows)
    with pytest.raises(ValueError, match="beyond the range of float16"):
        rows_from(records, huge, schema)


def test_metadata_lies_in_the_schema_as_json(schema, metadata):
    assert json.loads(schema.metadata[b"tcd_hf"])["shapes"]["coarse"] == [DIM]
    assert IndexMetadata.from_schema(schema) == metadata


def test_foreign_and_other_schemas_are_refused(schema, metadata):
    for foreign in (None, {}, {b"tcd_hf": b"[1]"}, {b"tcd_hf": b"{}"}, {b"tcd_hf": b"\x80"}):
        with pytest.raises(IndexMismatchError, match="not made by tcd-hf"):
            IndexMetadata.from_schema(pa.schema([("id", pa.string())], metadata=foreign))
    other = replace(metadata, schema_version=99)
    with pytest.raises(IndexMismatchError, match=r"schema version 99, and .* reads version 3"):
        IndexMetadata.from_schema(schema.with_metadata({b"tcd_hf": other.to_json()}))
    unknown = json.dumps({"schema_version": 4, "new": 1}).encode()
    with pytest.raises(IndexMismatchError, match="schema version 4"):
        IndexMetadata.from_schema(schema.with_metadata({b"tcd_hf": unknown}))


def test_what_an_index_was_made_by_is_compared_part_by_part(metadata):
    metadata.check("i", model_fingerprint="model", tokenizer_fingerprint="tokenizer")
    metadata.check("i", caption_fingerprint="caption", frame_fingerprint="frame")
    for part, (name, remedy) in {
        "model": ("another model", "without --model"),
        "tokenizer": ("another tokenizer", "Open it with the processor of that model"),
        "caption": ("another OCR engine", "--ocr-engine"),
        "frame": ("another image processor", "To add videos, open it with the processor of that model"),
    }.items():
        with pytest.raises(IndexMismatchError) as error:
            metadata.check("my.index", **{f"{part}_fingerprint": "other"})
        message = str(error.value)
        assert message.startswith(f"The index my.index (of the model some/model) was made with {name}")
        assert f"(fingerprint {part}, not other)" in message and remedy in message and "new index" in message


def test_ids_are_of_the_path_alone():
    assert video_id("/a/b.mp4") == "0289f90f7c7cec09607959e6"  # in every index, on every machine
    assert len({video_id(path) for path in ("/a/b.mp4", "/a/c.mp4", "/a/é.mp4")}) == 3
    assert row_id("/a/b.mp4", 0) == video_id("/a/b.mp4")
    assert row_id("/a/b.mp4", 12) == "0289f90f7c7cec09607959e6-12"


def test_a_segment_has_its_number_and_its_times(features, schema):
    whole = VideoRecord("/v/a.mp4", "aa", 1, 1, 60.0, 5.0, captions_of("", "", "", ""))
    assert (whole.segment, whole.start, whole.end) == (0, 0.0, 60.0)
    parts = [replace(whole, segment=n, start=30.0 * n, end=30.0 * (n + 1)) for n in (0, 1)]
    table = rows_from([*parts, whole], features, schema)
    assert table.select(["segment", "start", "end", "duration"]).to_pylist() == [
        {"segment": 0, "start": 0.0, "end": 30.0, "duration": 60.0},
        {"segment": 1, "start": 30.0, "end": 60.0, "duration": 60.0},
        {"segment": 0, "start": 0.0, "end": 60.0, "duration": 60.0},
    ]
    assert table["id"].to_pylist() == [video_id("/v/a.mp4"), video_id("/v/a.mp4") + "-1", video_id("/v/a.mp4")]


def test_the_source_of_a_text_comes_back(records, features, schema):
    captions = captions_of("x", "", "", "")
    captions[0].tracks[0].source = "subtitle"
    table = rows_from([replace(records[0], captions=captions), *records[1:]], features, schema)
    assert [[track.source for track in caption.tracks] for caption in captions_from(table["captions"])[0]] == [
        ["subtitle"],
        [],
        [],
        [],
    ]


def test_checksums_are_of_what_a_search_reads(records, features, schema):
    table = rows_from(records, features, schema)
    assert checksums(table) == table["checksum"].to_pylist() and len(set(checksums(table))) == 3
    assert checksums(table.slice(1)) == checksums(table)[1:]
    moved = [replace(record, path=record.path + "2", size=3, modified=4) for record in records]
    assert rows_from(moved, features, schema)["checksum"] == table["checksum"]
    other = features.map_videos(lambda rows: rows)
    other.frame_embeds = features.frame_embeds.clone()
    other.frame_embeds[1, 2, 3] += 0.25
    after = rows_from(records, other, schema)["checksum"].to_pylist()
    assert [one == two for one, two in zip(after, table["checksum"].to_pylist(), strict=True)] == [True, False, True]
