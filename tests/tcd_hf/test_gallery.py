import json
import logging
import shutil

import numpy as np
import pytest
import torch

from tcd_hf.index import gallery as gallery_module
from tcd_hf.index.cache import CacheError
from tcd_hf.index.fingerprints import caption_fingerprint, feature_fingerprint, hash_weights
from tcd_hf.index.gallery import VideoGallery
from tcd_hf.index.lexical import LexicalScorer
from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

QUERIES = ["the store TESCO express", "star wars toys", "gate b4"]


@pytest.fixture
def make_gallery(tmp_path, code_reader):
    def make(model=None, engine=code_reader, **options):
        return VideoGallery(
            model or make_tiny_model(), make_tiny_processor(engine), **{"cache_dir": tmp_path / "cache", **options}
        )

    return make


@pytest.fixture
def forbid_reading(monkeypatch):
    """Call it, and from then on decoding a video is an error."""

    def refuse(*args, **kwargs):
        raise AssertionError("a video was decoded")

    return lambda: monkeypatch.setattr(TCDProcessor, "read_video", refuse)


def entries(tmp_path, kind):
    return sorted(path for path in (tmp_path / "cache" / kind).rglob("*") if path.is_file())


def test_finds_the_clip_its_window_and_the_matching_text(make_gallery, clips):
    gallery = make_gallery()
    assert gallery.add(clips.values()) == []
    store, toys, gate = (hits[0] for hits in gallery.search(QUERIES, top_k=1))
    assert (store.path, store.evidence) == (str(clips["shop.mp4"]), ["TESCO express"])
    assert store.start in (2.0, 3.0)
    assert (toys.path, toys.start, toys.end, toys.evidence) == (str(clips["toys.mp4"]), 1.0, 2.0, ["STAR WARS"])
    assert (gate.path, gate.evidence) == (str(clips["airport.mp4"]), ["Gate B4"])
    assert gate.start in (0.0, 1.0)


def test_scores_are_the_stated_fusion_of_the_model_and_the_captions(make_gallery, clips, code_reader):
    gallery = make_gallery(lexical_weight=0.3)
    gallery.add(clips.values())
    processor = make_tiny_processor(code_reader)
    captions = [
        [caption.text for caption in video] for video in processor.caption([str(path) for path in clips.values()])
    ]
    with torch.no_grad():
        inputs = processor(text=QUERIES, videos=[str(path) for path in clips.values()], return_tensors="pt")
        output = make_tiny_model()(**inputs)
    model_score = (output.logits_per_text / make_tiny_model().logit_scale.exp()).detach().numpy()
    lexical = LexicalScorer(captions).score(QUERIES).similarity

    for row, hits in enumerate(gallery.search(QUERIES)):
        assert len(hits) == len(clips)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            column = gallery.paths.index(hit.path)
            expected = 0.7 * model_score[row, column] + 0.3 * lexical[row, column]
            assert hit.score == pytest.approx(expected, abs=2e-3)  # features are kept in float16
            assert hit.lexical == pytest.approx(lexical[row, column], abs=1e-6)
            assert hit.text_video == pytest.approx(output.text_video_similarity[row, column].item(), abs=2e-3)
            assert hit.text_ocr == pytest.approx(output.text_ocr_similarity[row, column].item(), abs=2e-3)
            assert hit.text_hybrid == pytest.approx(output.text_hybrid_similarity[row, column].item(), abs=2e-3)


def test_the_second_run_reads_nothing_and_finds_the_same(make_gallery, clips, forbid_reading):
    first = make_gallery()
    first.add(clips.values())
    hits = first.search(QUERIES)
    forbid_reading()
    second = make_gallery()
    assert second.add(clips.values()) == []
    assert second.search(QUERIES) == hits


def test_a_moved_video_is_known_and_a_changed_one_is_not(make_gallery, clips, tmp_path, code_reader, forbid_reading):
    make_gallery().add([clips["shop.mp4"]])
    moved = tmp_path / "moved.mp4"
    shutil.copy(clips["shop.mp4"], moved)
    read_before = code_reader.images_read
    shutil.copy(clips["toys.mp4"], clips["shop.mp4"])
    make_gallery().add([clips["shop.mp4"]])
    assert code_reader.images_read > read_before
    forbid_reading()
    gallery = make_gallery()
    gallery.add([moved])
    assert gallery.captions[0][3].text == "TESCO express £1.30"


