"""What training minimises: the losses of both interactions, over the pairs of all processes."""

import torch

from .coarse_to_fine import paired_gated_embeds, training_weights
from .outputs import TCDVideoFeatures
from .scoring import pair_scores

__all__ = ["tcd_losses", "tib_losses"]


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
        losses["calibration_loss"] = model.calibration(videos.frame_embeds, videos.ocr_embeds, videos.ocr_mask)
        losses["loss"] = losses["loss"] + config.calibration_weight * losses["calibration_loss"]
    return losses


def tib_losses(model, texts: torch.Tensor, videos: TCDVideoFeatures, scale: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    Losses of EERCF: in training a video is gated by its own text alone, and meets every text that way.

    Arguments and result are those of [`tcd_losses`].
    """
    config = model.config
    coarse_scores = pair_scores(model, texts, videos, weights=training_weights(config)).similarity
    coarse_loss = model.contrastive(coarse_scores * scale)  # first: it refuses texts and videos that are no pairs
    gated = paired_gated_embeds(texts, videos.frame_embeds, videos.fused_frame_embeds, config.tib_frame_temperature)
    losses = {
        "contrastive_loss": model.contrastive(texts.float() @ gated.T * scale),
        "coarse_loss": coarse_loss,
        "pearson_loss": config.pearson_video_weight * model.pearson(texts, videos.coarse_embeds)
        + config.pearson_tib_frame_weight * model.pearson(texts, gated),
    }
    if config.use_patch_features and config.pearson_tib_patch_weight:
        patches = videos.patch_embeds.flatten(1, 2)
        gated = paired_gated_embeds(texts, patches, patches, config.tib_patch_temperature)
        losses["pearson_loss"] = losses["pearson_loss"] + config.pearson_tib_patch_weight * model.pearson(texts, gated)
    losses["loss"] = (
        config.coarse_loss_weight * losses["coarse_loss"]
        + config.tib_loss_weight * losses["contrastive_loss"]
        + config.pearson_weight * losses["pearson_loss"]
    )
    return losses
