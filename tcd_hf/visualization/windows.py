"""How well each window of one clip matches a query, by its frame and by its text."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tcd_hf.visualization.film_strip import DrawnClip, film_strip, read_clip
from tcd_hf.visualization.style import BLUE, GREEN, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor
    from tcd_hf.processing.video_inputs import VideoInput

__all__ = ["plot_window_similarity", "window_similarities"]


def window_similarities(
    model: "TCDModel", processor: "TCDProcessor", query: str, clip: DrawnClip
) -> tuple[np.ndarray, np.ndarray]:
    """The cosines by which a search finds the best window.

    Args:
        model ([`TCDModel`]), processor ([`TCDProcessor`])
        query (`str`)
        clip ([`DrawnClip`]): of the same model.

    Returns:
        Cosines of the query with the fused frame embeddings and with the fused OCR embeddings, each `(num_frames,)`
        float32; of windows without text the second is NaN.
    """
    import torch

    with torch.inference_mode():
        inputs = processor(text=[query], return_tensors="pt").to(model.device)
        text_embeds = model.get_text_features(**inputs).pooler_output
        _, fused_ocr_embeds, ocr_mask = clip.features.ocr_parts()
        frames, windows = (
            torch.cosine_similarity(embeds[0].float(), text_embeds.float(), dim=-1)
            for embeds in (clip.features.fused_frame_embeds, fused_ocr_embeds)
        )
        windows = windows.masked_fill(~ocr_mask[0], torch.nan)
    return frames.cpu().numpy(), windows.cpu().numpy()


def plot_window_similarity(
    model: "TCDModel", processor: "TCDProcessor", query: str, video: "VideoInput", path: str | Path | None = None
) -> "Figure":
    """Draws a query's similarity with each window of a clip: with its frame, and with the text read in it.

    The window that is best by the mean of both, each relative to its mean over the clip, is shaded: the one that a
    search by the model alone would show (`lexical_weight=0`, of a model without a calibration); others count shared
    spelling as well.

    Args:
        model ([`TCDModel`]): one that reads OCR; evaluated as it is.
        processor ([`TCDProcessor`]): of the model.
        query (`str`): what to look for.
        video: anything the processor takes: a path, bytes, frames.
        path (`str` or `Path`, *optional*): where to write the picture, in the format of its ending: `.png`, `.svg`,
            `.pdf`. By default it is only returned.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: Matplotlib is not installed.
        VideoReadError: the video cannot be read.
        ValueError: an empty query, or a model that does not read OCR.
    """
    from tcd_hf.index.fusing import Fusion

    clip = read_clip(model, processor, video)
    frames, windows = window_similarities(model, processor, query, clip)
    has_text = ~np.isnan(windows)
    alone = Fusion(lexical_weight=0.0)
    best = int(alone.windows(frames, windows, None, has_text, np.zeros(len(has_text))).argmax())
    with film_strip(clip, f"“{query}” in {clip.name}", 1.8, path) as (figure, axes):
        _draw_curves(axes, frames, windows, best)
    return figure


def _draw_curves(axes: "Axes", frames: np.ndarray, windows: np.ndarray, best: int) -> None:
    places = np.arange(len(frames))
    axes.axvspan(best - 0.5, best + 0.5, color=GREEN, alpha=0.15, linewidth=0, label="best window by the model")
    axes.plot(places, frames, "o-", color=BLUE, label="query and frame")
    axes.plot(places, windows, "s--", color=VERMILLION, label="query and text of the window")
    axes.set(xticks=places, xticklabels=places + 1, xlabel="window", ylabel="cosine")
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, ncols=3)
