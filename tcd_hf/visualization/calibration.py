"""What heterogeneous semantics calibrating sees in one clip: from each frame to its nearest window, and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tcd_hf.visualization.film_strip import DrawnClip, film_strip, read_clip
from tcd_hf.visualization.style import BLUE, GREEN, GREY, VERMILLION

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures
    from tcd_hf.processing.processing_tcd import TCDProcessor
    from tcd_hf.processing.video_inputs import VideoInput

__all__ = ["Cycle", "calibration_cycle", "plot_calibration_cycle"]

FRAME_ROW, WINDOW_ROW = 1.0, 0.0  # y of the nodes
NEAREST_ROW, SOFT_ROW = 1.16, 1.28  # y of what is noted above them
NOTE = {"ha": "center", "va": "center_baseline", "fontsize": 7, "color": GREY}
HOME = {"color": "#D7F0E7", "markeredgecolor": GREEN, "markeredgewidth": 2.2}
ELSEWHERE = {"color": "white", "markeredgecolor": GREY, "markeredgewidth": 1.2}
THERE: tuple[str, Any] = (BLUE, "-")  # colour and line
BACK: tuple[str, Any] = (VERMILLION, (0, (4, 1.5)))


class Cycle(NamedTuple):
    """The cycle frame, window, frame of one video, as [`CalibrationLoss`] walks it.

    Attributes:
        there (`torch.FloatTensor` of shape `(num_frames, num_frames)`): of each frame, how near each window is in
            meaning; rows add up to 1, windows without text get 0.
        back (`torch.FloatTensor` of shape `(num_frames, num_frames)`): of what a frame found, how near each frame is;
            those that do not count get 0.
        landings (`torch.FloatTensor` of shape `(num_frames,)`): where each frame lands softly, the mean place over
            `back`, in frames from 0. This is what the loss compares with the frame's own place.
        counts (`torch.BoolTensor` of shape `(num_frames,)`): frames that count, see [`TCDVideoFeatures`]; the others
            walk no cycle.
    """

    there: "torch.Tensor"
    back: "torch.Tensor"
    landings: "torch.Tensor"
    counts: "torch.Tensor"

    @property
    def places(self) -> list[int]:
        """The frames that count."""
        return self.counts.nonzero().flatten().tolist()

    @property
    def nearest(self) -> list[int]:
        """The frame that each frame's find is nearest to: where most of `back` lies."""
        return self.back.argmax(dim=-1).tolist()

    @property
    def num_home(self) -> int:
        """How many frames return to themselves."""
        return sum(self.nearest[place] == place for place in self.places)


def calibration_cycle(features: "TCDVideoFeatures", temperature: float) -> Cycle:
    """The soft nearest neighbours of one video, there and back (TCD section 3).

    Args:
        features ([`TCDVideoFeatures`]): of one video, with text in one window or more.
        temperature (`float`): of the nearest neighbours, `calibration_temperature` of the model.
    """
    import torch
    from torch.nn.functional import normalize

    (ocr_embeds,), _, (has_text,) = features.ocr_parts()
    (counts,) = features.visible_frames()
    frames, windows = normalize(features.frame_embeds[0].float(), dim=-1), normalize(ocr_embeds.float(), dim=-1)
    there = (frames @ windows.T / temperature).masked_fill(~has_text, -torch.inf).softmax(dim=-1)
    found = normalize(there @ windows, dim=-1)
    back = (found @ frames.T / temperature).masked_fill(~counts, -torch.inf).softmax(dim=-1)
    return Cycle(there, back, back @ torch.arange(len(frames), dtype=back.dtype, device=back.device), counts)


