import json
import re

import pytest
from huggingface_hub import ModelCard
from transformers import BertConfig, CLIPConfig, ViTConfig

from tcd_hf.evaluation.report import ALL_QUERIES, to_markdown, write_results
from tcd_hf.model_card import forget_folders, hub_names, make_model_card, read_results
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.configuration_two_tower import TwoTowerConfig

METRICS = {"queries": 8, "R@1": 0.625, "R@10": 0.875, "MdR": 1.5, "MRR": 0.71875}
RESULTS = {ALL_QUERIES: {"t2v": METRICS, "v2t": METRICS | {"R@1": 0.5}}, "binding": {"t2v": METRICS | {"R@1": 0.25}}}


def make_config(backbone_name: str = "", **options) -> TCDConfig:
    return TCDConfig(backbone_config=CLIPConfig(name_or_path=backbone_name), **options)


def results_file(all_queries: dict) -> str:
    return json.dumps({"about": {}, "results": {ALL_QUERIES: all_queries}})


def parse(card: ModelCard) -> ModelCard:
    """The card as a reader of the file gets it."""
    return ModelCard(str(card), ignore_metadata_errors=False)


class TestCard:
    def test_results(self):
        card = parse(make_model_card(make_config(), "org/name", {"Town, test split": RESULTS, "Village": RESULTS}))
        values = {(each.dataset_name, each.metric_name): each.metric_value for each in card.data.eval_results}
        assert len(values) == len(card.data.eval_results) == 2 * 3 * 4  # each metric, and no count of queries
        assert values["Town, test split", "R@1, text to video, all queries"] == 0.625
        assert values["Town, test split", "R@1, video to text, all queries"] == 0.5
        assert values["Village", "R@1, text to video, binding"] == 0.25
        assert {each.metric_type for each in card.data.eval_results} == {
            "recall_at_1",
            "recall_at_10",
            "median_rank",
            "mean_reciprocal_rank",
        }
        assert card.data.model_name == "name"
        assert f"### Town, test split\n\n{to_markdown(RESULTS)}\n" in card.text
        assert "without a measurement" not in card.text

    def test_no_figure_without_results(self):
        card = parse(make_model_card(make_config(), "org/name"))
        assert card.data.eval_results is None
        assert "model-index" not in str(card)
        assert "published without a measurement" in card.text
        told = card.text.split("## Citation")[0].replace("transformers>=5.13,<6", "")
        assert not re.search(r"\d\.\d|\d %", told)

    def test_metadata(self):
        data = parse(make_model_card(make_config("openai/clip-vit-base-patch32"), "org/name")).data
        assert data.pipeline_tag == "feature-extraction"
        assert data.library_name == "transformers"
        assert data.license == "apache-2.0"
        assert data.base_model == "openai/clip-vit-base-patch32"
        assert {"text-video-retrieval", "ocr"} <= set(data.tags)

    def test_text(self):
        text = parse(make_model_card(make_config("openai/clip-vit-base-patch32"), "org/name")).text
        assert text.strip().startswith("# name\n")
        assert 'AutoProcessor.from_pretrained("org/name", trust_remote_code=True)' in text
        assert "https://huggingface.co/openai/clip-vit-base-patch32" in text
        for needed in ("## How to use", "## Limits", "10.1609/aaai.v40i16.38335", "10.1609/aaai.v38i6.28327"):
            assert text.count(needed) == 1, needed
        assert "{repo_id}" not in text
        assert "OCR engine" in text
        assert max(map(len, text.splitlines())) < 140

    @pytest.mark.parametrize("options", [{"interaction": "tib"}, {"use_ocr": False}])
    def test_of_a_model_that_does_not_read(self, options):
        card = parse(make_model_card(make_config(**options), "org/name"))
        assert "does not read" in card.text
        assert "ocr" not in card.data.tags
        assert "OCR engine" not in card.text
        assert ("EERCF" in card.text.split("## How to use")[0]) == ("interaction" in options)

    def test_what_the_author_wrote_stays(self):
        measured = str(make_model_card(make_config(), "org/old", {"Town": RESULTS}))
        metadata = measured.split("---\n")[1].replace("license: apache-2.0", "license: cc-by-nc-4.0\nlanguage: en")
        metadata = metadata.replace("- ocr", "- ocr\n- mine")
        own = ModelCard(f"---\n{metadata}---\n\n# Mine\n\nTrained by me.\n")
        card = parse(make_model_card(make_config(), "org/name", {"Village": RESULTS}, own))
        assert card.text.strip().startswith("# Mine\n\nTrained by me.\n\n## How to use")
        assert "## Limits" not in card.text
        assert (card.data.license, card.data.language) == ("cc-by-nc-4.0", "en")
        assert card.data.tags.count("ocr") == card.data.tags.count("mine") == 1
        assert {each.dataset_name for each in card.data.eval_results} == {"Village"}  # nothing but the results given


@pytest.mark.parametrize("name", ["", "/home/me/clip", "../clip", "clip"])
def test_only_names_of_the_hub_are_base_models(name):
    config = make_config(name)
    assert hub_names(config) == []
    assert parse(make_model_card(config, "org/name")).data.base_model is None


def test_a_local_folder_is_no_base_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_names(make_config("models/clip")) == ["models/clip"]
    (tmp_path / "models" / "clip").mkdir(parents=True)
    assert hub_names(make_config("models/clip")) == []


def test_two_towers_are_two_base_models():
    towers = {"text_config": BertConfig(name_or_path="org/text"), "vision_config": ViTConfig(name_or_path="org/image")}
    config = TCDConfig(backbone_config=TwoTowerConfig(**towers).to_dict())
    card = parse(make_model_card(config, "org/name"))
    assert card.data.base_model == hub_names(config) == ["org/text", "org/image"]
    assert "[org/text](https://huggingface.co/org/text) and [org/image](" in card.text
    towers["vision_config"] = ViTConfig(name_or_path="/home/me/image")
    config = TCDConfig(backbone_config=TwoTowerConfig(**towers).to_dict())
    assert hub_names(config) == ["org/text"]
    forget_folders(config)
    assert config.backbone_config.vision_config._name_or_path == ""
    assert config.backbone_config.text_config._name_or_path == "org/text"


class TestResults:
    def test_are_read_as_written(self, tmp_path):
        write_results(RESULTS, tmp_path / "results.json", {"dataset": "Town"})
        assert read_results(tmp_path / "results.json") == RESULTS

    @pytest.mark.parametrize(
        ("content", "cause"),
        [
            ("not json", "no JSON"),
            ("[]", "no entry 'all queries'"),
            (json.dumps({"text_queries": {}}), "no entry 'all queries'"),
            (results_file({}), "'all queries' must have directions"),
            (results_file({"sideways": METRICS}), "directions among"),
            (results_file({"t2v": {"R@1": 0.5}}), "the count 'queries'"),
            (results_file({"t2v": METRICS | {"R@1": "0.5"}}), "must hold numbers"),
            (results_file({"t2v": METRICS | {"R@1": float("nan")}}), "a NaN"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path, content, cause):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(ValueError, match=cause) as error:
            read_results(tmp_path / "other.json")
        assert "other.json" in str(error.value)
