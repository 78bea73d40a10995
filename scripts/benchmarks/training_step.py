"""Seconds of a training step of tcd-mini, and those of the processor, as a JSON list: what `startup.py` runs.

A file of its own, run by the package of any checkout: it takes only what older ones have too.
"""

import json
import os
import time
from statistics import median

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from tcd_hf import load_mini
from tcd_hf.training.batching import BatchPlan, chunk_loader
from tcd_hf.training.gradient_caching import backward_of_batch
from tcd_hf.training.optimisation import make_optimizer
from tcd_hf.training.recipe import TrainingRecipe

PAIRS, STEPS = 4, 9  # after one that does not count
TEXTS = ["the store TESCO express", "gate 24 opens", "a man at the hotel", "the sign says exit"]


def main() -> None:
    """Takes the steps and prints the medians."""
    model, processor = load_mini()
    model.train()
    accelerator, recipe = Accelerator(cpu=True), TrainingRecipe("", "", "", batch_size=PAIRS)
    dataset = make_pairs(processor.num_frames)
    optimizer = make_optimizer(model, recipe)
    loader = chunk_loader(dataset, processor, BatchPlan(dataset, PAIRS), recipe, (0, STEPS + 1), slice(0, PAIRS))
    times = []
    for _ in range(STEPS + 1):
        begin = now()
        backward_of_batch(model, next(loader), accelerator, lambda *chunk: torch.manual_seed(0))
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        times.append(now() - begin)
    print(json.dumps([median(seconds) for seconds in zip(*times[1:], strict=True)]))


def now() -> np.ndarray:
    """The time, and that of the processor: seconds."""
    spent = os.times()
    return np.array([time.perf_counter(), spent.user + spent.system])


def make_pairs(num_frames: int) -> Dataset:
    """Prepared videos of noise with a caption each, and a text in every window."""
    frames = np.random.default_rng(0).integers(0, 255, (PAIRS, num_frames, 64, 64, 3), dtype=np.uint8)
    rows = {
        "captions": [[TEXTS[number % len(TEXTS)]] for number in range(PAIRS)],
        "frames": [[PILImage.fromarray(frame) for frame in video] for video in frames],
        "ocr_captions": [[TEXTS[-number % len(TEXTS)]] * num_frames for number in range(PAIRS)],
    }
    strings = List(Value("string"))
    return Dataset.from_dict(
        rows, features=Features({"captions": strings, "frames": List(Image()), "ocr_captions": strings})
    )


if __name__ == "__main__":
    main()
