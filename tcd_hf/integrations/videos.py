"""Videos as other libraries hand them over, and their features one video at a time."""

from collections.abc import Sequence
from typing import Any

import torch

from tcd_hf.modeling.modeling_tcd import TCDModel, TCDVideoFeatures
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.video_reader import VideoReader

__all__ = ["concatenate_features", "embed_video", "process_video"]


def process_video(processor: TCDProcessor, video: Any) -> dict[str, torch.Tensor]:
    """What [`~TCDModel.get_video_features`] takes of one video, as a batch of one.

    The text in a file is read once, whoever asks for it: captions come from the [`CaptionCache`] and go there, as those
    of [`VideoIndex`] do.

    Args:
        processor (`TCDProcessor`): reads its frames and its text.
        video: what [`TCDProcessor`] takes as a video, a [`Hit`] among it.

    Raises:
        VideoReadError: a video that cannot be read.
        CacheError: the cache folder cannot be written.
        ValueError, TypeError: something that is no video.
    """
    frames, captions = VideoReader.of(processor, CaptionCache()).read(video)
    return dict(processor.process_frames(frames, captions))


@torch.no_grad()
def embed_video(model: TCDModel, processor: TCDProcessor, video: Any) -> TCDVideoFeatures:
    """The features of one video, see [`process_video`], without the towers' outputs, on the device of the model."""
    inputs = {name: value.to(model.device) for name, value in process_video(processor, video).items()}
    return model.get_video_features(**inputs).map_videos(lambda rows: rows)


def concatenate_features(features: Sequence[TCDVideoFeatures]) -> TCDVideoFeatures:
    """Features of several videos as one batch, in order. They have no scoring tables."""
    tensors: dict[str, Any] = {name: torch.cat([each[name] for each in features]) for name in features[0]}
    return TCDVideoFeatures(**tensors)
