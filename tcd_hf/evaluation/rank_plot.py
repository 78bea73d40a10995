"""A picture of ranks: the share of queries whose right answer is among the first k, for every k."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np

__all__ = ["plot_ranks"]

# Okabe and Ito: told apart by colour-blind readers too. Their yellow is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", ":", "-.")


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
    try:
        from matplotlib.figure import Figure  # not pyplot, which keeps every figure and asks for a display
    except ImportError as error:
        raise ImportError(f'Plots need Matplotlib ({error}): pip install "tcd-hf[plot]"') from error

    styles = [(colour, style) for style, colour in product(LINE_STYLES, COLOURS)]
    if not 1 <= len(ranks) <= len(styles):
        raise ValueError(f"ranks must hold 1 to {len(styles)} curves, got {len(ranks)}.")
    curves = {name: hit_rates(name, each) for name, each in ranks.items()}
    last = max(10, *(cutoffs[-1] for cutoffs, _ in curves.values()))

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (name, (cutoffs, rates)), (colour, style) in zip(curves.items(), styles, strict=False):
        label = f"{name} (R@1 {rates[0]:.3f})"
        axes.step([*cutoffs, last], [*rates, 1], where="post", color=colour, linestyle=style, label=label)
    axes.set(xscale="log", xlim=(1, last), ylim=(0, 1.01), xlabel="k", ylabel="R@k", title=title)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def hit_rates(name: str, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cutoffs, from 1, at which the hit rate changes, and the hit rate from there on."""
    ranks = ranks[~np.isnan(ranks)]
    if not len(ranks):
        raise ValueError(f"No query to plot for {name!r}.")
    # Ranks lie halfway between two places where answers tie: the first cutoff that holds them is the next one.
    counts = np.bincount(np.ceil(ranks).astype(int))
    cutoffs = np.union1d(1, np.flatnonzero(counts))
    return cutoffs, counts.cumsum()[cutoffs] / len(ranks)
