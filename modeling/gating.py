"""Text condition: a query weighs the moments of a video (TCD section 2)."""

import torch

__all__ = ["text_condition_weights", "visible_windows"]


def visible_windows(ocr_mask: torch.Tensor) -> torch.Tensor:
    """
    Windows that scores are computed over. A video without any text keeps all its windows (each holds the embedding of
    the empty caption), so that its scores stay comparable with those of other videos (ours).

    Args:
        ocr_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`): windows with text; or frames that count.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, num_frames)`, at least one `True` in each row.
    """
    return ocr_mask | ~ocr_mask.any(dim=-1, keepdim=True)


def text_condition_weights(
    text_embeds: torch.Tensor,
    moment_embeds: torch.Tensor,
    logit_scale: torch.Tensor,
    temperature: float,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""
    `w_i = N softmax_i(s cos(t, e_i) / temperature)`: how much each moment of a video matters to a query. The factor `N`
    keeps the mean of the gated features equal to their attention-weighted mean (ours).

    Args:
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised queries.
        moment_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`): L2-normalised frame or window
            embeddings, as the encoders gave them.
        logit_scale (`torch.FloatTensor`, scalar): `s`, the exponential of the learned log scale. No gradient flows
            into it from here.
        temperature (`float`): above 0. Lower trusts the query more.
        mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*): moments that count, at least one in
            each row; `N` is their number.

    Returns:
        `torch.FloatTensor` of shape `(num_texts, batch_size, num_frames)` in float32; 0 where masked, mean 1 over the
        moments that count.
    """
    cosines = torch.einsum("td,bnd->tbn", text_embeds.float(), moment_embeds.float())
    logits = cosines * (logit_scale.detach().float() / temperature)
    if mask is None:
        return logits.softmax(dim=-1) * logits.shape[-1]
    logits = logits.masked_fill(~mask, -torch.inf)
    return logits.softmax(dim=-1) * mask.sum(dim=-1, keepdim=True)
