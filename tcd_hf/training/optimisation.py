"""Optimiser and schedule: pretrained towers learn slowly, new modules faster."""

from typing import TYPE_CHECKING

import torch
from transformers import get_cosine_schedule_with_warmup

from tcd_hf.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel

__all__ = ["make_optimizer", "make_scheduler", "parameter_groups"]

TOWERS = ("backbone.", "ocr_backbone.")
# Learned vectors that stand for a place or a kind, and matrices of them. Biases, norms and scales have one dimension.
EMBEDDINGS = ("_clue", "_type_embedding", "position_embedding", "position_embedding.weight")


def parameter_groups(model: "TCDModel", recipe: TrainingRecipe) -> list[dict]:
    """
    Groups of AdamW, `names` of their weights with them: towers and the rest, each with and without weight decay. Of
    weights that do not require a gradient there are none.
    """
    groups = [
        {"lr": rate, "initial_lr": rate, "weight_decay": decay, "names": [], "params": []}
        for rate in (recipe.backbone_learning_rate, recipe.learning_rate)
        for decay in (recipe.weight_decay, 0.0)
    ]
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            group = groups[2 * (not name.startswith(TOWERS)) + (weight.ndim < 2 or name.endswith(EMBEDDINGS))]
            group["names"].append(name)
            group["params"].append(weight)
    return [group for group in groups if group["params"]]


def make_optimizer(model: "TCDModel", recipe: TrainingRecipe) -> torch.optim.AdamW:
    """AdamW on the [`parameter_groups`]. Towers whose learning rate is 0 are frozen first: they need no gradient."""
    if recipe.backbone_learning_rate == 0:
        for name, weight in model.named_parameters():
            if name.startswith(TOWERS):
                weight.requires_grad_(False)
    first, second = recipe.betas
    return torch.optim.AdamW(parameter_groups(model, recipe), betas=(first, second))


def make_scheduler(
    optimizer: torch.optim.Optimizer, warmup_share: float, num_steps: int, step: int = 0
) -> torch.optim.lr_scheduler.LambdaLR:
    """
    A cosine after a linear rise. Neither the first step nor the last has a rate of 0.

    Args:
        warmup_share (`float`): share of the steps in which learning rates rise.
        num_steps (`int`): in all.
        step (`int`, *optional*, defaults to 0): steps that were made before.
    """
    return get_cosine_schedule_with_warmup(optimizer, round(warmup_share * num_steps), num_steps + 1, last_epoch=step)