def test_another_model_makes_features_but_reads_no_text_again(make_gallery, clips, tmp_path, code_reader):
    make_gallery().add(clips.values())
    read = code_reader.images_read
    make_gallery(make_tiny_model(seed=1)).add(clips.values())
    assert code_reader.images_read == read
    assert len(entries(tmp_path, "captions")) == len(clips)
    assert len(entries(tmp_path, "features")) == 2 * len(clips)


def test_other_ocr_settings_read_again(make_gallery, clips, tmp_path, code_reader):
    make_gallery().add([clips["shop.mp4"]])
    gallery = make_gallery(engine=CodeReader({}))
    gallery.add([clips["shop.mp4"]])
    assert all(caption.text == "" for caption in gallery.captions[0])
    assert len(entries(tmp_path, "captions")) == len(entries(tmp_path, "features")) == 2


def test_a_killed_run_resumes(make_gallery, clips, code_reader, tmp_path):
    def die_at_the_second(path):
        if path == str(list(clips.values())[1]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_gallery().add(clips.values(), on_video=die_at_the_second)
    assert len(entries(tmp_path, "features")) == 2
    done = {path: path.stat().st_mtime_ns for path in entries(tmp_path, "features")}
    gallery = make_gallery()
    gallery.add(clips.values())
    assert len(gallery) == len(clips)
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())


def test_damaged_entries_are_made_again(make_gallery, clips, tmp_path, caplog):
    first = make_gallery()
    first.add(clips.values())
    hits = first.search(QUERIES)
    for path in entries(tmp_path, "captions") + entries(tmp_path, "features"):
        path.write_bytes(path.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING):
        second = make_gallery()
        second.add(clips.values())
    assert len(caplog.records) == 2 * len(clips)
    assert second.search(QUERIES) == hits


def test_an_entry_of_another_number_of_windows_is_made_again(make_gallery, clips, tmp_path):
    make_gallery().add([clips["shop.mp4"]])
    (entry,) = entries(tmp_path, "captions")
    stored = json.loads(entry.read_bytes())
    for foreign in ([], stored[:1]):
        entry.write_text(json.dumps(foreign))
        gallery = make_gallery()
        assert gallery.add([clips["shop.mp4"]]) == []
        assert len(gallery.captions[0]) == len(json.loads(entry.read_bytes())) == len(stored)


@pytest.mark.parametrize(
    "error",
    [PermissionError(1, "Operation not permitted"), OSError("odd"), VideoReadError("v", "it is broken", "Stop")],
)
def test_an_error_while_reading_ends_no_search(make_gallery, clips, monkeypatch, error):
    read_video = TCDProcessor.read_video

    def read_or_fail(self, video, *args, **options):
        if isinstance(video, str) and video == str(clips["shop.mp4"]):
            raise error
        return read_video(self, video, *args, **options)

    monkeypatch.setattr(TCDProcessor, "read_video", read_or_fail)
    gallery = make_gallery()
    (skipped,) = gallery.add(clips.values())
    assert skipped.path == str(clips["shop.mp4"])
    assert (getattr(error, "strerror", None) or str(error)) in skipped.cause
    assert len(gallery) == len(clips) - 1


def test_bad_videos_are_reported_and_the_rest_is_searched(make_gallery, clips, tmp_path):
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video at all")
    paths = [tmp_path / "videos" / "broken.mp4", tmp_path / "missing.mp4", *clips.values()]
    seen = []
    gallery = make_gallery()
    skipped = gallery.add(paths, on_video=seen.append)
    assert [video.path for video in skipped] == [str(path) for path in paths[:2]]
    assert "broken.mp4" in skipped[0].cause and "missing.mp4" in skipped[1].cause
    assert seen == [str(path) for path in paths]
    assert gallery.search(QUERIES, top_k=1)[0][0].path == str(clips["shop.mp4"])


def test_nothing_is_written_beside_the_videos(make_gallery, clips, tmp_path):
    before = sorted((tmp_path / "videos").iterdir())
    gallery = make_gallery()
    gallery.add(clips.values())
    gallery.search(QUERIES)
    assert sorted((tmp_path / "videos").iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "cache"}


def test_a_cache_that_cannot_be_written_is_an_error_not_a_bad_video(make_gallery, clips, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="cannot be written"):
        make_gallery(cache_dir=tmp_path / "file").add(clips.values())


