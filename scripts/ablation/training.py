"""One model of the ablation: built for its row, trained on encoded clips, ranked on a split."""

import time
from pathlib import Path

import numpy as np
import torch

from scripts.ablation.isolated import IsolatedTokenModel
from scripts.ablation.rows import BASE, FULL, ROWS, Row
from scripts.frozen_towers.batches import Recipe, batches, report
from scripts.frozen_towers.features import BLOCK, WORLD, Features
from scripts.frozen_towers.towers import embed as embed_pooled
from tcd_hf import TCDModel, load
from tcd_hf.evaluation.metrics import retrieval_ranks
from tcd_hf.evaluation.two_stage import pair_scorer, two_stage_ranks
from tcd_hf.training.optimisation import make_optimizer, make_scheduler

__all__ = ["build_model", "drifted", "embed", "evaluate", "train", "train_and_evaluate"]

TOP_K = 50  # candidates of the second stage


def build_model(row: Row, folder: Path, seed: int) -> TCDModel:
    """A checkpoint's towers and projections under the row's own modules at their neutral start. Towers are frozen."""
    trained, _ = load(folder, dtype=torch.float32)
    overrides = {**BASE, "num_frames": trained.config.num_frames, **row.overrides}
    torch.manual_seed(seed)
    model = (IsolatedTokenModel if row.isolated else TCDModel).from_backbone(trained.backbone, **overrides)
    for tower in (model.backbone.vision_model, model.backbone.text_model):
        tower.requires_grad_(False)
    return model


def embed(model: TCDModel, row: Row, features: Features, clips: torch.Tensor):
    """Embeddings of the clips' queries, and [`TCDVideoFeatures`] of the clips."""
    rows = features.tokens[clips] if row.isolated else features.captions[row.reading][clips]
    if row.drift:
        rows = drifted(rows, clips, row.drift)
    # row 0 is the empty text
    return embed_pooled(model, features.queries[clips], features.frames[clips], features.texts[rows], rows > 0)


def drifted(rows: torch.Tensor, clips: torch.Tensor, most: int) -> torch.Tensor:
    """Captions that come late or early by a number of windows, the same for a clip whenever it is drawn.

    Args:
        rows (`torch.LongTensor` of shape `(num_clips, num_windows)`): what is read in each window, 0 where nothing is.
        clips (`torch.LongTensor` of shape `(num_clips,)`): numbers of the clips in their split.
        most: windows that a text comes late or early, at most.

    Returns:
        Rows of the same shape; 0 where nothing is left to be read.
    """
    late = torch.from_numpy(np.random.default_rng(WORLD).integers(-most, most + 1, int(clips.max()) + 1))[clips]
    windows = torch.arange(rows.shape[1]) - late[:, None]
    is_there = (windows >= 0) & (windows < rows.shape[1])
    return rows.gather(1, windows.clamp(0, rows.shape[1] - 1)) * is_there


def train(model: TCDModel, row: Row, features: Features, recipe: Recipe, seed: int) -> dict[str, float]:
    """Trains in place. Returns the seconds of a step (median), and the losses, means over the last tenth."""
    model.train()
    optimizer = make_optimizer(model, recipe)
    scheduler = make_scheduler(optimizer, recipe.warmup_share, recipe.steps)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    seconds, history = [], []
    for clips in batches(len(features.queries) // BLOCK, recipe, seed):
        start = time.perf_counter()
        output = model.compute_losses(*embed(model, row, features, clips))
        optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.max_norm)
        optimizer.step()
        scheduler.step()
        history.append({name: value.item() for name, value in output.items() if name.endswith("loss")})
        seconds.append(time.perf_counter() - start)
    model.eval()
    last = history[-max(1, len(history) // 10) :]
    return {"step_seconds": float(np.median(seconds))} | {
        name: float(np.mean([losses[name] for losses in last])) for name in history[0]
    }


@torch.inference_mode()
def evaluate(model: TCDModel, row: Row, features: Features) -> dict[str, dict]:
    """Every query of a split against all its clips.

    Returns:
        `dict`: metrics by kind as `summarise_by_query_type` gives them, and `binding`: the share of temporal queries
        that score higher with their clip than with the one where object and text show at other times. Under `"full"`,
        where the row asks for it under `"coarse"`, and for TCD itself under `"two-stage"`.
    """
    num_clips = len(features.queries)
    own = np.arange(num_clips)
    texts, videos = embed(model, row, features, torch.from_numpy(own))
    similarity = model.score(texts, videos).similarity.numpy()
    results = {"full": report(retrieval_ranks(similarity, own), similarity)}
    if row.coarse:
        coarse = (model.get_coarse_queries(texts) @ videos.coarse_embeds.T).numpy()
        results["coarse"] = report(retrieval_ranks(coarse, own), coarse)
        if row is ROWS[FULL]:
            scorer = pair_scorer(model, texts, model.precompute(videos))
            results["two-stage"] = report(two_stage_ranks(coarse, own, scorer, TOP_K), similarity)
    return results


def train_and_evaluate(name: str, seed: int, recipe: Recipe, folder: Path, features: dict[str, Features], split: str):
    """One run of the ablation, JSON-able. It depends on nothing but its arguments."""
    row = ROWS[name]
    model = build_model(row, folder, seed)
    untrained = {"untrained": evaluate(model, row, features[split])["full"]} if row is ROWS[FULL] else {}
    start = time.perf_counter()
    training = train(model, row, features["train"], recipe, seed)
    trained = time.perf_counter()
    results = {**evaluate(model, row, features[split]), **untrained}
    return {
        "row": name,
        "seed": seed,
        "recipe": recipe._asdict(),
        "split": split,
        "training": {**training, "seconds": trained - start},
        "evaluation_seconds": time.perf_counter() - trained,
        "trained_parameters": sum(each.numel() for each in model.parameters() if each.requires_grad),
        "logit_scale": model.logit_scale.item(),
        "results": results,
    }
