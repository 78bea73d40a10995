"""Counts operations: those of the matrix products that ran, as torch counts them from their shapes."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

__all__ = ["multiply_adds"]


@torch.no_grad()
def multiply_adds(model: PreTrainedModel, call: Callable[[], object], with_attention: bool = True) -> int:
    """Multiply-adds of the matrix products of one call.

    Args:
        model: whose attention runs in plain products meanwhile: the counter does not know every fused kernel.
        call: runs the model, or parts of it.
        with_attention: whether attention layers count, with their projections: counters that know modules by their
            class do not see them in OpenAI's CLIP.
    """
    # Each tower's own, parents before children: not every tower can be asked for what another has.
    configs: list[Any] = [each.config for each in model.modules() if isinstance(each, PreTrainedModel)]
    usual = [config._attn_implementation for config in configs]
    model.set_attn_implementation("eager")
    try:
        with FlopCounterMode(display=False) as counter:
            call()
    finally:
        for config, implementation in zip(configs, usual, strict=True):
            config._attn_implementation = implementation
    total = counter.get_total_flops()
    if not with_attention:
        modules = counter.get_flop_counts().items()
        total -= sum(sum(of_module.values()) for name, of_module in modules if name.endswith(".self_attn"))
    return total // 2
