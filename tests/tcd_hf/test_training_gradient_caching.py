"""The gradient of a batch in chunks, and in two processes, is that of the batch at once."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from tcd_hf.training.gradient_caching import backward_of_batch, embed_pairs, seed_step
from tests.conftest import NUM_FRAMES, clip_inputs, enable_checkpointing

ROOT = Path(__file__).resolve().parents[2]
NUM_PAIRS = 6
SOFT = {"weak_temperature": 0.1}  # at .01 rounding alone reaches 1.5e-6
CASES = {
    "all of TCD": {},
    "OCR encoder of its own": {"share_ocr_encoder": False, "text_condition": "before"},
    "coarse to fine": {"interaction": "tib", "temporal_num_layers": 1, **SOFT},
    "coarse to fine with patches": {
        "interaction": "tib",
        "temporal_num_layers": 0,
        "use_patch_features": True,
        "pearson_tib_patch_weight": 0.5,
        **SOFT,
    },
    "patches that no loss reads": {"use_patch_features": True, "use_ocr": False},
}
SEED = partial(seed_step, 7, 3)

WORKER = """
import sys
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.training.gradient_caching import backward_of_batch
from tcd_hf.training.processes import end_process, make_equal
from tcd_hf.training.gradient_caching import seed_step

folder, chunk_size = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
accelerator = Accelerator(cpu=True)
for case in sorted(path for path in folder.iterdir() if path.is_dir()):
    model = TCDModel.from_pretrained(case).train()
    if accelerator.process_index:
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
    make_equal(model)
    inputs = load_file(case / "inputs.safetensors")
    half = len(inputs["input_ids"]) // accelerator.num_processes
    own = {name: value.split(half)[accelerator.process_index] for name, value in inputs.items()}
    pieces = {name: value.split(chunk_size) for name, value in own.items()}
    chunks = [{name: split[i] for name, split in pieces.items()} for i in range(len(pieces["input_ids"]))]
    output = backward_of_batch(model, chunks, accelerator, partial(seed_step, 7, 3))
    found = {f"gradient of {name}": weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    found |= {name: value.contiguous() for name, value in output.items()}
    save_file(found, folder / f"{case.name}-{accelerator.process_index}.safetensors")
end_process(0)
"""


def chunks_of(inputs: dict, size: int) -> list[dict]:
    return [
        {name: value[start : start + size] for name, value in inputs.items()} for start in range(0, NUM_PAIRS, size)
    ]


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def at_once(model, inputs) -> tuple[dict, dict]:
    """Losses and gradients of the plain forward pass; the towers draw no random numbers."""
    model.train().zero_grad()
    SEED(None)
    output = model(**inputs, return_loss=True)
    output.loss.backward()
    return {name: value.detach() for name, value in output.items() if name.endswith("loss")}, gradients(model)


def assert_equal(found, expected):
    """Losses, and gradients as one vector, equal to 1e-6; no weight's gradient is far off by itself."""
    for name, value in expected[0].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-6, atol=1e-6, msg=name)
    assert found[1].keys() == expected[1].keys()
    ours, theirs = (torch.cat([each[1][name].flatten() for name in expected[1]]).double() for each in (found, expected))
    assert theirs.norm() > 0.1
    assert (ours - theirs).norm() / theirs.norm() < 1e-6
    for name, value in expected[1].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.fixture(scope="module")
def models(make_model):
    return {case: make_model(randomise=True, **options) for case, options in CASES.items()}


@pytest.fixture(scope="module")
def inputs():
    mask = torch.ones(NUM_PAIRS, NUM_FRAMES, dtype=torch.bool)
    mask[::2, 1] = False  # in half of the videos a frame does not count
    return {**clip_inputs(NUM_PAIRS, NUM_PAIRS), "frame_mask": mask}


@pytest.fixture(scope="module")
def accelerator():
    return Accelerator(cpu=True)


@pytest.mark.parametrize("chunk_size", [1, 4, 6])  # 4 does not divide the batch, 6 is all of it
@pytest.mark.parametrize("case", CASES)
def test_chunks_give_the_gradient_of_the_batch(models, inputs, accelerator, case, chunk_size):
    model = models[case]
    expected = at_once(model, inputs)
    assert len(expected[0]) == 4 + (model.config.reads_ocr and model.config.use_calibration)
    model.zero_grad()
    output = backward_of_batch(model, chunks_of(inputs, chunk_size), accelerator, SEED)
    assert_equal((output, gradients(model)), expected)


def test_naflex_backbones_get_their_masks_and_shapes(make_model, tiny_siglip2_config, inputs, accelerator):
    model = make_model(randomise=True, backbone_config=tiny_siglip2_config)
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(NUM_PAIRS, 4, 16, 48, generator=generator)
    shapes = torch.tensor([[2, 4], [4, 4], [3, 3]])[torch.randint(0, 3, (NUM_PAIRS, 4), generator=generator)]
    mask = (torch.arange(16) < shapes.prod(-1, keepdim=True)).long()
    inputs = {**inputs, "pixel_values_videos": patches, "pixel_attention_mask": mask, "spatial_shapes": shapes}
    expected = at_once(model, inputs)
    model.zero_grad()
    output = backward_of_batch(model, chunks_of(inputs, 4), accelerator, SEED)
    assert_equal((output, gradients(model)), expected)


