"""TCDConfig: defaults, round trips, and what becomes of keys and values that are wrong."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, CLIPConfig, CLIPTextConfig, SiglipConfig

from tcd_hf.modeling.configuration_tcd import TCDConfig

DEFAULTS = {
    "interaction": "tcd",
    "num_frames": 12,
    "use_ocr": True,
    "share_ocr_encoder": True,
    "text_condition": "after",
    "text_condition_temperature": 5.0,
    "use_co_attention": True,
    "use_distillation": True,
    "use_cross_attention": True,
    "fusion_num_heads": 1,
    "fusion_dropout": 0.3,
    "use_calibration": True,
    "calibration_weight": 0.1,
    "calibration_temperature": None,
    "temporal_num_layers": 4,
    "temporal_input": "raw",
    "temporal_activation": "quick_gelu",
    "temporal_layer_norm_eps": 1e-12,
    "temporal_start": "neutral",
    "use_patch_features": False,
    "coarse_loss_weight": 0.2,
    "tib_loss_weight": 0.2,
    "pearson_weight": 0.001,
    "pearson_diagonal_weight": 0.14,
    "pearson_off_diagonal_weight": 0.0,
    "pearson_video_weight": 1.0,
    "pearson_tib_frame_weight": 1.0,
    "pearson_tib_patch_weight": 0.0,
    "weak_temperature": 0.01,
    "tib_frame_temperature": 0.1,
    "tib_patch_temperature": 0.01,
    "training_video_weight": 0.5,
    "training_frame_weight": 0.5,
    "training_patch_weight": 0.05,
    "rerank_video_weight": 0.5,
    "rerank_frame_weight": 0.8,
    "rerank_patch_weight": 0.2,
    "rerank_tib_frame_weight": 0.2,
    "rerank_tib_patch_weight": 0.0,
    "search_calibration": None,
}
OTHERS = {
    "num_frames": 7,
    "use_ocr": False,
    "share_ocr_encoder": False,
    "text_condition": "before",
    "text_condition_temperature": 1.5,
    "use_co_attention": False,
    "use_distillation": False,
    "use_cross_attention": False,
    "fusion_num_heads": 4,
    "fusion_dropout": 0.0,
    "use_calibration": False,
    "calibration_weight": 0.05,
    "calibration_temperature": 0.2,
    "interaction": "tib",
    "temporal_num_layers": 2,
    "temporal_input": "normalised",
    "temporal_activation": "gelu",
    "temporal_layer_norm_eps": 1e-5,
    "temporal_start": "text_layers",
    "use_patch_features": True,
    **{name: value + 0.25 for name, value in DEFAULTS.items() if name.startswith(("pearson", "training", "rerank"))},
    **dict.fromkeys(("coarse_loss_weight", "tib_loss_weight"), 0.75),
    **dict.fromkeys(("weak_temperature", "tib_frame_temperature", "tib_patch_temperature"), 0.02),
    "initializer_range": 0.01,
    "search_calibration": {"bias": -4.5, "text_ocr": 2, "text_window": 3.25, "lexical": 7.5, "means_from": 0.4},
}


def test_defaults_are_the_documented_ones():
    config = TCDConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert config.model_type == "tcd"
    assert type(config.backbone_config) is CLIPConfig
    assert config.projection_dim == 512


def test_every_option_survives_a_round_trip(tiny_clip_config, tmp_path):
    config = TCDConfig(backbone_config=tiny_clip_config, **OTHERS)
    config.save_pretrained(tmp_path)
    for again in (
        TCDConfig.from_dict(config.to_dict()),
        TCDConfig.from_pretrained(tmp_path),
        AutoConfig.from_pretrained(tmp_path),
    ):
        assert type(again) is TCDConfig
        assert {name: getattr(again, name) for name in OTHERS} == OTHERS
        assert type(again.backbone_config) is CLIPConfig
        assert again.backbone_config.text_config.hidden_size == 32
        assert again.projection_dim == 16
        # The folder writes the version of transformers and the name of the class; all else is the same.
        written = {"transformers_version", "_name_or_path", "auto_map"}
        first, second = ({k: v for k, v in each.to_dict().items() if k not in written} for each in (config, again))
        assert first == second


def test_a_file_from_before_the_fields_means_what_it_meant(tiny_clip_config, tmp_path):
    TCDConfig(backbone_config=tiny_clip_config, temporal_num_layers=3).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved.pop("config_version") == 2
    now = {name: saved.pop(name) for name in ("temporal_input", "temporal_activation", "temporal_layer_norm_eps")}
    assert now == {"temporal_input": "raw", "temporal_activation": "quick_gelu", "temporal_layer_norm_eps": 1e-12}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    old = {"temporal_input": "normalised", "temporal_activation": "gelu", "temporal_layer_norm_eps": 1e-5}
    for _ in range(2):  # the second time as it was saved anew
        for config in (TCDConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
            assert {name: getattr(config, name) for name in old} == old
            assert config.temporal_num_layers == 3
        config.save_pretrained(tmp_path)
    assert TCDConfig.from_pretrained(tmp_path, temporal_input="raw").reads_raw_frames


def test_the_saved_file_names_the_code_that_reads_it(tiny_config, tmp_path):
    tiny_config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "tcd"
    assert saved["backbone_config"]["model_type"] == "clip"
    assert saved["auto_map"] == {"AutoConfig": "configuration_tcd.TCDConfig"}
    assert (tmp_path / "configuration_tcd.py").is_file()


def test_backbone_as_config_dict_or_nothing(tiny_clip_config, tiny_siglip_config):
    assert type(TCDConfig(backbone_config=tiny_siglip_config).backbone_config) is SiglipConfig
    as_dict = TCDConfig(backbone_config=tiny_siglip_config.to_dict()).backbone_config
    assert type(as_dict) is SiglipConfig
    assert as_dict.to_dict() == tiny_siglip_config.to_dict()
    # Without a model type, as in {"projection_dim": 16}, it is CLIP.
    nameless = {"projection_dim": 16, "text_config": tiny_clip_config.text_config.to_dict()}
    nameless["text_config"].pop("model_type")
    config = TCDConfig(backbone_config=nameless)
    assert type(config.backbone_config) is CLIPConfig
    assert config.backbone_config.text_config.hidden_size == 32
    assert config.projection_dim == 16


def test_the_coarse_loss_leads_where_it_trains_most_of_the_score(tiny_clip_config):
    assert TCDConfig(backbone_config=tiny_clip_config, interaction="tib").coarse_loss_weight == 0.8
    assert TCDConfig(backbone_config=tiny_clip_config, interaction="tib", coarse_loss_weight=0).coarse_loss_weight == 0


def test_only_tcd_reads_captions_and_only_when_told_to(tiny_clip_config):
    for interaction, use_ocr in (("tcd", True), ("tcd", False), ("tib", True), ("tib", False)):
        config = TCDConfig(backbone_config=tiny_clip_config, interaction=interaction, use_ocr=use_ocr)
        assert config.reads_ocr == (interaction == "tcd" and use_ocr)


def test_the_given_dict_is_not_changed():
    given = {"projection_dim": 16}
    TCDConfig(backbone_config=given)
    assert given == {"projection_dim": 16}


@pytest.mark.parametrize(
    ("fixture", "width"),
    [("tiny_clip_config", 16), ("tiny_siglip_config", 32), ("tiny_siglip2_config", 32), ("tiny_mixed_config", 16)],
)
def test_the_joint_width_is_read_off_the_backbone(request, fixture, width):
    assert TCDConfig(backbone_config=request.getfixturevalue(fixture)).projection_dim == width


def test_a_backbone_without_a_joint_space():
    bert = {"model_type": "bert", "hidden_size": 32, "num_attention_heads": 4}
    with pytest.raises(ValueError, match=r"BertConfig.*does not tell the width of its joint space"):
        TCDConfig(backbone_config=bert)
    assert TCDConfig(backbone_config=bert, projection_dim=32).projection_dim == 32  # known by hand: the config stands


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "`num_frames` must be 1 or more, got 0"),
        ({"fusion_num_heads": 0}, "`fusion_num_heads` must be 1 or more, got 0"),
        ({"text_condition_temperature": 0.0}, "`text_condition_temperature` must be above 0, got 0.0"),
        ({"text_condition_temperature": float("nan")}, "`text_condition_temperature` must be above 0, got nan"),
        ({"calibration_temperature": -1}, "`calibration_temperature` must be above 0, got -1"),
        ({"calibration_weight": -0.1}, "`calibration_weight` must be 0 or more, got -0.1"),
        ({"fusion_dropout": 1.0}, r"`fusion_dropout` must be in \[0, 1\), got 1.0"),
        ({"fusion_dropout": -0.1}, r"`fusion_dropout` must be in \[0, 1\), got -0.1"),
        ({"weak_temperature": 0}, "`weak_temperature` must be above 0, got 0"),
        ({"tib_patch_temperature": -0.1}, "`tib_patch_temperature` must be above 0, got -0.1"),
        ({"coarse_loss_weight": -1}, "`coarse_loss_weight` must be 0 or more, got -1"),
        ({"rerank_patch_weight": float("nan")}, "`rerank_patch_weight` must be 0 or more, got nan"),
        ({"temporal_num_layers": -1}, "`temporal_num_layers` must be 0 or more, got -1"),
        (
            {"rerank_video_weight": 0, "rerank_frame_weight": 0, "rerank_tib_frame_weight": 0},
            "there is no score to rank by",
        ),
        ({"search_calibration": {"lexical": 1.0}}, "must have 'bias', got lexical"),
        ({"search_calibration": {}}, "must have 'bias', got nothing"),
        ({"search_calibration": {"bias": 0, "lexical": 1, "ocr": 2}}, "has 'ocr', which is none of bias, text_video"),
        (
            {"search_calibration": {"bias": 0, "lexical": -1.0}},
            r"\['lexical'\]` must be a finite number, 0 or more, got -1.0",
        ),
        ({"search_calibration": {"bias": float("inf"), "lexical": 1}}, r"\['bias'\]` must be a finite number, got inf"),
        ({"fusion_num_heads": 3}, r"\(512\) must be a multiple of `fusion_num_heads` \(3\)"),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_numbers_out_of_range(options, message):
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        TCDConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 12.0},
        {"num_frames": "12"},
        {"use_ocr": "yes"},
        {"fusion_dropout": "0.3"},
        {"text_condition": "during"},
        {"interaction": "TCD"},
        {"text_condition_temperature": None},
        {"search_calibration": {"bias": "0", "lexical": 1.0}},
        {"search_calibration": 0.5},
    ],
    ids=str,
)
def test_wrong_types_and_unknown_choices(options):
    (name,) = options
    with pytest.raises(StrictDataclassError, match=name):
        TCDConfig(**options)


@pytest.mark.parametrize("name", ["text_condition_temperature", "fusion_dropout", "calibration_weight"])
def test_an_int_serves_as_a_float(name):
    assert getattr(TCDConfig(**{name: 0 if name == "fusion_dropout" else 2}), name) in (0, 2)


def test_a_number_changed_to_nonsense_is_refused_on_saving(tmp_path):
    config = TCDConfig()
    config.num_frames = -1
    with pytest.raises((ValueError, StrictDataclassError), match="`num_frames` must be 1 or more, got -1"):
        config.save_pretrained(tmp_path)


def test_a_misspelt_key_changes_no_option():
    # transformers keeps what it does not know as an attribute; `from_backbone` refuses it.
    config = TCDConfig(num_frame=3)
    assert config.num_frames == 12
    assert config.num_frame == 3


@pytest.mark.parametrize("name", ["temperature", "top_k"])
def test_no_option_has_the_name_of_a_generation_parameter(name):
    # transformers drops these keys without a word; ours are called text_condition_temperature and so on.
    assert name not in TCDConfig.__dataclass_fields__
    assert name not in TCDConfig(**{name: 3}).to_dict()


def test_positional_arguments_are_refused():
    with pytest.raises(ValueError, match="only keyword arguments"):
        TCDConfig(CLIPConfig())


def test_a_text_tower_alone_is_no_backbone():
    from tcd_hf.modeling.modeling_tcd import TCDModel

    config = TCDConfig(backbone_config=CLIPTextConfig(hidden_size=32, num_attention_heads=4, intermediate_size=37))
    with pytest.raises(ValueError, match="no dual encoder"):
        TCDModel(config)
