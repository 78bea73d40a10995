"""Measures training: pairs per second, peak memory, and where the time of a step goes.

    python -m scripts.benchmarks.training --batch-size 42 --chunk-size 6

Runs the real step (`tcd_hf.training`) of a TCD model of ViT-B/32 shape with random weights on made-up pairs of 12 JPEG
frames and 12 captions, on the GPU where there is one, in one process. The parts of a step:

- decode: from compressed frames and strings to the model's inputs; with `--workers`, waiting for them.
- encode: the towers, forward (twice if the batch is cut into chunks) and backward.
- fusion: co-attention, temporal encoder and scores of all pairs, forward and backward.
- loss: the losses on them, forward and backward.
- optimizer: clipping gradients and updating the weights.

Fusion and loss together should take at most 10 % of a step.
"""

import argparse
import io
import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage
from transformers import CLIPConfig, CLIPImageProcessor

from scripts.benchmarks.machine import Clock, describe_machine, table, verdict
from tcd_hf import TCDConfig, TCDModel, TCDProcessor
from tcd_hf.loading import load_processor
from tcd_hf.training.batching import BatchPlan, chunk_loader
from tcd_hf.training.gradient_caching import backward_of_batch, seed_step
from tcd_hf.training.optimisation import make_optimizer
from tcd_hf.training.recipe import TrainingRecipe

PARTS = ("decode", "encode", "fusion", "loss", "optimizer")
ALLOWED_SHARE = 0.1  # of a step, for fusion and loss
QUERY_WORDS, CAPTION_WORDS = 14, 5  # TextVR's sentences have 13.6 words in the mean
WORDS = [
    *("the", "store", "express", "gate", "open", "hotel", "24", "sale", "exit", "bus"),
    *("left", "blue", "car", "man", "street", "while", "sign", "shows", "two", "people"),
]
WARM_UP = 1  # steps that do not count