def test_gradients_add_up_to_those_that_are_there(models, inputs, accelerator):
    model = models["all of TCD"]
    _, expected = at_once(model, inputs)
    backward_of_batch(model, chunks_of(inputs, 2), accelerator, SEED)
    for name, value in gradients(model).items():
        torch.testing.assert_close(value, 2 * expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_gradient_checkpointing_changes_nothing(make_model, inputs, accelerator):
    model = make_model(randomise=True)
    expected = at_once(model, inputs)
    enable_checkpointing(model)
    model.zero_grad()
    output = backward_of_batch(model, chunks_of(inputs, 2), accelerator, SEED)
    assert_equal((output, gradients(model)), expected)


def test_dropout_in_the_towers_is_the_same_both_times(make_model, tiny_clip_config, inputs, accelerator):
    config = tiny_clip_config.to_dict()
    config["text_config"]["attention_dropout"] = config["vision_config"]["attention_dropout"] = 0.5
    model = make_model(randomise=True, backbone_config=type(tiny_clip_config).from_dict(config)).train()
    chunks = chunks_of(inputs, 2)

    def pieces():
        for index, chunk in enumerate(chunks):
            SEED(2 * index)
            yield embed_pairs(model, chunk, accelerator)

    whole = [torch.cat(parts) for parts in zip(*(piece.values() for piece in pieces()), strict=True)]
    embeds = dict(zip(next(pieces()), whole, strict=True))
    SEED(None)
    expected = model.compute_losses(embeds.pop("text_embeds"), model.fuse(**embeds))
    model.zero_grad()
    expected.loss.backward()
    expected = {"loss": expected.loss.detach()}, gradients(model)
    undropped = at_once(model.eval(), inputs)  # in training mode, all at once: other units are dropped

    model.zero_grad()
    output = backward_of_batch(model, chunks, accelerator, SEED)
    assert_equal((output, gradients(model)), expected)
    assert abs(output.loss - undropped[0]["loss"]) > 1e-3


TOWERS = {"image": ("vision_model", "visual_projection"), "text": ("text_model", "text_projection")}


@pytest.mark.parametrize("chunk_size", [2, 6])
@pytest.mark.parametrize("frozen", [["image"], ["text"], ["image", "text"]])
def test_frozen_towers(make_model, inputs, accelerator, monkeypatch, frozen, chunk_size):
    model = make_model(randomise=True)
    parts = [part for tower in frozen for part in TOWERS[tower]]
    for part in parts:
        getattr(model.backbone, part).requires_grad_(False)
    expected = at_once(model, inputs)
    assert "backbone.logit_scale" in expected[1] and not any(part in name for part in parts for name in expected[1])
    assert ("backbone.text_projection.weight" in expected[1]) == ("text" not in frozen)
    model.zero_grad()
    encode, embedded = model.encode_videos, []
    monkeypatch.setattr(model, "encode_videos", lambda **inputs: embedded.append(1) or encode(**inputs))
    output = backward_of_batch(model, chunks_of(inputs, chunk_size), accelerator, SEED)
    assert_equal((output, gradients(model)), expected)
    again = 0 if chunk_size == NUM_PAIRS else 1 if len(frozen) == 2 else 3  # of two frozen towers the first tells
    assert len(embedded) == NUM_PAIRS // chunk_size + again


def test_embeddings_are_float32_under_mixed_precision(models, inputs):
    class Bf16:
        device = torch.device("cpu")

        def autocast(self):
            return torch.autocast("cpu", dtype=torch.bfloat16)

    plain = embed_pairs(models["all of TCD"], inputs, Accelerator(cpu=True))
    mixed = embed_pairs(models["all of TCD"], inputs, Bf16())
    masks = {"ocr_mask", "frame_mask"}
    assert mixed.keys() == plain.keys() == {"text_embeds", "frame_embeds", "frame_norms", "ocr_embeds", *masks}
    for name in ("text_embeds", "frame_embeds", "ocr_embeds"):
        assert mixed[name].dtype == torch.float32
        assert 1e-4 < (mixed[name] - plain[name]).abs().max() < 0.05  # the towers did run in bfloat16


@pytest.fixture(scope="module")
def two_processes(models, inputs, tmp_path_factory):
    """What both of two processes have found, with chunks of 2 out of 3 pairs each."""
    folder = tmp_path_factory.mktemp("two processes")
    for case, model in models.items():
        model.save_pretrained(folder / case)
        save_file(inputs, folder / case / "inputs.safetensors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), "2"],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "\n".join(errors)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_gradient_of_one(models, inputs, two_processes, case):
    expected = at_once(models[case], inputs)
    for rank in range(2):
        found = load_file(two_processes / f"{case}-{rank}.safetensors")
        prefix = "gradient of "
        found_gradients = {name.removeprefix(prefix): found[name] for name in found if name.startswith(prefix)}
        assert_equal((found, found_gradients), expected)
