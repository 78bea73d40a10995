"""Recipes: from a file, from the command line, refused when they make no sense, written and read again."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from datasets import Dataset

from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.training.batching import BatchPlan
from tcd_hf.training.recipe import (
    TrainingRecipe,
    find_recipe,
    list_recipes,
    parse_recipe,
    read_recipe,
    write_recipe,
)
from tests.tcd_hf.conftest import invoke

NEEDED = ["--model", "m", "--data", "d", "--output", "o"]
FIELDS = {"model": "m", "data": "d", "output": "o"}


def write(path: Path, **values) -> str:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(path)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = write(tmp_path / "recipe.yaml", model="m", data="d", batch_size=8, seed=3, gradient_checkpointing=True)
    recipe = parse_recipe([file, "--output", "o", "--seed", "5", "--report-to", "tensorboard", "wandb"])
    expected = {"batch_size": 8, "seed": 5, "gradient_checkpointing": True, "report_to": ["tensorboard", "wandb"]}
    assert recipe == TrainingRecipe(**FIELDS, **expected)


def test_switches_and_none():
    recipe = parse_recipe([*NEEDED, "--resume", "--gradient_checkpointing", "--report_to", "none"])
    assert recipe.resume and recipe.gradient_checkpointing and recipe.report_to == []


def test_a_small_number_that_yaml_takes_for_a_string(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("learning_rate: 1e-5\nmax_grad_norm: .inf\n")
    assert isinstance(yaml.safe_load(path.read_text())["learning_rate"], str)
    recipe = parse_recipe([str(path), *NEEDED])
    assert recipe.learning_rate == 1e-5 and recipe.max_grad_norm == float("inf")


def test_overrides_as_mapping_and_as_json(tmp_path):
    file = write(tmp_path / "recipe.yaml", **FIELDS, model_overrides={"use_ocr": False, "calibration_weight": 0.05})
    assert parse_recipe([file]).model_overrides == {"use_ocr": False, "calibration_weight": 0.05}
    recipe = parse_recipe([file, "--model_overrides", '{"use_ocr": true}'])  # in place of the file's
    assert recipe.model_overrides == {"use_ocr": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch_sise", "4"], ["--batch_sise"]),
        (["--batch", "4"], ["--batch"]),  # no abbreviations: a new field would change their meaning
        (["--batch_size", "1"], ["batch_size", "negative"]),
        (["--batch_size", "many"], ["batch_size", "many"]),
        (["--max_steps", "0"], ["max_steps", "0"]),
        (["--max_length", "2"], ["max_length", "2"]),
        (["--learning_rate", "-1"], ["learning_rate", "-1"]),
        (["--learning_rate", "nan"], ["learning_rate", "nan"]),
        (["--warmup_share", "1.5"], ["warmup_share", "1.5"]),
        (["--betas", "0.9"], ["betas", "two numbers"]),
        (["--betas", "0.9", "1"], ["betas", "[0, 1)"]),
        (["--epoch_of", "texts"], ["epoch_of", "captions"]),
        (["--max_grad_norm", "0"], ["max_grad_norm", "above 0"]),
        (["--mixed_precision", "fp16"], ["fp16", "bf16"]),
        (["--model_overrides", "use_ocr"], ["model_overrides", "JSON"]),
        (["--model_overrides", "[1]"], ["model_overrides", "[1]"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(arguments, words, capsys):
    with pytest.raises(SystemExit) as error:
        parse_recipe([*NEEDED, *arguments])
    message = capsys.readouterr().err
    assert error.value.code == 2 and all(word in message for word in words), message


def test_files_that_are_no_recipe(tmp_path, capsys):
    for arguments, words in (
        ([write(tmp_path / "a.yaml", learning_rat=1)], "learning_rat"),
        ([str(tmp_path / "none.yaml")], "none.yaml"),
        ([write(tmp_path / "b.yaml", batch_size=4)], "required: --model"),
    ):
        with pytest.raises(SystemExit):
            parse_recipe(arguments)
        assert words in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="must map fields"):
        read_recipe(tmp_path / "c.yaml")


def test_fp16_is_refused_in_python_too():
    with pytest.raises(ValueError, match="bf16"):
        TrainingRecipe(**FIELDS, mixed_precision="fp16")


def test_a_written_recipe_gives_the_same_run(tmp_path):
    recipe = TrainingRecipe(
        **FIELDS, model_overrides={"num_frames": 4}, report_to=["wandb"], learning_rate=3e-7, max_grad_norm=float("inf")
    )
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert set(read_recipe(tmp_path / "recipe.yaml")) == {each.name for each in dataclasses.fields(TrainingRecipe)}
    assert parse_recipe([str(tmp_path / "recipe.yaml")]) == recipe


@pytest.mark.parametrize(
    ("name", "expected", "overrides"),
    [
        ("tcd_textvr", {"batch_size": 42, "learning_rate": 1e-5}, {"interaction": "tcd", "calibration_weight": 0.1}),
        ("tcd_m4_vitevqa", {"batch_size": 42, "backbone_learning_rate": 1e-6}, {"calibration_weight": 0.1}),
        ("tcd_msrvtt", {"batch_size": 42, "epochs": 5}, {"calibration_weight": 0.05, "fusion_dropout": 0.3}),
        (
            "eercf_msrvtt",
            {"batch_size": 240, "learning_rate": 1e-4, "backbone_learning_rate": 1e-7, "max_grad_norm": 1.0},
            {"interaction": "tib", "coarse_loss_weight": 0.8, "tib_loss_weight": 0.2, "pearson_weight": 0.001},
        ),
    ],
)
def test_recipes_of_the_papers(name, expected, overrides):
    recipe = parse_recipe([name, "--output", "o"])
    assert recipe.max_length == (32 if name == "eercf_msrvtt" else None)
    assert recipe.model == "openai/clip-vit-base-patch32" and recipe.weight_decay == 0.2 and recipe.warmup_share == 0.1
    assert expected.items() <= vars(recipe).items()
    config = TCDConfig(**recipe.model_overrides)
    assert overrides.items() <= config.to_dict().items() and config.num_frames == 12
    assert set(recipe.model_overrides) <= set(TCDConfig.__dataclass_fields__)
    assert recipe.betas == ([0.9, 0.98] if name == "eercf_msrvtt" else [0.9, 0.999])
    assert ("--no-ocr" in find_recipe(name).read_text()) == (config.interaction == "tib")


@pytest.mark.parametrize(
    ("name", "captions", "num_steps"),
    [
        ("eercf_msrvtt", [20] * 9000, 3750),
        ("tcd_msrvtt", [20] * 9000, 21425),
        ("tcd_msrvtt_as_printed", [20] * 9000, 21425),
        ("tcd_textvr", [4] * 850 + [5] * 7250, 4720),  # 39,650 captions
        ("tcd_textvr_as_printed", [4] * 850 + [5] * 7250, 4720),
    ],
)
def test_recipes_make_the_steps_of_the_papers(name, captions, num_steps):
    recipe, dataset = (
        parse_recipe([name, "--output", "o"]),
        Dataset.from_dict({"captions": [["a"] * n for n in captions]}),
    )
    plan = BatchPlan(dataset, recipe.batch_size, epoch_of=recipe.epoch_of)
    assert recipe.epochs * plan.steps_per_epoch == recipe.max_steps == num_steps


def test_activitynet_has_64_frames_and_64_tokens():
    recipe = parse_recipe(["eercf_activitynet", "--output", "o"])
    assert TCDConfig(**recipe.model_overrides).num_frames == recipe.max_length == 64
    assert "--num-frames 64" in find_recipe("eercf_activitynet").read_text()


@pytest.mark.parametrize("name", ["tcd_textvr", "tcd_m4_vitevqa", "tcd_msrvtt"])
def test_as_printed_differs_where_it_is_ours(name):
    ours, printed = (parse_recipe([each, "--output", "o"]) for each in (name, f"{name}_as_printed"))
    fields = {"text_condition": "before", "fusion_num_heads": 8, "coarse_loss_weight": 0.0, "pearson_weight": 0.0}
    assert printed.model_overrides == {**ours.model_overrides, **fields, "temporal_num_layers": 0}
    assert vars(printed) | {"model_overrides": None} == vars(ours) | {"model_overrides": None}


def test_recipes_are_listed_and_found_by_name_or_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = list_recipes()
    assert {"tcd_textvr", "eercf_msrvtt", "tcd_synthetic"} <= set(listed)
    assert listed["tcd_textvr"].startswith("TCD on TextVR (AAAI 2026)")
    for name in listed:
        assert parse_recipe([name, "--output", "o"]).output == "o"
    own = Path(write(tmp_path / "tcd_textvr", **FIELDS))
    assert find_recipe("tcd_textvr") == own.relative_to(tmp_path)  # a file of that name wins
    for missing in ("no_such_recipe", "../recipes/tcd_msrvtt"):
        with pytest.raises(
            ValueError, match=rf"no recipe '{missing}': name a YAML file, or one of \['eercf_activitynet'"
        ):
            find_recipe(missing)


def test_the_command_lists_and_prints_them():
    listed = invoke("recipes")
    assert listed.exit_code == 0 and all(name in listed.stdout for name in list_recipes())
    assert invoke("recipes", "tcd_textvr").stdout == find_recipe("tcd_textvr").read_text(encoding="utf-8")
    assert invoke("recipes", "no_such_recipe").exit_code == 1
