"""`accelerate launch -m tcd_hf.training`, in one process and in two, killed and resumed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from accelerate.state import AcceleratorState
from transformers import CLIPModel

from tcd_hf.data.synthesis import prepare_synthetic_videos
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.training import __main__ as training
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.training_data import make_world, save_start

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
NUM_STEPS = 24
OPTIONS = ["--batch_size", "4", "--epochs", "8", "--learning_rate", "1e-3", "--backbone_learning_rate", "1e-3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared data set, and models to start from."""
    folder = tmp_path_factory.mktemp("training")
    make_world().save_to_disk(folder / "data")
    save_start(folder / "start")
    model, processor = make_tiny_model(), make_tiny_processor()
    backbone = CLIPModel(model.config.backbone_config)
    backbone.save_pretrained(folder / "backbone")
    processor.tokenizer.save_pretrained(folder / "backbone")
    processor.image_processor.save_pretrained(folder / "backbone")
    return folder


@pytest.fixture(scope="module")
def synthetic_world(folder):
    """Clips of scene text, prepared for the model to start from: 3 steps an epoch, hard negatives among them."""
    for name in ("faker", "english_words", "font_lato", "font_caladea", "font_fredoka_one", "font_amatic_sc"):
        pytest.importorskip(name)
    prepare_synthetic_videos(folder / "world", ["train", "validation"], 12, model=folder / "start")
    return folder / "world"


@pytest.fixture(autouse=True)
def fresh_accelerator(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def log_of(output: Path) -> list[dict]:
    path = output / "training_log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_from_recipe_to_model(folder, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {folder / 'start'}\ndata: {folder / 'data'}\n"
        "batch_size: 6\nmodel_overrides: {use_ocr: false}\nmax_length: 9\n"
    )
    assert training.main([str(recipe), "--output", str(tmp_path / "run"), "--max_steps", "2"]) == 0
    assert "best validation R@1" in capsys.readouterr().out
    model = TCDModel.from_pretrained(tmp_path / "run" / "best")
    assert model.config.use_ocr is False
    processor = TCDProcessor.from_pretrained(tmp_path / "run" / "best")
    assert processor.num_frames == 4 and processor(text="a" * 20)["input_ids"].shape == (1, 9)
    assert [line["step"] for line in log_of(tmp_path / "run")] == [1, 2, 2]


def test_from_a_dual_encoder(folder, tmp_path):
    overrides = '{"num_frames": 4, "calibration_weight": 0.5}'
    arguments = ["--model", str(folder / "backbone"), "--data", str(folder / "data"), "--output", str(tmp_path / "run")]
    assert training.main([*arguments, "--model_overrides", overrides, "--max_steps", "1", "--batch_size", "4"]) == 0
    config = TCDModel.from_pretrained(tmp_path / "run" / "best").config
    assert config.num_frames == 4 and config.calibration_weight == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model_overrides", '{"use_orc": false}'], "use_orc"),
        (["--data", "nowhere"], "nowhere"),
        (["--model", "./nowhere"], "nowhere"),
        (["--num_processes", "2"], "1 run"),
        (["--batch_size", "13"], "too few"),
        (["--report_to", "nobody"], "nobody"),
        (["--report_to", "swanlab"], "pip install swanlab"),
    ],
)
def test_errors_are_told_in_a_line(folder, tmp_path, capsys, arguments, words):
    given = ["--model", str(folder / "start"), "--data", str(folder / "data"), "--output", str(tmp_path / "run")]
    assert training.main([*given, *arguments]) == 1
    error = capsys.readouterr().err
    assert "error: " in error and words in error and "Traceback" not in error


def test_usage(capsys):
    with pytest.raises(SystemExit) as error:
        training.main(["--data", "d"])
    assert error.value.code == 2 and "--model" in capsys.readouterr().err


def launch(output: Path, start: Path, data: Path, *arguments: str, launcher: str = "--multi_gpu"):
    """`accelerate launch`, which is not waited for."""
    command = [sys.executable, "-m", "accelerate.commands.launch", launcher, "--num_processes", "2"]
    command += ["--main_process_port", "0", "-m", "tcd_hf.training"]
    command += ["--model", str(start), "--data", str(data), "--output", str(output)]
    errors = output.with_suffix(".err").open("a")
    return subprocess.Popen([*command, *OPTIONS, *arguments], env=ENVIRONMENT, stdout=errors, stderr=errors)


def kill(process) -> None:
    """kill -9, of the launcher and of all that it started."""
    parent = psutil.Process(process.pid)
    for each in [*parent.children(recursive=True), parent]:
        each.kill()
    process.wait()


@pytest.mark.slow
def test_two_processes_killed_and_resumed_lose_nothing(folder, synthetic_world, tmp_path):
    start, data = folder / "start", synthetic_world
    alone, two = tmp_path / "alone", tmp_path / "two"
    first = launch(two, start, data, "--num_processes", "2", "--save_every", "4")
    while len(log_of(two)) < NUM_STEPS // 2:
        assert first.poll() is None, two.with_suffix(".err").read_text()
        time.sleep(0.02)
    kill(first)
    assert not (two / "training_log.jsonl").read_text().count(f'"step": {NUM_STEPS},')
    second = launch(two, start, data, "--num_processes", "2", "--save_every", "4", "--resume")
    assert second.wait(timeout=200) == 0, two.with_suffix(".err").read_text()
    assert "Resumed" in two.with_suffix(".err").read_text()
    paths = ["--model", str(start), "--data", str(data), "--output", str(alone)]
    assert training.main([*paths, *OPTIONS, "--chunk_size", "3"]) == 0

    expected, found = log_of(alone), log_of(two)
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    assert len([line for line in found if "loss" in line]) == NUM_STEPS
    for one, other in zip(found, expected, strict=True):
        for name in (name for name in other if "seconds" not in name):
            assert one[name] == pytest.approx(other[name], abs=1e-4), (one["step"], name)


@pytest.mark.slow
def test_one_process_where_two_were_meant_is_noticed(folder, tmp_path):
    process = launch(tmp_path / "run", folder / "start", folder / "data", launcher="--cpu")
    assert process.wait(timeout=200) != 0
    errors = (tmp_path / "run.err").read_text()
    assert "started one" in errors and "ACCELERATE_USE_CPU=true" in errors and "--multi_gpu" in errors
