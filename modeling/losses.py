"""What training minimises: the losses of both interactions, over the pairs of all processes."""

import torch

from .checks import check_embeddings
from .coarse_to_fine import MixedScorer, paired_gated_embeds, training_weights
from .contrastive import check_even_batches, gather_with_gradient, world
from .outputs import TCDVideoFeatures
from .scoring import pair_scores

__all__ = ["losses_over_processes", "tcd_losses", "tib_losses"]


def losses_over_processes(
    model, text_embeds: torch.Tensor | None, video_features: TCDVideoFeatures | None
) -> dict[str, torch.Tensor]:
    """
    Losses of all texts and all videos of a process group, the same in every process.

    Args:
        model ([`TCDModel`]): the same in all processes.
        text_embeds (`torch.FloatTensor` of shape `(batch_size, dim)`): this process's; text `i` describes video `i`.
        video_features ([`TCDVideoFeatures`]): of this process's `batch_size` videos.

    Returns:
        `dict` of the fields of [`TCDOutput`] that [`~TCDModel.compute_losses`] gives; of the scores, the block of this
        process's own texts and videos.

    Raises:
        ValueError: texts or videos are missing, or are not as many in all processes.
    """
    if text_embeds is None or video_features is None:
        raise ValueError("`return_loss=True` needs both texts and videos, text i describing video i.")
    batch_size = len(text_embeds)
    check_even_batches(batch_size, len(video_features.frame_embeds), text_embeds.device)
    whole = model.compute_losses(gather_with_gradient(text_embeds), video_features.map_videos(gather_with_gradient))
    start = world()[0] * batch_size
    own = slice(start, start + batch_size)
    return {name: value[own, own] if value.ndim else value for name, value in whole.items()}


def tcd_losses(
    model, texts: torch.Tensor, videos: TCDVideoFeatures, similarity: torch.Tensor, scale: torch.Tensor
) -> dict[str, torch.Tensor]:
    """
    Losses of the scores, of the two sequences of a video, and of the coarse vectors (TCD section 7, EERCF).

    Args:
        model ([`TCDModel`]): gives the loss modules and their weights.
        texts (`torch.FloatTensor` of shape `(batch_size, dim)`): text `i` describes video `i`.
        videos ([`TCDVideoFeatures`]): of `batch_size` videos.
        similarity (`torch.FloatTensor` of shape `(batch_size, batch_size)`): every text against every video.
        scale (`torch.FloatTensor`, scalar): what makes logits of cosines.

    Returns:
        `dict` of scalars by the loss fields of [`TCDOutput`]; `loss` is their weighted sum.
    """
    config = model.config
    coarse_scores = model.get_coarse_queries(texts) @ videos.coarse_embeds.float().T
    losses = {
        "contrastive_loss": model.contrastive(similarity * scale),
        "coarse_loss": model.contrastive(coarse_scores * scale),
        "pearson_loss": config.pearson_video_weight * model.pearson(texts, videos.coarse_embeds),
    }
    losses["loss"] = (
        losses["contrastive_loss"]
        + config.coarse_loss_weight * losses["coarse_loss"]
        + config.pearson_weight * losses["pearson_loss"]
    )
    if config.reads_ocr and config.use_calibration:
        ocr_embeds, _, ocr_mask = videos.ocr_parts()
        losses["calibration_loss"] = model.calibration(
            videos.frame_embeds, ocr_embeds, ocr_mask, model.calibration_temperature, videos.visible_frames()
        )
        losses["loss"] = losses["loss"] + config.calibration_weight * losses["calibration_loss"]
    return losses


def tib_losses(model, texts: torch.Tensor, videos: TCDVideoFeatures, scale: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    Losses of EERCF: in training a video is gated by its own text alone, and meets every text that way.

    Arguments and result are those of [`tcd_losses`].
    """
    config = model.config
    check_embeddings(config, texts, videos)
    coarse_scores = pair_scores(MixedScorer(model, texts, training_weights(config)), videos).similarity
    coarse_loss = model.contrastive(coarse_scores * scale)  # first: it refuses texts and videos that are no pairs
    gated = paired_gated_embeds(
        texts, videos.frame_embeds, videos.fused_frame_embeds, config.tib_frame_temperature, videos.visible_frames()
    )
    losses = {
        "contrastive_loss": model.contrastive(texts.float() @ gated.T * scale),
        "coarse_loss": coarse_loss,
        "pearson_loss": config.pearson_video_weight * model.pearson(texts, videos.coarse_embeds)
        + config.pearson_tib_frame_weight * model.pearson(texts, gated),
    }
    if config.use_patch_features and config.pearson_tib_patch_weight:
        patches = videos.patches()
        gated = paired_gated_embeds(texts, patches, patches, config.tib_patch_temperature, videos.visible_patches())
        losses["pearson_loss"] = losses["pearson_loss"] + config.pearson_tib_patch_weight * model.pearson(texts, gated)
    losses["loss"] = (
        config.coarse_loss_weight * losses["coarse_loss"]
        + config.tib_loss_weight * losses["contrastive_loss"]
        + config.pearson_weight * losses["pearson_loss"]
    )
    return losses
