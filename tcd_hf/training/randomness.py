"""
Randomness as a function of where a run is, never of how it came there.

A run that is resumed, and every process of a run, finds the random numbers of a step by the step alone: there is no
state to store, and none to exchange.
"""

import numpy as np
import torch

__all__ = ["epoch_generator", "seed_step"]

ORDER, CAPTIONS = range(2)


def epoch_generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """Random numbers of an epoch (from 0), others for each purpose, a small number."""
    return np.random.default_rng([seed, epoch, purpose])


def seed_step(seed: int, step: int, pair: int | None = None) -> None:
    """
    Seeds torch's generators, on all devices.

    Args:
        seed (`int`): of the run.
        step (`int`): from 0.
        pair (`int`, *optional*): for the towers, place in the batch of the first pair that they are about to encode;
            none for what follows the towers.
    """
    key = [seed, step, 0 if pair is None else 1 + pair]
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
