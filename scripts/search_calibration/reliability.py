"""Whether a score is the probability that it says it is: a table and a picture."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tcd_hf.visualization.style import BLUE, GREY, INK, new_figure

__all__ = ["Bin", "calibration_error", "plot_reliability", "reliability"]

EDGES = (0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1)
CROWDED = 0.1  # below it points lie too close to one another to be labelled


class Bin(NamedTuple):
    """Hits whose scores lie between two edges: how many, their mean score, and the share of them that is right."""

    low: float
    high: float
    count: int
    said: float
    right: float


def reliability(scores: np.ndarray, right: np.ndarray) -> list[Bin]:
    """The bins that hold any hit, in order."""
    bins = []
    for low, high in pairwise(EDGES):
        own = (scores >= low) & ((scores < high) | (high == 1))
        if own.any():
            bins.append(Bin(low, high, int(own.sum()), float(scores[own].mean()), float(right[own].mean())))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """How far, on average over the hits, what is said lies from what is right."""
    return sum(each.count * abs(each.said - each.right) for each in bins) / sum(each.count for each in bins)


def plot_reliability(bins: list[Bin], path: str | Path) -> None:
    """Draws the share that is right over the score, the number of hits beside each point that has room for it."""
    with new_figure(4.2, 4.0, path) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], ":", color=GREY, label="as it says")
        axes.plot([each.said for each in bins], [each.right for each in bins], "o-", color=BLUE, label="hits")
        for each in (each for each in bins if each.said > CROWDED):
            place = (each.said, each.right)
            axes.annotate(f"{each.count:,}", place, (5, -10), textcoords="offset points", fontsize=7, color=INK)
        axes.set(xlabel="score", ylabel="share that is right", xlim=(-0.02, 1.05), ylim=(-0.02, 1.05))
        axes.set_title("Hits shown for held-out queries")
        axes.legend(loc="upper left")
