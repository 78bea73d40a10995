import shutil

import torch

from tcd_hf.index.fingerprints import caption_fingerprint, hash_weights, model_fingerprint, processor_fingerprint
from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor


def test_the_fingerprint_of_a_model_follows_its_weights_and_configuration(code_reader):
    model, processor = make_tiny_model(), make_tiny_processor(code_reader)
    before = model_fingerprint(model)
    model.get_text_features(**processor(text=["use changes nothing"], return_tensors="pt"))
    assert model_fingerprint(model) == model_fingerprint(make_tiny_model()) == before
    model.config.text_condition_temperature = 4.0
    assert model_fingerprint(model) != before
    model = make_tiny_model()
    with torch.no_grad():
        model.backbone.visual_projection.weight[0, 0] += 1e-3
    assert model_fingerprint(model) != before
    assert hash_weights(model.to(torch.bfloat16)) != hash_weights(make_tiny_model())


def test_the_fingerprint_of_a_processor_follows_all_it_makes(code_reader, clips):
    processor = make_tiny_processor(code_reader)
    before = processor_fingerprint(processor)
    processor(text=["use changes", "nothing"], videos=str(clips["shop.mp4"]))
    assert processor_fingerprint(processor) == processor_fingerprint(make_tiny_processor(code_reader)) == before
    changed = [make_tiny_processor(code_reader) for _ in range(4)]
    changed[0].image_processor.do_center_crop = False
    changed[1].ocr_fps = 1.0
    changed[2].tokenizer.add_tokens(["tesco"])
    changed[3].max_length = 9
    assert len({before, *map(processor_fingerprint, changed)}) == 5


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
