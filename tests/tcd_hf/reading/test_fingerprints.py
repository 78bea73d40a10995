import shutil

import pytest
import torch
from transformers import CLIPTextConfig

from tcd_hf import load_mini
from tcd_hf.checkpoints import MINI
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.ocr_engines import RapidOCREngine
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.window_ocr import WindowOCRCaptioner
from tcd_hf.reading.fingerprints import (
    all_fingerprints,
    caption_fingerprint,
    fingerprint,
    frame_fingerprint,
    hash_weights,
    model_fingerprint,
    model_name,
    tokenizer_fingerprint,
)
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor


def test_a_fingerprint_is_of_the_settings_whatever_their_order():
    assert fingerprint({"a": 1, "b": [2.0, None]}) == fingerprint({"b": [2.0, None], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


@pytest.mark.parametrize("backbone", ["tiny_clip_config", "tiny_siglip_config", "tiny_siglip2_config"])
def test_a_model_has_one_fingerprint_before_and_after_saving_and_in_any_folder(backbone, make_model, tmp_path, request):
    model = make_model(backbone_config=request.getfixturevalue(backbone))
    before = model_fingerprint(model)
    model.save_pretrained(tmp_path / "one")
    assert model.config.architectures == ["TCDModel"]  # it does change the configuration
    assert model_fingerprint(model) == before
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):
        loaded = TCDModel.from_pretrained(tmp_path / name)
        loaded.config.backbone_config.name_or_path = loaded.config.backbone_config.text_config.name_or_path = name
        assert model_fingerprint(loaded) == before


def test_the_fingerprint_of_a_model_follows_its_weights_and_configuration(code_reader):
    model, processor = make_tiny_model(), make_tiny_processor(code_reader)
    before = model_fingerprint(model)
    model.get_text_features(**processor(text=["use changes nothing"], return_tensors="pt"))
    assert model_fingerprint(model) == model_fingerprint(make_tiny_model()) == before
    model.config.search_calibration = {"bias": -1.0, "lexical": 2.0}  # no feature depends on it
    assert model_fingerprint(model) == before
    changed = [make_tiny_model() for _ in range(5)]
    changed[0].config.text_condition_temperature = 4.0
    changed[1].config.use_co_attention = False
    changed[2].config.backbone_config.vision_config.hidden_act = "gelu"
    with torch.no_grad():
        changed[3].backbone.visual_projection.weight[0, 0] += 1e-3
    changed[4].to(torch.bfloat16)
    assert len({before, *map(model_fingerprint, changed)}) == 6
    assert hash_weights(changed[4]) != hash_weights(make_tiny_model())


def test_a_field_of_ours_that_came_later_leaves_older_models_alone():
    old = make_tiny_model(temporal_input="normalised", temporal_activation="gelu", temporal_layer_norm_eps=1e-5)
    first = model_fingerprint(old)
    for name, value in {"temporal_input": "raw", "temporal_layer_norm_eps": 1e-12}.items():
        setattr(old.config, name, value)
        assert model_fingerprint(old) != first
        setattr(old.config, name, {"temporal_input": "normalised", "temporal_layer_norm_eps": 1e-5}[name])
    mini = load_mini()[0]
    with torch.no_grad():
        for weights in mini.state_dict().values():
            weights.zero_()  # those of tcd-mini are trained anew now and then
    assert model_fingerprint(mini) == "11510fc7feeba9e0"  # as it was before there were such fields


def test_settings_of_a_later_transformers_count_only_when_they_are_used():
    class LaterConfig(CLIPTextConfig):
        new_switch: bool = False
        new_shape: tuple = (1, 2)

    model = make_tiny_model()
    before = model_fingerprint(model)
    text_config = model.config.backbone_config.text_config
    model.config.backbone_config.text_config = LaterConfig(**text_config.to_dict())
    assert model_fingerprint(model) == before
    model.config.backbone_config.text_config.new_shape = [1, 2]  # as a file gives it
    assert model_fingerprint(model) == before
    model.config.backbone_config.text_config.new_switch = True
    assert model_fingerprint(model) != before


def test_a_model_is_named_by_what_it_can_be_loaded_by(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(MINI)
    model = make_tiny_model()
    for given, name in (
        ("", ""),
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("mine", f"{tmp_path}/mine"),
        (str(MINI), "tcd-mini"),
        ("link", "tcd-mini"),
    ):
        model.name_or_path = given
        assert model_name(model) == name


def test_each_part_of_a_processor_has_a_fingerprint_of_its_own(code_reader, clips):
    def parts_of(processor):
        return all_fingerprints(model, processor)

    model, processor = make_tiny_model(), make_tiny_processor(code_reader)
    before = parts_of(processor)
    processor(text=["use changes", "nothing"], videos=str(clips["shop.mp4"]))
    assert parts_of(processor) == parts_of(make_tiny_processor(code_reader)) == before
    assert len(set(before.values())) == len(before) == 4

    def changed(part, **settings):
        processor = make_tiny_processor(code_reader)
        for name, value in settings.items():
            setattr(processor, name, value)
        after = parts_of(processor)
        return after[f"{part}_fingerprint"] != before[f"{part}_fingerprint"], sum(
            after[name] != value for name, value in before.items()
        )

    other = make_tiny_processor()
    other.image_processor.do_center_crop = False
    other.tokenizer.add_tokens(["tesco"])
    assert changed("tokenizer", tokenizer=other.tokenizer) == (True, 1)
    assert changed("tokenizer", max_length=9) == (True, 1)
    assert changed("tokenizer", query_prefix="query: ") == changed("tokenizer", caption_prefix="passage: ") == (True, 1)
    assert changed("tokenizer", text_padding="max_length") == (True, 1)
    assert changed("frame", image_processor=other.image_processor) == (True, 1)
    assert changed("frame", num_frames=5) == (True, 2)  # windows are as many
    assert changed("caption", ocr_fps=1.0) == changed("caption", ocr_engine=CodeReader({})) == (True, 1)
    assert changed("caption", max_length=1000) == (False, 0)  # more than the tokenizer takes


def test_a_processor_has_the_same_fingerprints_after_saving(tmp_path):
    processor = make_tiny_processor("rapidocr")
    processor.save_pretrained(tmp_path)  # which changes its parts
    saved = TCDProcessor.from_pretrained(tmp_path)
    for of in (tokenizer_fingerprint, frame_fingerprint, lambda processor: caption_fingerprint(processor.captioner)):
        assert of(saved) == of(processor) == of(make_tiny_processor("rapidocr"))


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
    monkeypatch.setattr("tcd_hf.reading.fingerprints.metadata.version", lambda package: "0.0")
    assert fingerprint_of() != before


def test_an_option_that_a_later_release_adds_counts_only_when_it_is_used():
    class LaterCaptioner(WindowOCRCaptioner):
        def __init__(self, engine="rapidocr", min_sharpness: float = 0.0, **options):
            super().__init__(engine, **options)
            self.min_sharpness = min_sharpness

    before = fingerprint_of()
    assert caption_fingerprint(LaterCaptioner()) == before
    assert caption_fingerprint(LaterCaptioner(min_sharpness=0.5)) != before
    assert caption_fingerprint(LaterCaptioner(ocr_fps=1.0)) == caption_fingerprint(WindowOCRCaptioner(ocr_fps=1.0))
    assert caption_fingerprint(LaterCaptioner(ocr_fps=1.0)) != before
    engine = CodeReader({1: ["text"]})
    assert caption_fingerprint(LaterCaptioner(engine)) == caption_fingerprint(WindowOCRCaptioner(engine))


@pytest.mark.parametrize(
    "option",
    [
        {"num_windows": 4},
        {"window_scale": 0.5},
        {"ocr_fps": 1.0},
        {"min_confidence": 0.4},
        {"min_text_height": 0.02},
        {"max_side": 640},
        {"reading_interval": None},
        {"preset": "fast"},
    ],
    ids=str,
)
def test_every_option_of_the_captioner_counts(option):
    assert caption_fingerprint(WindowOCRCaptioner(**option)) != fingerprint_of()


def test_a_caption_fingerprint_is_that_of_earlier_releases():
    """What was read before must not be read again: of an engine whose state is known, the very digest."""
    assert caption_fingerprint(WindowOCRCaptioner(engine=None)) == fingerprint(
        {
            "num_windows": 12,
            "window_scale": 1.0,
            "ocr_fps": 2.0,
            "min_confidence": 0.5,
            "min_text_height": 0.01,
            "max_side": 1280,
            "reading_interval": 0.75,
            "version": 3,
        }
    )
