"""What OCR costs read as captions of windows, and as isolated tokens: encoding, and a training step."""

import time
from functools import partial
from pathlib import Path

import torch

from scripts.ablation.rows import FULL, ROWS
from scripts.ablation.training import build_model, embed
from scripts.benchmarks.counting import multiply_adds
from scripts.frozen_towers.batches import Recipe
from scripts.frozen_towers.features import BLOCK, MAX_TOKENS, WORLD, Features, tokens_of
from tcd_hf import load
from tcd_hf.data.synthetic import make_clip
from tcd_hf.modeling.backbones import encode_captions, encode_text
from tcd_hf.training.optimisation import make_optimizer

__all__ = ["measure_costs"]

BATCH_SIZE, BATCHES = 16, 5  # of encoding: videos
STEPS = 10  # of each way, in turns, after one that does not count


def measure_costs(folder: Path, features: Features, recipe: Recipe) -> dict:
    """FLOPs and seconds of encoding a video's OCR with a checkpoint's tower, as torch counts the matrix products of
    test clips; parameters and seconds of a training step of both models.
    """
    model, processor = load(folder, dtype=torch.float32)
    clips = [make_clip(WORLD, "test", number) for number in range(BATCH_SIZE * BATCHES)]
    captions = [clip.captions(model.config.num_frames) for clip in clips]
    tokens = [tokens_of(clip, model.config.num_frames) for clip in clips]
    places = [each + [""] * (MAX_TOKENS - len(each)) for each in tokens]
    ways = {
        "TCD, captions of all windows": (captions, False),
        "TCD, different captions": (captions, True),
        f"isolated, {MAX_TOKENS} places as StarVR": (places, False),
        "isolated, different readings": (tokens, True),
    }
    return {
        "batch_size": BATCH_SIZE,
        "encoding": [{"title": title, **encoding_cost(model, processor, *way)} for title, way in ways.items()],
        "training": training_costs(folder, features, recipe),
    }


@torch.inference_mode()
def encoding_cost(model, processor, texts: list[list[str]], once: bool) -> dict[str, float]:
    """A video's share, over batches of videos.

    Args:
        texts: of each video.
        once: whether equal texts of a batch are encoded once, as the model does.
    """
    num_texts, num_tokens, flops, seconds = 0, 0, 0, 0.0
    for start in range(0, len(texts), BATCH_SIZE):
        batch = [text for of_video in texts[start : start + BATCH_SIZE] for text in of_video]
        inputs = processor.tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        # One row of captions for all videos: the model encodes equal rows of a batch once.
        encode = partial(encode_captions if once else encode_text, model.ocr_encoder)
        arguments = (ids[None], mask[None]) if once else (ids, mask)
        began = time.perf_counter()
        encode(*arguments)
        seconds += time.perf_counter() - began
        flops += 2 * multiply_adds(model, partial(encode, *arguments))
        encoded = len(ids.unique(dim=0)) if once else len(ids)
        num_texts, num_tokens = num_texts + encoded, num_tokens + encoded * ids.shape[1]
    return {
        "texts": num_texts / len(texts),
        "tokens": num_tokens / num_texts,
        "flops": flops / len(texts),
        "seconds": seconds / len(texts),
    }


def training_costs(folder: Path, features: Features, recipe: Recipe) -> list[dict]:
    """What steps on the same clips cost, made in turns; each way keeps its fastest."""
    places = torch.nn.functional.pad(features.tokens, (0, MAX_TOKENS - features.tokens.shape[1]))
    padded = Features(features.frames, features.queries, features.texts, features.captions, places)
    isolated = ROWS["isolated"]
    ways = [
        ("TCD", ROWS[FULL], features),
        (f"isolated, at most {features.tokens.shape[1]} tokens", isolated, features),
        (f"isolated, {MAX_TOKENS} places", isolated, padded),
    ]
    models = [build_model(row, folder, seed=0).train() for _, row, _ in ways]
    optimizers = [make_optimizer(model, recipe) for model in models]
    clips = torch.arange(recipe.blocks * BLOCK)
    seconds = torch.empty(STEPS + 1, len(ways))
    for turn in range(STEPS + 1):
        for place, (model, optimizer, (_, row, source)) in enumerate(zip(models, optimizers, ways, strict=True)):
            began = time.perf_counter()
            optimizer.zero_grad()
            model.compute_losses(*embed(model, row, source, clips)).loss.backward()
            optimizer.step()
            seconds[turn, place] = time.perf_counter() - began
    return [
        {"title": title, "parameters": num_trained(model), "step_seconds": best.item()}
        for (title, _, _), model, best in zip(ways, models, seconds[1:].min(dim=0).values, strict=True)
    ]


def num_trained(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
