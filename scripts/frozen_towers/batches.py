"""Batches of whole blocks of clips for what comes after frozen towers, and how well their queries find them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from scripts.frozen_towers.features import BLOCK
from tcd_hf.data.synthetic import GROUPS
from tcd_hf.evaluation.report import summarise_by_query_type

__all__ = ["BLOCKS", "KINDS", "Recipe", "batches", "kinds_of", "report"]

BLOCKS = 2
KINDS = [kind for kind, members in GROUPS.items() for _ in range(members)]  # of the clips of a block


class Recipe(NamedTuple):
    """How a model is trained. Of the backbone the two projections and the logit scale are trained."""

    steps: int
    backbone_learning_rate: float
    learning_rate: float
    blocks: int = BLOCKS  # of clips, in a batch
    warmup_share: float = 0.1
    weight_decay: float = 0.2
    max_norm: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)


def batches(num_blocks: int, recipe: Recipe, seed: int) -> Iterator[torch.Tensor]:
    """Clips of each step: whole blocks, which hold whole groups of hard negatives; every epoch in another order."""
    rng = np.random.default_rng(seed)
    order = np.empty(0, dtype=int)
    for _ in range(recipe.steps):
        if len(order) < recipe.blocks:
            order = rng.permutation(num_blocks)
        taken, order = np.split(order, [recipe.blocks])
        yield torch.from_numpy((taken[:, None] * BLOCK + np.arange(BLOCK)).ravel())


def kinds_of(num_clips: int) -> np.ndarray:
    """The kind of query that each clip has."""
    return np.array([KINDS[number % BLOCK] for number in range(num_clips)])


def report(ranks: dict[str, np.ndarray], similarity: np.ndarray) -> dict:
    """Summarises how the queries of whole blocks rank all their clips.

    Args:
        ranks: of both directions, as `retrieval_ranks` gives them.
        similarity: `(num_clips, num_clips)`, a row for each query.

    Returns:
        `dict`: `metrics` by kind as `summarise_by_query_type` gives them, and `binding`: the share of temporal queries
        that score higher with their clip than with the one where object and text show at other times.
    """
    kinds = kinds_of(len(similarity))
    own = np.flatnonzero(kinds == "temporal")
    differences = similarity[own, own] - similarity[own, own ^ 1]  # neighbours show the same at other times
    binding = float(np.mean((differences > 0) + (differences == 0) / 2))
    return {"metrics": summarise_by_query_type(ranks, kinds), "binding": binding}