def main(argv: list[str] | None = None) -> int:
    args = _parse(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    processor = make_processor()
    tokens = {"bos_token_id": processor.tokenizer.bos_token_id, "eos_token_id": processor.tokenizer.eos_token_id}
    model = TCDModel(TCDConfig(backbone_config=CLIPConfig(text_config=tokens)))
    recipe = TrainingRecipe(
        *("", "", ""),  # nothing is read or written
        batch_size=args.batch_size,
        chunk_size=args.chunk_size,
        mixed_precision=args.precision,
        gradient_checkpointing=args.gradient_checkpointing,
        num_workers=args.workers,
    )
    report = measure(model, processor, recipe, args.steps, Accelerator(mixed_precision=args.precision, cpu=args.cpu))
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(model, processor, recipe: TrainingRecipe, num_steps: int, accelerator: Accelerator) -> dict:
    """Seconds of each part of a step, pairs per second, and peak memory, over `num_steps` steps."""
    device = accelerator.device
    model.to(device).train()
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = make_optimizer(model, recipe)
    dataset = make_pairs(recipe.batch_size, processor)
    plan = BatchPlan(dataset, recipe.batch_size)
    steps = (0, WARM_UP + num_steps)
    loader = chunk_loader(dataset, processor, plan, recipe, steps, slice(0, recipe.batch_size))

    losses = []
    with timed_parts(model, device) as clock:
        for step in range(*steps):
            if step == WARM_UP:
                clock.restart()
            clock.switch("decode")
            chunks = next(loader)
            clock.switch("encode")
            output = backward_of_batch(model, chunks, accelerator, partial(seed_step, 0, step))
            clock.switch("optimizer")
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(output.loss.item())
        clock.switch("end")
    seconds = {part: clock.seconds[part] / num_steps for part in PARTS}
    return {
        "machine": describe_machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
        "precision": recipe.mixed_precision,
        "parameters": sum(each.numel() for each in model.parameters()),
        "frames": model.config.num_frames,
        "batch_size": recipe.batch_size,
        "chunk_size": min(recipe.chunk_size or recipe.batch_size, recipe.batch_size),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "workers": recipe.num_workers,
        "steps": num_steps,
        "losses": losses,
        "seconds": seconds,
        "pairs_per_second": recipe.batch_size / sum(seconds.values()),
        "fusion_and_loss_share": (seconds["fusion"] + seconds["loss"]) / sum(seconds.values()),
        "peak_bytes": peak_bytes(device),
    }


# parts of a step -----------------------------------------------------------------------------------------------------
class DeviceClock(Clock):
    """A [`Clock`] that waits for the device before it looks at the time."""

    def __init__(self, device: torch.device):
        self.device = device
        super().__init__()

    def switch(self, step: str) -> str:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return super().switch(step)

    def restart(self) -> None:
        self.switch("before")
        self.seconds.clear()


@contextmanager
def timed_parts(model, device: torch.device) -> Iterator[DeviceClock]:
    """Times the functions of the step.

    Going backward from the loss, the gradient of the similarity is where the losses
    end and fusion begins: all that was computed after the scores is differentiated before them.
    """
    clock = DeviceClock(device)
    backward = torch.autograd.backward

    def timed_score(*args, **kwargs):
        scores = score(*args, **kwargs)
        scores.similarity.register_hook(lambda gradient: clock.switch("fusion") and None)
        return scores

    def timed_backward(tensors, *args, **kwargs):
        part = "loss" if torch.is_tensor(tensors) else "encode"  # of one number, or of all embeddings of a chunk
        return clock.timed(part, backward)(tensors, *args, **kwargs)

    score = clock.timed("fusion", model.score)
    with (
        mock.patch.object(model, "fuse", clock.timed("fusion", model.fuse)),
        mock.patch.object(model, "score", timed_score),
        mock.patch.object(model, "compute_losses", clock.timed("loss", model.compute_losses)),
        mock.patch.object(torch.autograd, "backward", timed_backward),
    ):
        yield clock


def peak_bytes(device: torch.device) -> int:
    """Most memory held: of the GPU by tensors, else of this process as a whole."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# pairs ---------------------------------------------------------------------------------------------------------------
def make_processor() -> TCDProcessor:
    """CLIP's frames; the package's tokenizer, because CLIP's own would have to be downloaded."""
    return TCDProcessor(CLIPImageProcessor(), load_processor().tokenizer, ocr_engine=None)


def make_pairs(count: int, processor: TCDProcessor) -> Dataset:
    """Prepared videos of blurred noise with one caption each, and text in all windows but every sixth."""
    rng, draw = np.random.default_rng(0), random.Random(0)
    size = processor.image_processor.crop_size["height"]

    def sentence(words):
        return " ".join(draw.choices(WORDS, k=words))

    def frame():
        pixels = PILImage.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((size, size))
        file = io.BytesIO()
        pixels.save(file, "JPEG", quality=95)
        return {"bytes": file.getvalue(), "path": None}

    windows = range(processor.num_frames)
    rows = [
        {
            "captions": [sentence(QUERY_WORDS)],
            "frames": [frame() for _ in windows],
            "ocr_captions": [sentence(CAPTION_WORDS) if window % 6 else "" for window in windows],
        }
        for _ in range(count)
    ]
    strings = List(Value("string"))
    return Dataset.from_list(
        rows, features=Features({"captions": strings, "frames": List(Image()), "ocr_captions": strings})
    )


# report --------------------------------------------------------------------------------------------------------------
def to_markdown(report: dict) -> str:
    machine, seconds, share = report["machine"], report["seconds"], report["fusion_and_loss_share"]
    total = sum(seconds.values())
    rows = [["", "seconds a step", "share"]]
    rows += [[part, f"{each:.3f}", f"{each / total:.1%}"] for part, each in seconds.items()]
    rows.append(["step", f"{total:.3f}", ""])
    chunks = "" if report["chunk_size"] == report["batch_size"] else f" in chunks of {report['chunk_size']}"
    checkpointing = ", gradient checkpointing" if report["gradient_checkpointing"] else ""
    place = report["device"]
    if place == "CPU":
        place = f"{machine['processor']}, {machine['vectors']}, {report['threads']} of {machine['cores']} cores"
        place += f" (load {machine['load']:.1f})"
    return "\n\n".join(
        [
            f"{report['parameters']:,} parameters, {report['frames']} frames, {report['batch_size']} pairs a step"
            f"{chunks}, precision {report['precision'].replace('no', 'float32')}{checkpointing}, {report['workers']} "
            f"loading processes; {place}, torch {machine['versions']['torch']}. Mean of {report['steps']} steps.",
            table(rows),
            f"{report['pairs_per_second']:.2f} pairs/s, peak memory {report['peak_bytes'] / 2**30:.2f} GiB "
            f"({'of the process' if report['device'] == 'CPU' else 'of tensors on the device'}). Fusion and loss: "
            f"{share:.1%} of a step, at most {ALLOWED_SHARE:.0%}: {verdict(share <= ALLOWED_SHARE)}.",
        ]
    )


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=42, help="pairs a step")
    parser.add_argument("--chunk-size", type=int, help="pairs that go through the towers at once; all if not given")
    parser.add_argument("--steps", type=int, default=3, help=f"that are measured, after {WARM_UP} that is not")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no", help="of the towers; no: float32")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="compute activations again: less memory")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; its own choice if not given")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    least = {"batch_size": 2, "chunk_size": 1, "steps": 1, "threads": 1, "workers": 0}
    for name, bound in least.items():
        if getattr(args, name) is not None and getattr(args, name) < bound:
            parser.error(f"--{name.replace('_', '-')} must be at least {bound}, got {getattr(args, name)}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