@pytest.mark.parametrize("size", [1, 3])
def test_any_block_size_gives_the_same_hits(make_gallery, clips, monkeypatch, size):
    gallery = make_gallery()
    gallery.add(clips.values())
    expected = gallery.score(QUERIES)
    monkeypatch.setattr(gallery_module, "VIDEOS_PER_BLOCK", size)
    monkeypatch.setattr(gallery_module, "QUERIES_PER_BATCH", size)
    scores = gallery.score(QUERIES)
    for name in ("score", "model", "lexical", "text_video", "text_ocr", "text_hybrid"):
        np.testing.assert_allclose(getattr(scores, name), getattr(expected, name), atol=1e-6)


def test_a_model_that_reads_no_ocr_has_no_such_parts(make_gallery, clips):
    gallery = make_gallery(make_tiny_model(use_ocr=False))
    gallery.add(clips.values())
    hit = gallery.search(["star wars"])[0][0]
    assert hit.path == str(clips["toys.mp4"])  # by spelling
    assert hit.text_ocr is None and hit.text_hybrid is None
    assert hit.score == pytest.approx((hit.text_video + hit.lexical) / 2, abs=1e-6)


def test_equal_videos_keep_the_order_added(make_gallery, clips, tmp_path):
    copies = [shutil.copy(clips["sea.mp4"], tmp_path / f"{name}.mp4") for name in "bac"]
    gallery = make_gallery()
    gallery.add(copies)
    assert [hit.path for hit in gallery.search(["anything"])[0]] == [str(path) for path in copies]


def test_wrong_use(make_gallery, clips):
    gallery = make_gallery()
    with pytest.raises(ValueError, match="empty"):
        gallery.search(["x"])
    gallery.add([clips["sea.mp4"]])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        gallery.search(["x"], top_k=0)
    with pytest.raises(ValueError, match="Query 1 is empty"):
        gallery.search(["x", "  "])
    with pytest.raises(ValueError, match="at least one"):
        gallery.search([])
    with pytest.raises(TypeError, match="list"):
        gallery.search("one string")
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        make_gallery(lexical_weight=1.5)


def test_the_fingerprint_follows_what_features_depend_on(code_reader):
    model, processor = make_tiny_model(), make_tiny_processor(code_reader)
    same = feature_fingerprint(make_tiny_model(), make_tiny_processor(code_reader))
    assert feature_fingerprint(model, processor) == same
    with torch.no_grad():
        model.backbone.visual_projection.weight[0, 0] += 1e-3
    assert feature_fingerprint(model, processor) != same
    assert hash_weights(model.to(torch.bfloat16)) != hash_weights(make_tiny_model())
    changed = make_tiny_processor(code_reader)
    changed.image_processor.do_center_crop = False
    assert feature_fingerprint(make_tiny_model(), changed) != same
    changed = make_tiny_processor(code_reader)
    changed.ocr_fps = 1.0
    assert feature_fingerprint(make_tiny_model(), changed) != same


def fingerprint_of(engine="rapidocr", **options):
    return caption_fingerprint(WindowOCRCaptioner(engine, engine_options=options))


def test_captions_depend_on_the_content_of_weight_files(tmp_path):
    weights, moved = tmp_path / "rec.onnx", tmp_path / "moved.onnx"
    weights.write_bytes(b"one")
    for options in (lambda file: {"params": {"Rec.model_path": str(file)}}, lambda file: {"params": {"a": [file]}}):
        weights.write_bytes(b"one")
        before = fingerprint_of(**options(weights))
        assert before not in (fingerprint_of(), fingerprint_of(**options(tmp_path / "missing.onnx")))
        shutil.copy(weights, moved)
        assert fingerprint_of(**options(moved)) == before
        weights.write_bytes(b"two")
        assert fingerprint_of(**options(weights)) != before
    weights.write_bytes(b"one")
    before = fingerprint_of("doctr", det_weights=weights)
    weights.write_bytes(b"two")
    assert fingerprint_of("doctr", det_weights=weights) != before


def test_captions_do_not_depend_on_threads_nor_on_how_the_engine_is_given():
    assert fingerprint_of(num_threads=1) == fingerprint_of(num_threads=3) == fingerprint_of()
    assert fingerprint_of(RapidOCREngine(limit_side_len=640)) == fingerprint_of(limit_side_len=640) != fingerprint_of()


def test_the_release_of_the_engine_counts(monkeypatch):
    before = fingerprint_of()
    monkeypatch.setattr("tcd_hf.index.fingerprints.metadata.version", lambda package: "0.0")
    assert fingerprint_of() != before
