"""Training and running as people of this ecosystem do it, as far as a CPU goes: halves, sharded weights, compiled
encoding, workers that are spawned. The model and the batch are tiny."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from tests.conftest import clip_inputs
from tests.tokenizers import letter_processor

ROOT = Path(__file__).resolve().parents[2]
STEPS = 3

# One of two processes that share a model out between them.
WORKER = """
import os, sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tcd_hf.modeling.modeling_tcd import TCDModel

folder, rank, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
meeting = (folder / "meeting").as_uri()
dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=60))
model = TCDModel.from_pretrained(folder).train()
mesh = init_device_mesh("cpu", (2,))
for module in model.modules():
    if type(module).__name__ in model._no_split_modules:
        fully_shard(module, mesh=mesh)
# FSDP shards no scalars, such as CLIP's `logit_scale`.
fully_shard(model, mesh=mesh, ignored_params={weight for weight in model.parameters() if weight.ndim == 0})
optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.ndim], lr=0.1)
inputs = {name: value.chunk(2)[rank] for name, value in load_file(folder / "inputs.safetensors").items()}
losses = []
for _ in range(steps):
    loss = model(**inputs, return_loss=True).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.detach())
model.eval()
with torch.no_grad():
    scores = model(**inputs).logits_per_text.contiguous()
save_file({"losses": torch.stack(losses), "scores": scores}, folder / f"{rank}.safetensors")
dist.barrier()
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)  # threads of gloo may outlive the interpreter and abort it
"""


def train(model, inputs, step) -> list[float]:
    losses = []
    for _ in range(STEPS):
        loss = step(model, inputs)
        losses.append(loss.item())
    assert all(weight.isfinite().all() for weight in model.parameters())
    return losses


@pytest.fixture
def plain_losses(make_model):
    """What training gives in float32, without anything else."""
    model, inputs = make_model(randomise=True, fusion_dropout=0.0).train(), clip_inputs(num_texts=4, num_videos=4)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.ndim], lr=0.1)

    def step(model, inputs):
        loss = model(**inputs, return_loss=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return train(model, inputs, step)


def test_bf16_under_accelerate(make_model, plain_losses):
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(True)  # of another precision
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    try:
        model = make_model(randomise=True, fusion_dropout=0.0).train()
        optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.ndim], lr=0.1)
        model, optimizer = accelerator.prepare(model, optimizer)

        def step(model, inputs):
            loss = model(**inputs, return_loss=True).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            return loss

        losses = train(model, clip_inputs(num_texts=4, num_videos=4), step)
    finally:
        accelerate.state.AcceleratorState._reset_state(True)
    np.testing.assert_allclose(losses, plain_losses, rtol=0.1)


def test_fp16_with_a_scaler(make_model, plain_losses):
    model, scaler = make_model(randomise=True, fusion_dropout=0.0).train(), torch.amp.GradScaler("cpu", init_scale=256)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.ndim], lr=0.1)

    def step(model, inputs):
        with torch.autocast("cpu", torch.float16):
            loss = model(**inputs, return_loss=True).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return loss

    np.testing.assert_allclose(train(model, clip_inputs(num_texts=4, num_videos=4), step), plain_losses, rtol=0.05)


@pytest.mark.slow
def test_two_processes_that_share_a_model_out_train_as_one(make_model, plain_losses, tmp_path):
    model = make_model(randomise=True, fusion_dropout=0.0)
    model.save_pretrained(tmp_path)
    save_file(clip_inputs(num_texts=4, num_videos=4), tmp_path / "inputs.safetensors")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    start = partial(subprocess.Popen, env=environment, stderr=subprocess.PIPE, text=True)
    processes = [start([*command, str(rank), str(STEPS)]) for rank in range(2)]
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "\n".join(errors)
    for rank in range(2):
        results = load_file(tmp_path / f"{rank}.safetensors")
        torch.testing.assert_close(results["losses"], torch.tensor(plain_losses), atol=1e-3, rtol=1e-3)
        assert results["scores"].shape == (2, 2) and results["scores"].isfinite().all()


@pytest.mark.slow
def test_encoding_compiles(make_model):
    model, inputs = make_model(randomise=True), clip_inputs(num_texts=2, num_videos=2)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = model(**inputs)
        compiled = torch.compile(model, backend="eager")(**inputs)
    torch._dynamo.reset()
    torch.testing.assert_close(compiled.logits_per_text, expected.logits_per_text, atol=1e-4, rtol=1e-4)


def collate(processor, videos):
    return processor(videos=videos, ocr_captions=[["a"] * processor.num_frames] * len(videos))


@pytest.mark.slow
def test_workers_of_a_data_loader_that_are_spawned():
    videos = list(np.random.default_rng(0).integers(0, 255, (4, 8, 32, 32, 3), dtype=np.uint8))
    processor = letter_processor()
    expected = collate(processor, videos)
    loader = DataLoader(
        videos, batch_size=2, num_workers=2, multiprocessing_context="spawn", collate_fn=partial(collate, processor)
    )
    batches = list(loader)
    for name, value in expected.items():
        torch.testing.assert_close(torch.cat([batch[name] for batch in batches]), value)
