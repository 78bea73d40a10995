"""Two processes give the loss and the gradients of one process that sees the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import clip_inputs

ROOT = Path(__file__).resolve().parents[2]
NUM_PROCESSES, PAIRS_EACH = 2, 2
CASES = {
    "all of TCD": {},
    "gate before co-attention": {"text_condition": "before", "use_calibration": False},
    "no text anywhere in one process": {"share_ocr_encoder": False},
    "coarse to fine": {"interaction": "tib", "temporal_num_layers": 1},
    "coarse to fine with patches": {
        "interaction": "tib",
        "temporal_num_layers": 0,
        "use_patch_features": True,
        "pearson_weight": 0.1,
        "pearson_off_diagonal_weight": 0.1,
        "pearson_tib_patch_weight": 0.5,
    },
}

# One of the two processes. Scenarios share it, because importing takes longer than running them.
WORKER = """
import os, sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel

from tcd_hf.modeling.contrastive import gather_with_gradient
from tcd_hf.modeling.modeling_tcd import TCDModel

LOSSES = ("loss", "contrastive_loss", "calibration_loss", "coarse_loss", "pearson_loss")
folder, rank, world_size, pairs = Path(sys.argv[1]), *map(int, sys.argv[2:])
torch.set_num_threads(1)
dist.init_process_group(
    "gloo",
    init_method=(folder / "meeting").as_uri(),
    rank=rank,
    world_size=world_size,
    timeout=timedelta(seconds=60),
)
own = slice(rank * pairs, (rank + 1) * pairs)

for case in sorted(path for path in folder.iterdir() if path.is_dir()):
    model = TCDModel.from_pretrained(case).train()
    inputs = load_file(case / "inputs.safetensors")
    parallel = DistributedDataParallel(model)
    output = parallel(**{name: value[own] for name, value in inputs.items()}, return_loss=True)
    output.loss.backward()
    results = {f"gradient of {name}": weight.grad for name, weight in model.named_parameters()}
    for name in (*LOSSES, "logits_per_text"):
        if getattr(output, name) is not None:
            results[name] = getattr(output, name).detach().clone(memory_format=torch.contiguous_format)
    save_file(results, folder / f"{case.name}-{rank}.safetensors")

# A gradient that two gathered tensors share, as the summands of a sum do.
left, right = (torch.full((pairs, 3), float(rank + 1), requires_grad=True) for _ in range(2))
mask = torch.tensor([rank == 0, True])
gathered, gathered_mask = gather_with_gradient(left) + gather_with_gradient(right), gather_with_gradient(mask)
weights = torch.arange(gathered.numel(), dtype=torch.float32).view_as(gathered)
(gathered * weights).sum().backward()
results = {"gathered": gathered.detach(), "mask": gathered_mask, "left": left.grad, "right": right.grad}
save_file(results, folder / f"gather-{rank}.safetensors")

# Batches of different sizes.
for name, texts, videos in (("pairs", rank + 1, rank + 1), ("videos", 1, rank + 1)):
    sizes = {"input_ids": texts, "attention_mask": texts}
    uneven = {key: value[: sizes.get(key, videos)] for key, value in inputs.items()}
    try:
        model(**uneven, return_loss=True)
    except Exception as error:
        (folder / f"uneven-{name}-{rank}.txt").write_text(f"{type(error).__name__}: {error}")

dist.barrier()
dist.destroy_process_group()
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)  # threads of gloo may outlive the interpreter and abort it
"""


def whole_batch(case: str) -> dict[str, torch.Tensor]:
    inputs = clip_inputs(num_texts=NUM_PROCESSES * PAIRS_EACH, num_videos=NUM_PROCESSES * PAIRS_EACH)
    if "no text" in case:
        inputs["ocr_mask"][PAIRS_EACH:] = False
    return inputs


@pytest.fixture(scope="module")
def models(make_model):
    return {case: make_model(randomise=True, fusion_dropout=0.0, **options) for case, options in CASES.items()}


@pytest.fixture(scope="module")
def results(models, tmp_path_factory):
    """The folder in which both processes have left what they found."""
    folder = tmp_path_factory.mktemp("distributed")
    for case, model in models.items():
        model.save_pretrained(folder / case)
        save_file(whole_batch(case), folder / case / "inputs.safetensors")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(rank), str(NUM_PROCESSES), str(PAIRS_EACH)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(NUM_PROCESSES)
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    (folder / "errors.txt").write_text("\n".join(errors) if any(each.returncode for each in processes) else "")
    return folder


def test_both_processes_end_well(results):
    assert (results / "errors.txt").read_text() == ""


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_loss_and_gradients_of_one(models, results, case):
    model = models[case].train()
    model.zero_grad()
    expected = model(**whole_batch(case), return_loss=True)
    expected.loss.backward()
    for rank in range(NUM_PROCESSES):
        found = load_file(results / f"{case}-{rank}.safetensors")
        losses = [name for name in expected if name.endswith("loss")]
        assert len(losses) == 4 + (model.config.reads_ocr and model.config.use_calibration)
        for name in losses:
            torch.testing.assert_close(found[name], expected[name].detach(), atol=1e-5, rtol=1e-5, msg=name)
        own = slice(rank * PAIRS_EACH, (rank + 1) * PAIRS_EACH)
        torch.testing.assert_close(
            found["logits_per_text"], expected.logits_per_text.detach()[own, own], atol=1e-5, rtol=1e-5
        )
        for name, weight in model.named_parameters():
            torch.testing.assert_close(found[f"gradient of {name}"], weight.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_gathered_tensors_that_share_a_gradient(results):
    # Both processes weigh row r, column c of the sum by 3 r + c; each weight counts once per process.
    weights = torch.arange(12.0).view(4, 3)
    for rank in range(NUM_PROCESSES):
        found = load_file(results / f"gather-{rank}.safetensors")
        assert torch.equal(found["gathered"], torch.tensor([[2.0], [2.0], [4.0], [4.0]]).expand(4, 3))
        assert found["mask"].tolist() == [True, True, False, True]
        own = slice(2 * rank, 2 * rank + 2)
        assert torch.equal(found["left"], 2 * weights[own])
        assert torch.equal(found["right"], 2 * weights[own])


def test_uneven_batches_are_refused_by_every_process(results):
    for rank in range(NUM_PROCESSES):
        message = (results / f"uneven-pairs-{rank}.txt").read_text()
        assert message.startswith("ValueError")
        assert "same number of pairs" in message and "(1, 1), (2, 2)" in message and "drop_last" in message


def test_uneven_videos_are_refused_by_every_process(results):
    for rank in range(NUM_PROCESSES):
        message = (results / f"uneven-videos-{rank}.txt").read_text()
        assert message.startswith("ValueError")
        assert "(1, 1), (1, 2)" in message
