"""Where the time of a training step goes, on a tiny model."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from tcd_hf.training.batching import PairCollator
from tcd_hf.training.recipe import TrainingRecipe
from tests.conftest import randomise_fusion
from tests.tcd_hf.conftest import NUM_FRAMES, make_tiny_model, make_tiny_processor


@pytest.fixture
def benchmark(monkeypatch):
    from scripts.benchmarks import training

    return training


def test_is_imported_where_there_is_no_resource_module(benchmark, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # Windows
    spec = importlib.util.find_spec("scripts.benchmarks.training")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def make_model(**options):
    return randomise_fusion(make_tiny_model(fusion_dropout=0.0, **options))


def measure(benchmark, model, steps=2, **options):
    recipe = TrainingRecipe("", "", "", batch_size=6, **options)
    return benchmark.measure(model, make_tiny_processor(), recipe, steps, Accelerator(cpu=True))


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_losses_are_those_of_the_plain_step(benchmark, chunk_size):
    report = measure(benchmark, make_model(), chunk_size=chunk_size)
    assert report["chunk_size"] == (chunk_size or 6)
    model = make_model().train()
    optimizer = benchmark.make_optimizer(model, TrainingRecipe("", "", "", batch_size=6))
    processor = make_tiny_processor()
    dataset = benchmark.make_pairs(6, processor)
    plan = benchmark.BatchPlan(dataset, 6)
    expected = []
    for [batch] in map(plan.epoch, range(benchmark.WARM_UP + 2)):
        rows = [dataset[row] for row, _ in batch]
        inputs = processor(
            text=[row["captions"][0] for row in rows],
            videos=[row["frames"] for row in rows],
            ocr_captions=[row["ocr_captions"] for row in rows],
        )
        loss = model(**inputs, return_loss=True).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    assert report["losses"] == pytest.approx(expected, abs=1e-4)
    assert len(set(expected)) == 3


class Delay(torch.autograd.Function):
    """Takes an hour, forward or backward, on a clock of the test's own; changes nothing."""

    @staticmethod
    def forward(context, tensor, now, forward):
        context.now, context.hours = now, 1 - forward
        now[0] += forward
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context, gradient):
        context.now[0] += context.hours
        return gradient, None, None


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])
@pytest.mark.parametrize("part", ["decode", "encode", "fusion", "scores", "loss", "optimizer"])
def test_time_belongs_to_its_part(benchmark, monkeypatch, part, forward, chunk_size):
    """Only what is slowed takes any time, so that each part must have exactly its own."""
    now = [0]
    monkeypatch.setattr("scripts.benchmarks.machine.time", SimpleNamespace(perf_counter=lambda: now[0]))
    model, hours = make_model(), 1

    def slow(function, field=None):
        """A function that takes an hour; of its output, gradients flow through one field."""

        def call(*args, **kwargs):
            output = function(*args, **kwargs)
            if field is None:
                return Delay.apply(output, now, forward)
            output[field] = Delay.apply(output[field], now, forward)
            return output

        return call

    def takes_an_hour(function):
        def call(*args):
            now[0] += 1
            return function(*args)

        return call

    if part == "encode":
        monkeypatch.setattr(model, "encode_videos", slow(model.encode_videos, "frame_embeds"))
        chunks = 1 if chunk_size is None else 6 // chunk_size
        hours = chunks * (2 if forward and chunks > 1 else 1)
    elif part == "fusion":
        monkeypatch.setattr(model, "fuse", slow(model.fuse, "fused_ocr_embeds"))
    elif part == "scores":
        monkeypatch.setattr(model, "score", slow(model.score, "similarity"))
        part = "fusion"
    elif part == "loss":
        monkeypatch.setattr(model.contrastive, "forward", slow(model.contrastive.forward))
        hours = 2  # of the similarity, and of coarse vectors
    elif not forward:
        pytest.skip("has no backward pass")
    elif part == "decode":
        monkeypatch.setattr("tcd_hf.training.batching.PairCollator.__call__", takes_an_hour(PairCollator.__call__))
        hours = 1 if chunk_size is None else 6 // chunk_size
    else:
        clip = takes_an_hour(torch.nn.utils.clip_grad_norm_)
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)

    recipe = TrainingRecipe("", "", "", batch_size=6, chunk_size=chunk_size)
    report = benchmark.measure(model, make_tiny_processor(), recipe, 2, Accelerator(cpu=True))
    assert report["seconds"] == {**dict.fromkeys(benchmark.PARTS, 0), part: hours}


def test_nothing_stays_patched(benchmark):
    model, backward = make_model(), torch.autograd.backward
    measure(benchmark, model, steps=1)
    assert torch.autograd.backward is backward
    assert not {"fuse", "score", "compute_losses"} & vars(model).keys()


def test_report(benchmark):
    report = measure(benchmark, make_model(), chunk_size=2)
    assert report["pairs_per_second"] == pytest.approx(6 / sum(report["seconds"].values()))
    assert report["peak_bytes"] > 50 * 2**20
    report["seconds"] = {"decode": 1.0, "encode": 7.0, "fusion": 0.5, "loss": 0.25, "optimizer": 1.25}
    text = benchmark.to_markdown(report)
    assert f"{NUM_FRAMES} frames, 6 pairs a step in chunks of 2, precision float32, 0 loading processes" in text
    assert "| encode | 7.000 | 70.0% |" in text and "| step | 10.000 |  |" in text
    assert "of a step, at most 10%: " in text
    for share, verdict in (
        (0.1, "10.0% of a step, at most 10%: holds"),
        (0.101, "10.1% of a step, at most 10%: FAILS"),
    ):
        assert verdict in benchmark.to_markdown({**report, "fusion_and_loss_share": share})


def test_options(benchmark, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "make_processor", make_tiny_processor)
    monkeypatch.setattr(benchmark, "TCDModel", lambda config: make_model())
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    AcceleratorState._reset_state(reset_partial_state=True)  # of another precision
    options = ["--batch-size", "4", "--chunk-size", "3", "--steps", "1", "--threads", "1", "--cpu"]
    assert benchmark.main([*options, "--precision", "bf16", "--json", str(tmp_path / "numbers.json")]) == 0
    assert "pairs/s" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["batch_size"], numbers["chunk_size"], numbers["precision"]) == (4, 3, "bf16")
    AcceleratorState._reset_state(reset_partial_state=True)


def test_mistakes(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--batch-size", "1"])
    assert "--batch-size must be at least 2, got 1" in capsys.readouterr().err