def plot_calibration_cycle(
    model: "TCDModel", processor: "TCDProcessor", video: "VideoInput", path: str | Path | None = None
) -> "Figure":
    """Draws one clip's cycle: frames above, windows with their captions below, and between them an arrow from each
    frame to its nearest window in meaning, and one from there to the frame that what it found is nearest to. Above each
    frame's node stands which frame that is, and over it the soft landing: the mean place of all frames, counted from 1,
    weighted by how near they are. The loss is made of soft landings; where many frames are about as near, they lie
    between them, even of a frame that returns to itself. Frames that repeat the one before, as in a clip of fewer
    frames than windows, have no node.

    Args:
        model ([`TCDModel`]): one that reads OCR; evaluated as it is. The embeddings are those of the towers, before
            fusion, as in the loss.
        processor ([`TCDProcessor`]): of the model.
        video: anything the processor takes: a path, bytes, frames.
        path (`str` or `Path`, *optional*): where to write the picture, in the format of its ending: `.png`, `.svg`,
            `.pdf`. By default it is only returned.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: Matplotlib is not installed.
        VideoReadError: the video cannot be read.
        ValueError: the model does not read OCR, or fewer than two windows show text, or there is but one frame: such a
            clip has no cycle.
    """
    clip = read_clip(model, processor, video)
    _, _, (mask,) = clip.features.ocr_parts()
    if mask.sum() < 2:
        raise ValueError(
            f"A cycle needs two windows with text or more, {clip.name} has {int(mask.sum())}: choose a clip that shows "
            "more text."
        )
    cycle = calibration_cycle(clip.features, model.calibration_temperature.item())
    cycle = Cycle(*(part.cpu() for part in cycle))
    if len(cycle.places) < 2:
        raise ValueError(f"A cycle needs two frames that differ or more, {clip.name} has one: choose a longer clip.")
    with film_strip(clip, _title(clip, cycle), 2.3, path) as (figure, axes):
        _draw_cycle(axes, cycle, mask.tolist())
        _draw_legend(axes)
    return figure


def _draw_cycle(axes: "Axes", cycle: Cycle, has_text: list[bool]) -> None:
    windows, nearest = cycle.there.argmax(dim=-1).tolist(), cycle.nearest
    for frame in cycle.places:
        _draw_arrow(axes, (frame, FRAME_ROW), (windows[frame], WINDOW_ROW), *THERE)
    for window, frame in sorted({(windows[frame], nearest[frame]) for frame in cycle.places}):
        _draw_arrow(axes, (window, WINDOW_ROW), (frame, FRAME_ROW), *BACK)
    for frame in cycle.places:
        look = HOME if nearest[frame] == frame else ELSEWHERE
        _draw_node(axes, (frame, FRAME_ROW), _frame_name(frame), "o", look)
        axes.text(frame, SOFT_ROW, f"{cycle.landings[frame].item() + 1:.1f}", **NOTE)
        axes.text(frame, NEAREST_ROW, _frame_name(nearest[frame]), parse_math=True, **NOTE)
    for window in (place for place, shows in enumerate(has_text) if shows):
        _draw_node(axes, (window, WINDOW_ROW), f"$o_{{{window + 1}}}$", "s", ELSEWHERE)
    rows = {"soft landing": SOFT_ROW, "returns to": NEAREST_ROW, "frames": FRAME_ROW, "windows": WINDOW_ROW}
    for name, row in rows.items():
        axes.text(-0.55, row, name, **{**NOTE, "ha": "right"})
    axes.set_ylim(WINDOW_ROW, SOFT_ROW + 0.1)
    axes.axis("off")


def _draw_arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float], colour: str, line) -> None:
    """Between the rows, leaving the nodes free. Arrows are bent, so that one there and one back do not coincide."""
    from matplotlib.patches import FancyArrowPatch

    place = {"connectionstyle": "arc3,rad=0.06", "shrinkA": 12, "shrinkB": 12}  # points
    look = {"arrowstyle": "-|>", "mutation_scale": 10, "color": colour, "linestyle": line, "linewidth": 1.4}
    axes.add_patch(FancyArrowPatch(start, end, clip_on=False, **place, **look))


def _draw_node(axes: "Axes", place: tuple[float, float], name: str, shape: str, look: dict) -> None:
    axes.plot(*place, shape, markersize=18, clip_on=False, **look)
    axes.text(*place, name, ha="center", va="center_baseline", fontsize=8, parse_math=True)


def _frame_name(place: int) -> str:
    return f"$v_{{{place + 1}}}$"


def _draw_legend(axes: "Axes") -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=THERE[0], linestyle=THERE[1], label="to the nearest window"),
        Line2D([], [], color=BACK[0], linestyle=BACK[1], label="back to the nearest frame"),
        Line2D([], [], marker="o", linestyle="", markersize=9, **HOME, label="returns to itself"),
        Line2D([], [], marker="o", linestyle="", markersize=9, **ELSEWHERE, label="returns to another"),
    ]
    axes.legend(handles=entries, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, ncols=len(entries))


def _title(clip: DrawnClip, cycle: Cycle) -> str:
    count = len(cycle.places)
    distance = sum((cycle.landings[place].item() - place) ** 2 for place in cycle.places) / count
    return (
        f"{clip.name}: {cycle.num_home} of {count} frames return to themselves, "
        f"mean squared distance of soft landings {distance:.1f}"
    )
