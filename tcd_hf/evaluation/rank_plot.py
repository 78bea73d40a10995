"""A picture of ranks: the share of queries whose right answer is among the first k, for every k."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tcd_hf.visualization.style import LINES, new_figure

__all__ = ["plot_ranks"]


def plot_ranks(ranks: Mapping[str, np.ndarray], path: str | Path, title: str | None = None) -> None:
    """Draws the hit rate over k, a curve for each group of queries, or for each ranker.

    Args:
        ranks (`Mapping[str, np.ndarray]`): by the curve's name, at most 28; ranks from 1, NaN for what is no query, as
            in [`retrieval_ranks`].
        path (`str` or `Path`): the file to write, in the format of its ending: `.png`, `.svg`, `.pdf`. Its folder is
            made if need be.
        title (`str`, *optional*): above the picture.

    Raises:
        ImportError: Matplotlib is not installed; says how to install it.
        ValueError: no curve, too many, or one without a query; or an ending that Matplotlib does not write.
    """
    if not 1 <= len(ranks) <= len(LINES):
        raise ValueError(f"ranks must hold 1 to {len(LINES)} curves, got {len(ranks)}.")
    curves = {name: hit_rates(name, each) for name, each in ranks.items()}
    last = max(10, *(cutoffs[-1] for cutoffs, _ in curves.values()))

    with new_figure(6.4, 4.2, path) as figure:
        axes = figure.add_subplot()
        for (name, (cutoffs, rates)), (colour, line) in zip(curves.items(), LINES, strict=False):
            label = f"{name} (R@1 {rates[0]:.3f})"
            axes.step([*cutoffs, last], [*rates, 1], where="post", color=colour, linestyle=line, label=label)
        axes.set(xscale="log", xlim=(1, last), ylim=(0, 1.01), xlabel="k", ylabel="R@k", title=title)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.legend(loc="lower right")


def hit_rates(name: str, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cutoffs, from 1, at which the hit rate changes, and the hit rate from there on."""
    ranks = ranks[~np.isnan(ranks)]
    if not len(ranks):
        raise ValueError(f"No query to plot for {name!r}.")
    # Ranks lie halfway between two places where answers tie: the first cutoff that holds them is the next one.
    counts = np.bincount(np.ceil(ranks).astype(int))
    cutoffs = np.union1d(1, np.flatnonzero(counts))
    return cutoffs, counts.cumsum()[cutoffs] / len(ranks)
