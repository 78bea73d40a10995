"""What the model refuses before it computes: inputs, embeddings and candidates that do not fit."""

import torch

from .outputs import TCDVideoFeatures

__all__ = ["check_candidates", "check_embeddings", "check_features", "check_inputs"]


def check_inputs(config, pixel_values_videos: torch.Tensor, ocr_input_ids: torch.Tensor | None) -> None:
    """
    Refuses inputs of videos that would fail later, after the towers ran.

    Raises:
        ValueError: another number of frames or windows than the configuration's, or no captions for a model that reads
            them.
    """
    shape = tuple(pixel_values_videos.shape)
    if len(shape) < 4 or shape[1] != config.num_frames:
        raise ValueError(
            f"`pixel_values_videos` must have shape (batch_size, {config.num_frames}, ...), the second being "
            f"`num_frames` of the configuration; got {shape}."
        )
    if not config.reads_ocr:
        return
    if ocr_input_ids is None:
        raise ValueError(
            "This model reads OCR captions, but `ocr_input_ids` is missing. TCDProcessor makes them from videos; a "
            "model without OCR is configured by `use_ocr=False`."
        )
    if ocr_input_ids.ndim != 3 or tuple(ocr_input_ids.shape[:2]) != shape[:2]:
        raise ValueError(
            f"`ocr_input_ids` must have shape ({shape[0]}, {shape[1]}, sequence_length), one caption per window of "
            f"each video; got {tuple(ocr_input_ids.shape)}."
        )


def check_features(
    config,
    frame_embeds: torch.Tensor,
    ocr_embeds: torch.Tensor | None,
    ocr_mask: torch.Tensor | None,
    patch_embeds: torch.Tensor | None,
    frame_norms: torch.Tensor | None,
    frame_mask: torch.Tensor | None = None,
) -> None:
    """
    Refuses what [`~TCDModel.fuse`] cannot relate; what the configuration does not use may be anything.

    Raises:
        ValueError: shapes that do not fit each other or the configuration, or no captions, patches or norms of frames
            for a model that reads them.
    """
    expected = (len(frame_embeds), config.num_frames, config.projection_dim)
    check_shape("frame_embeds", frame_embeds, expected)
    if frame_mask is not None:
        check_shape("frame_mask", frame_mask, expected[:2])
    if config.reads_raw_frames:
        if frame_norms is None:
            raise ValueError(
                'The temporal encoder reads raw frames (`temporal_input="raw"`), but `frame_norms`, what they were '
                "divided by, is missing. `encode_videos` gives it beside `frame_embeds`: embed again what was kept "
                'without it, or use a model with `temporal_input="normalised"` or `temporal_num_layers=0`.'
            )
        check_shape("frame_norms", frame_norms, expected[:2])
    if config.use_patch_features:
        if patch_embeds is None:
            raise ValueError("This model embeds patches (`use_patch_features=True`), but `patch_embeds` is missing.")
        check_shape("patch_embeds", patch_embeds, (*expected[:2], *patch_embeds.shape[2:3], expected[2]))
    if config.reads_ocr:
        if ocr_embeds is None:
            raise ValueError("This model reads OCR captions (`use_ocr=True`), but `ocr_embeds` is missing.")
        check_shape("ocr_embeds", ocr_embeds, expected)
        if ocr_mask is not None:
            check_shape("ocr_mask", ocr_mask, expected[:2])


def check_shape(name: str, tensor: torch.Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ValueError(
            f"`{name}` must have shape {expected}, got {tuple(tensor.shape)}. The number of frames and the joint width "
            "are those of the configuration (`num_frames`, `projection_dim`)."
        )


def check_embeddings(config, text_embeds: torch.Tensor, video_features: TCDVideoFeatures) -> None:
    """
    Refuses texts and videos whose scoring would fail later.

    Raises:
        ValueError: no text or no video, text embeddings of another width, or features that lack what the model scores.
    """
    if not len(text_embeds) or not len(video_features.frame_embeds):
        raise ValueError(
            f"Nothing to score: {len(text_embeds)} texts against {len(video_features.frame_embeds)} videos."
        )
    if text_embeds.ndim != 2 or text_embeds.shape[1] != config.projection_dim:
        raise ValueError(
            f"`text_embeds` must have shape (num_texts, {config.projection_dim}), got {tuple(text_embeds.shape)}."
        )
    if config.reads_ocr and video_features.fused_ocr_embeds is None:
        raise ValueError(
            "This model reads OCR captions (`use_ocr=True`), but the video features hold none: they were made by a "
            "model without OCR."
        )
    if config.interaction == "tib" and config.use_patch_features and video_features.patch_embeds is None:
        raise ValueError(
            "This model scores patches (`use_patch_features=True`), but the video features hold none: they were made "
            "by a model without patch features."
        )


def check_candidates(candidates: torch.Tensor, num_texts: int, num_videos: int) -> None:
    """
    Refuses candidates that are no rows of the videos.

    Raises:
        ValueError: see [`candidate_scores`].
    """
    if (
        candidates.ndim != 2
        or len(candidates) != num_texts
        or not candidates.shape[1]
        or candidates.dtype != torch.long
    ):
        raise ValueError(
            f"`candidates` must be int64 of shape ({num_texts}, num_candidates), one row and at least one candidate a "
            f"text; got {candidates.dtype} of shape {tuple(candidates.shape)}."
        )
    lowest, highest = candidates.min().item(), candidates.max().item()
    if lowest < -1 or highest >= num_videos:
        raise ValueError(
            f"`candidates` must be rows of the video features, 0 to {num_videos - 1}, or -1 for none; got values from "
            f"{lowest} to {highest}."
        )
