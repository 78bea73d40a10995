"""From what the model takes to what an index stores: the features of videos."""

from collections.abc import Sequence

import numpy as np
import torch

from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures

__all__ = ["compute_features", "stack_inputs"]


@torch.no_grad()
def compute_features(
    model: TCDModel, inputs: Sequence[dict[str, np.ndarray]], padding_side: str = "right"
) -> TCDVideoFeatures:
    """The features that an index stores of videos, with scoring tables where the model scores by them.

    Tables are computed from the features as they are stored, in float16, so that the two fit.

    Args:
        model (`TCDModel`): in evaluation mode.
        inputs (`list[dict[str, np.ndarray]]`): of single videos, see [`ReadVideo`].
        padding_side (`"right"` or `"left"`, *optional*, defaults to `"right"`): of the tokenizer.
    """
    batch = {name: stack_inputs([video[name] for video in inputs], padding_side) for name in inputs[0]}
    features = model.get_video_features(**{name: value.to(model.device) for name, value in batch.items()})
    coarse = features.coarse_embeds.float()
    features = features.map_videos(lambda rows: rows.half().float() if rows.is_floating_point() else rows)
    features = TCDVideoFeatures(**{**features, "coarse_embeds": coarse})
    return model.precompute(features) if model.config.text_condition == "after" else features


def stack_inputs(arrays: Sequence[np.ndarray], padding_side: str) -> torch.Tensor:
    """Arrays of single videos as a batch. Captions are padded to the longest; masks say what is padding."""
    length = max(array.shape[-1] for array in arrays)

    def padded(array: np.ndarray) -> np.ndarray:
        missing = length - array.shape[-1]
        return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing) if padding_side == "right" else (missing, 0)])

    return torch.from_numpy(np.concatenate([padded(array) for array in arrays]))
