"""A training run's course: its losses, and retrieval on the validation split, over steps."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tcd_hf.visualization.style import LINES, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_training", "read_training_log"]

LOSSES = {
    "loss": "all, weighted",
    "contrastive_loss": "contrastive",
    "coarse_loss": "coarse",
    "calibration_loss": "calibration",
    "pearson_loss": "Pearson",
}
RECALL = "validation/t2v_R@1"
SMOOTHING = 0.05  # share of the run's steps that a point of a curve averages over

Series = dict[str, tuple[np.ndarray, np.ndarray]]


def read_training_log(log: str | Path) -> Series:
    """What a run wrote, by name.

    Args:
        log (`str` or `Path`): a `training_log.jsonl`, or the folder of a run, which holds one.

    Returns:
        `dict[str, tuple[np.ndarray, np.ndarray]]`: for each number that the log names, such as `"loss"` or
        `"validation/t2v_R@1"`, the steps at which it was written and its values, as many.

    Raises:
        OSError: there is no such file.
        ValueError: a line that is no JSON object with a step; the last may be cut off, as a running training leaves it.
    """
    log = Path(log)
    log = log / "training_log.jsonl" if log.is_dir() else log
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    series: dict[str, list[tuple[int, float]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "step" not in entry:
            raise ValueError(f"Line {number} of {log} is no line of a training log: {line[:80]!r}.")
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float):
                series.setdefault(name, []).append((entry["step"], value))
    return {
        name: (np.array([step for step, _ in points]), np.array([value for _, value in points]))
        for name, points in series.items()
    }


def plot_training(log: str | Path, path: str | Path | None = None, title: str | None = None) -> "Figure":
    """Draws a run: losses, averaged over some steps (each step behind, pale), and R@1 on the validation split if known.

    Args:
        log (`str` or `Path`): a `training_log.jsonl`, or the folder of a run. A run that goes on may be drawn.
        path (`str` or `Path`, *optional*): where to write the picture, in the format of its ending: `.png`, `.svg`,
            `.pdf`. By default it is only returned.
        title (`str`, *optional*): above the picture.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: Matplotlib is not installed.
        OSError: there is no such log.
        ValueError: a log that cannot be read, or that tells of no loss.
    """
    series = read_training_log(log)
    losses = {label: series[name] for name, label in LOSSES.items() if name in series}
    if not losses:
        raise ValueError(f"{log} tells of no loss: give the training_log.jsonl of a training run that has made a step.")
    recalls = {name: points for name, points in series.items() if f"{name}/".startswith(f"{RECALL}/")}
    with new_figure(10 if recalls else 5.6, 3.8, path) as figure:
        panels = figure.subplots(1, 2 if recalls else 1, sharex=True, squeeze=False)[0]
        _draw_losses(panels[0], losses)
        if recalls:
            _draw_recalls(panels[1], recalls)
        if title is not None:
            figure.suptitle(title)
    return figure


def _draw_losses(axes: "Axes", losses: Series) -> None:
    for (label, (steps, values)), (colour, line) in zip(losses.items(), LINES, strict=False):
        axes.plot(steps, values, color=colour, alpha=0.15, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=colour, linestyle=line, label=label)
    drawable = all((values > 0).all() for _, values in losses.values())  # on a logarithmic axis
    axes.set(xlabel="step", ylabel="loss", title="Losses", yscale="log" if drawable else "linear")
    axes.yaxis.set_major_formatter("{x:g}")
    _add_legend(axes)


def _draw_recalls(axes: "Axes", recalls: Series) -> None:
    for (name, (steps, values)), (colour, line) in zip(recalls.items(), LINES, strict=False):
        label = name.removeprefix(RECALL).removeprefix("/") or "all queries"
        axes.plot(steps, values, color=colour, linestyle=line, marker="o", markersize=4, label=label)
    axes.set(xlabel="step", ylabel="R@1, text to video", title="Validation", ylim=(0, 1.01))
    _add_legend(axes)


def _add_legend(axes: "Axes") -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), borderaxespad=0, ncols=3)  # below: curves go anywhere


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a window around each value, of those that there are."""
    width = max(1, round(SMOOTHING * len(values)))
    kernel = np.ones(2 * (width // 2) + 1)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values, dtype=float), kernel, "same")
