"""Runs in small: what they leave behind, how they are stopped and resumed, what they refuse."""

import json
import math
import os
import subprocess

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import concatenate_datasets
from safetensors import safe_open

from tcd_hf.evaluation.metrics import compute_retrieval_metrics
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.training import checkpointing, loop
from tcd_hf.training.checkpointing import replace_folder
from tcd_hf.training.loop import train
from tcd_hf.training.processes import check_processes
from tcd_hf.training.recipe import TrainingRecipe, parse_recipe
from tcd_hf.training.run_state import TrainingLog, git_revision
from tcd_hf.training.validation import validate
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.training_data import make_split, make_world

ROUNDING = 1e-4  # of two runs on the same pairs in the same order, relative: Adam divides small gradients by small ones
SMALL = {"batch_size": 4, "chunk_size": 2, "epochs": 2, "learning_rate": 1e-3, "backbone_learning_rate": 1e-3}


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Each run may ask for another precision or tracker, which a process decides once."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def run(world, output, model=None, **options):
    recipe = TrainingRecipe("start", "data", str(output), **{**SMALL, **options})
    return train(model or make_tiny_model(), make_tiny_processor(), world, recipe, Accelerator(cpu=True))


def log_of(output) -> list[dict]:
    lines = [json.loads(line) for line in (output / "training_log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in lines]


def assert_same_log(found: list[dict], expected: list[dict]) -> None:
    """Line by line; what is computed, to rounding."""
    assert [line.keys() for line in found] == [line.keys() for line in expected]
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    assert found == [pytest.approx(line, rel=ROUNDING) for line in expected]


@pytest.fixture(scope="module")
def unbroken(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("unbroken")
    return output, run(world, output)


def test_log_of_a_run(unbroken):
    log = log_of(unbroken[0])
    assert [line["step"] for line in log] == [1, 2, 3, 3, 4, 5, 6, 6]
    steps = [line for line in log if "loss" in line]
    assert [line["epoch"] for line in steps] == [1, 1, 1, 2, 2, 2]
    for line in steps:
        parts = line["contrastive_loss"] + 0.1 * line["calibration_loss"] + 0.2 * line["coarse_loss"]
        assert line["loss"] == pytest.approx(parts + 0.001 * line["pearson_loss"], rel=1e-5)
    assert len({line["loss"] for line in steps}) == 6 and all(line["grad_norm"] > 0 for line in steps)


def test_best_is_the_best_epoch_and_loads(unbroken, world):
    output, metrics = unbroken
    evaluations = [line for line in log_of(output) if "loss" not in line]
    order = [(line["validation/t2v_R@1"], line["validation/t2v_MRR"]) for line in evaluations]
    assert max(order) == (metrics["t2v_R@1"], metrics["t2v_MRR"])
    about = json.loads((output / "best" / "provenance.json").read_text())
    assert about["step"] == evaluations[order.index(max(order))]["step"] and about["validation"] == metrics
    installed = [version.split("+")[0] for version in (about["packages"]["torch"], torch.__version__)]
    assert installed[0] == installed[1] and len(about["git_revision"] or "x" * 40) >= 40

    model, processor = TCDModel.from_pretrained(output / "best"), TCDProcessor.from_pretrained(output / "best")
    split = world["validation"]
    inputs = processor(
        text=[caption for captions in split["captions"] for caption in captions],
        videos=list(split["frames"]),
        ocr_captions=list(split["ocr_captions"]),
    )
    with torch.no_grad():
        logits = model(**inputs).logits_per_text.numpy()
    owners = [video for video, captions in enumerate(split["captions"]) for _ in captions]
    found = compute_retrieval_metrics(logits, owners)
    assert found == pytest.approx({name: metrics[name] for name in found}, rel=ROUNDING)
    assert {"t2v_R@1/text", "t2v_R@1/both"} < metrics.keys()


def test_recipe_beside_the_weights_starts_the_same_run(unbroken):
    recipe = parse_recipe([str(unbroken[0] / "best" / "recipe.yaml")])
    assert recipe == TrainingRecipe("start", "data", str(unbroken[0]), **SMALL)


def test_nothing_but_safetensors_and_text_is_written(unbroken):
    endings = {path.suffix for path in unbroken[0].rglob("*") if path.is_file()}
    assert endings == {".safetensors", ".json", ".jsonl", ".yaml", ".py"}
    assert sorted(path.name for path in unbroken[0].iterdir()) == [
        "best",
        "checkpoint.safetensors",
        "training_log.jsonl",
    ]


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill -9."""


@pytest.mark.parametrize(("after", "save_every", "chunk_size"), [(4, 2, 2), (5, None, 2), (3, 1, 4), (1, None, 2)])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    world, unbroken, tmp_path, monkeypatch, after, save_every, chunk_size
):
    backward, steps = loop.backward_of_batch, iter(range(after))

    def kill(*arguments):
        if next(steps, None) is None:
            raise Killed
        return backward(*arguments)

    monkeypatch.setattr(loop, "backward_of_batch", kill)
    with pytest.raises(Killed):
        run(world, tmp_path, save_every=save_every)
    with (tmp_path / "training_log.jsonl").open("a") as file:
        file.write('{"step": 99, "los')  # what a kill may leave
    monkeypatch.setattr(loop, "backward_of_batch", backward)
    seed = 0 if after == 1 else 5  # where no checkpoint had been made, the run begins anew
    metrics = run(world, tmp_path, make_tiny_model(seed=seed), resume=True, chunk_size=chunk_size)
    assert metrics == pytest.approx(unbroken[1], rel=ROUNDING)
    assert_same_log(log_of(tmp_path), log_of(unbroken[0]))


def test_a_finished_run_resumed_has_nothing_to_do(world, tmp_path):
    first = run(world, tmp_path, epochs=1)
    before = (tmp_path / "training_log.jsonl").read_text()
    assert run(world, tmp_path, epochs=1, resume=True) == first
    assert (tmp_path / "training_log.jsonl").read_text() == before


def test_a_run_is_neither_overwritten_nor_continued_with_another_recipe(world, unbroken):
    with pytest.raises(ValueError, match="--resume to continue"):
        run(world, unbroken[0])
    with pytest.raises(ValueError, match=r"learning_rate: 0.001 then, 0.01 now"):
        run(world, unbroken[0], resume=True, learning_rate=0.01)
    with pytest.raises(ValueError, match=r"videos to train on: 12 then, 9 now"):
        run({**world, "train": make_split(9)}, unbroken[0], resume=True)
    with pytest.raises(ValueError, match="checkpoint of another model"):
        run(world, unbroken[0], make_tiny_model(use_distillation=False), resume=True)


def test_a_run_that_some_processes_do_not_see_is_not_resumed(world, tmp_path, monkeypatch):
    """As on machines without a shared disk, of which all but the first would begin anew."""
    run(world, tmp_path, max_steps=2)
    monkeypatch.setattr(Accelerator, "gather", lambda self, tensor: torch.cat([tensor, torch.zeros_like(tensor)]))
    with pytest.raises(ValueError, match=r"\[2, 0\].* --output on a disk that all machines share"):
        run(world, tmp_path, max_steps=2, resume=True)


def test_videos_without_captions_are_left_out_with_one_warning(world, unbroken, tmp_path, caplog):
    bare = world["train"].select([0, 5, 11]).remove_columns("captions").add_column("captions", [[]] * 3)
    train_split = concatenate_datasets([bare.cast(world["train"].features), world["train"]])
    run({**world, "train": train_split}, tmp_path)
    warnings = [record.getMessage() for record in caplog.records if "no caption" in record.getMessage()]
    assert warnings == ["3 of 15 videos to train on have no caption and are left out."]
    assert_same_log(log_of(tmp_path), log_of(unbroken[0]))


def test_a_checkpoint_is_replaced_whole_or_not_at_all(world, tmp_path, monkeypatch):
    run(world, tmp_path, max_steps=1)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()

    def fail(tensors, path, metadata):
        path.write_bytes(b"half a file")
        raise Killed

    monkeypatch.setattr(checkpointing, "save_file", fail)
    model = make_tiny_model()
    with pytest.raises(Killed):
        checkpointing.save_checkpoint(tmp_path / "checkpoint.safetensors", model, loop.make_optimizer(model, SOME), {})
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == 1
        kinds = {name.split(".")[1] for name in set(file.keys()) if name.startswith("optimizer.")}
    assert kinds == {"step", "exp_avg", "exp_avg_sq"}


SOME = TrainingRecipe("start", "data", "output")


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path):
    def write(text):
        def write_folder(folder):
            folder.mkdir()
            (folder / "file").write_text(text)
            if text == "bad":
                raise Killed

        return write_folder

    for text in ("one", "two"):
        replace_folder(tmp_path / "best", write(text))
    with pytest.raises(Killed):
        replace_folder(tmp_path / "best", write("bad"))
    assert (tmp_path / "best" / "file").read_text() == "two"
    replace_folder(tmp_path / "best", write("three"))
    assert os.listdir(tmp_path) == ["best"] and (tmp_path / "best" / "file").read_text() == "three"


def test_without_a_validation_split_the_last_is_best(world, tmp_path, caplog):
    model = make_tiny_model()
    assert run({"train": world["train"]}, tmp_path, model) == {}
    assert 'no split "validation"' in caplog.text
    saved = TCDModel.from_pretrained(tmp_path / "best").state_dict()
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_the_test_split_is_never_read(world, unbroken, tmp_path):
    class Forbidden:
        def __getattr__(self, name):
            raise AssertionError(f"the test split was asked for {name}")

        __getitem__ = __len__ = __iter__ = __getattr__

    run({**world, "test": Forbidden()}, tmp_path)
    assert_same_log(log_of(tmp_path), log_of(unbroken[0]))


def test_training_learns(world, tmp_path):
    """What a caption names is what is read: the loss falls below that of chance, log 12."""
    rates = {"learning_rate": 3e-3, "backbone_learning_rate": 3e-3}
    run({"train": world["train"]}, tmp_path, epochs=30, batch_size=12, chunk_size=12, **rates)
    losses = [line["contrastive_loss"] for line in log_of(tmp_path)]
    assert losses[-1] < 0.7 * math.log(12) < losses[0]


def test_coarse_to_fine_and_grouped_batches_train(world, tmp_path):
    model = make_tiny_model(interaction="tib", temporal_num_layers=1, use_patch_features=True)
    metrics = run(world, tmp_path, model, group_by_negatives=True, epochs=1, gradient_checkpointing=True)
    assert 0 <= metrics["t2v_R@1"] <= 1 and "calibration_loss" not in log_of(tmp_path)[0]


def test_mixed_precision_is_near(world, unbroken, tmp_path):
    recipe = TrainingRecipe("start", "data", str(tmp_path), **SMALL, mixed_precision="bf16", num_workers=1)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    model = make_tiny_model()
    train(model, make_tiny_processor(), world, recipe, accelerator)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    first, exact = log_of(tmp_path)[0]["loss"], log_of(unbroken[0])[0]["loss"]
    assert first != pytest.approx(exact, rel=ROUNDING) and first == pytest.approx(exact, rel=0.05)


def test_a_loss_that_is_no_number_ends_the_run(world, tmp_path):
    model = make_tiny_model()
    with torch.no_grad():
        model.coarse_projection.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="loss of step 1 is nan"):
        run(world, tmp_path, model)


def test_accelerator_and_recipe_agree_on_precision(world, tmp_path):
    with pytest.raises(ValueError, match="'bf16', that of the accelerator 'no'"):
        run(world, tmp_path, mixed_precision="bf16")


def test_tensorboard_is_told(world, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = TrainingRecipe("start", "data", str(tmp_path), **{**SMALL, "report_to": ["tensorboard"], "epochs": 1})
    train(make_tiny_model(), make_tiny_processor(), world, recipe)
    (events,) = tmp_path.glob("tcd-hf/events*")
    found = accumulator.EventAccumulator(str(events)).Reload()
    lines = log_of(tmp_path)
    assert [(each.step, each.value) for each in found.Scalars("loss")] == [
        (line["step"], pytest.approx(line["loss"])) for line in lines if "loss" in line
    ]
    assert [each.step for each in found.Scalars("validation/t2v_R@1")] == [3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": None}, 'split "train"'),
        ({"train": "no frames"}, "no prepared data set"),
        ({"processor": 5}, "processor makes 5 frames"),
        ({"batch_size": 13}, "has 12 videos, too few"),
        ({"validation": "no captions"}, "0 different captions, too few for 1 process"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(world, tmp_path, change, words):
    splits, processor = dict(world), make_tiny_processor()
    if "train" in change:
        splits.pop("train")
    if change.get("train") == "no frames":
        splits["train"] = world["train"].remove_columns("frames")
    if "validation" in change:
        empty = [[] for _ in world["validation"]]
        splits["validation"] = world["validation"].remove_columns("captions").add_column("captions", empty)
    processor.num_frames = change.get("processor", processor.num_frames)
    options = {**SMALL, "batch_size": change.get("batch_size", 4)}
    with pytest.raises(ValueError, match=words):
        train(make_tiny_model(), processor, splits, TrainingRecipe("start", "data", str(tmp_path / "run"), **options))
    assert not (tmp_path / "run").exists()


ALONE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}  # accelerate launch --cpu --num_processes 2


@pytest.mark.parametrize(
    ("num_processes", "options", "environment", "words"),
    [
        (1, {"num_processes": 2}, {}, "is 2, but 1 run"),
        (1, {}, ALONE, "started one"),
        (4, {"batch_size": 6}, {}, "multiple of their number, 4; got 6"),
    ],
)
def test_another_number_of_processes_than_asked_for(num_processes, options, environment, words):
    recipe = TrainingRecipe("start", "data", "output", **options)
    with pytest.raises(ValueError, match=words):
        check_processes(num_processes, recipe, environment)


def test_numbers_of_processes_that_are_as_asked_for():
    recipe = TrainingRecipe("start", "data", "output", batch_size=4)
    check_processes(1, recipe, {})
    check_processes(1, recipe, {"MASTER_PORT": "29500"})  # some clusters set it for all
    check_processes(2, recipe, {**ALONE, "WORLD_SIZE": "2"})
    check_processes(1, TrainingRecipe("start", "data", "output", num_processes=1), ALONE)


def test_validation_leaves_the_model_as_it_was(world):
    model = make_tiny_model().train()
    metrics = validate(model, make_tiny_processor(), world["validation"], Accelerator(cpu=True), batch_size=4)
    assert model.training and 0 <= metrics["t2v_R@1"] <= 1


def test_a_resumed_log_forgets_what_came_after(tmp_path):
    path = tmp_path / "log.jsonl"
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4)), (0, (1,))):
        log = TrainingLog(path, Accelerator(cpu=True), start)
        for step in steps:
            log(step, loss=start + 0.5)
        log.close()
        found = [(line["step"], line["loss"]) for line in map(json.loads, path.read_text().splitlines())]
        if start == 2:
            assert found == [(1, 0.5), (2, 0.5), (3, 2.5), (4, 2.5)]
    assert found == [(1, 0.5)]


def test_revision_of_the_repository_that_tracks_the_code(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.check_output(["git", "-C", tmp_path, *identity, *arguments], text=True).strip()

    own, installed = tmp_path / "code.py", tmp_path / "venv" / "package.py"
    installed.parent.mkdir()
    own.write_text("")
    installed.write_text("")
    assert git_revision(own) is None
    git("init", "--quiet")
    git("add", "code.py")
    git("commit", "--quiet", "-m", "code")
    assert git_revision(own) == git("rev-parse", "HEAD")
    assert git_revision(installed) is None
    own.write_text("changed")
    assert git_revision(own) == git("rev-parse", "HEAD") + "-dirty"
