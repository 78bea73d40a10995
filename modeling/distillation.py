"""Context-guided temporal clue distilling (CTCD): one hybrid clue from both modalities (TCD section 5, algorithm 1)."""

import torch
from torch import nn

from .co_attention import CrossAttention

__all__ = ["ClueDistilling", "CrossAttentionClue", "masked_mean"]

# An untrained attention answers with the mean of the values as they are.
PLAIN_MEAN = {"q_proj": "zeros", "v_proj": "eye", "out_proj": "eye"}


class ClueDistilling(nn.Module):
    """
    A learned video clue asks the gated windows, a learned OCR clue asks the gated frames; the hybrid clue is the mean
    of the two answers. Only the clue's row of each attention is used, so only it is computed (ours).

    The query projections start at zero and the value and output projections as the identity (ours): an untrained clue
    is the mean of both modalities' means. Nothing but the clue's softmax stands between the gates and the clue, which
    is what lets scores be computed exactly without running this module for every pair.
    """

    def __init__(self, config):
        super().__init__()
        self.video_clue = nn.Parameter(torch.empty(1, config.projection_dim))
        self.ocr_clue = nn.Parameter(torch.empty(1, config.projection_dim))
        self.clue_type_embedding = nn.Parameter(torch.empty(1, config.projection_dim))
        self.video_type_embedding = nn.Parameter(torch.empty(config.num_frames, config.projection_dim))
        self.ocr_type_embedding = nn.Parameter(torch.empty(config.num_frames, config.projection_dim))
        self.video_attention = CrossAttention(config, neutral=PLAIN_MEAN)
        self.ocr_attention = CrossAttention(config, neutral=PLAIN_MEAN)
        self.dropout = nn.Dropout(config.fusion_dropout)

    def forward(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor,
        window_mask: torch.Tensor,
        frame_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Distils the clues of captions and frames for each text.

        Args:
            frame_embeds, ocr_embeds (`torch.FloatTensor` of shape `(num_pairs, num_frames, dim)`): gated by the query.
            window_mask (`torch.BoolTensor` of shape `(num_pairs, num_frames)`): windows that may be read.
            frame_mask (`torch.BoolTensor` of shape `(num_pairs, num_frames)`, *optional*): frames that may be seen; all
                by default.

        Returns:
            The hybrid clue, `torch.FloatTensor` of shape `(num_pairs, dim)`.
        """
        frames = frame_embeds + self.video_type_embedding
        windows = ocr_embeds + self.ocr_type_embedding
        video_query = (self.video_clue + self.clue_type_embedding).expand(len(frames), 1, -1)
        ocr_query = (self.ocr_clue + self.clue_type_embedding).expand(len(windows), 1, -1)
        video_clue, _ = self.video_attention(video_query, windows, windows, window_mask)  # (num_pairs, 1, dim)
        ocr_clue, _ = self.ocr_attention(ocr_query, frames, frames, frame_mask)
        return self.dropout((video_clue + ocr_clue) / 2).squeeze(1)


class CrossAttentionClue(nn.Module):
    """
    Plain cross-attention in CTCD's place (TCD table A4, row 1): every gated frame asks the windows, every gated window
    asks the frames, and the hybrid clue is the mean of all answers. Starts neutral as [`ClueDistilling`] does.
    """

    def __init__(self, config):
        super().__init__()
        self.video_attention = CrossAttention(config, neutral=PLAIN_MEAN)
        self.ocr_attention = CrossAttention(config, neutral=PLAIN_MEAN)
        self.dropout = nn.Dropout(config.fusion_dropout)

    def forward(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor,
        window_mask: torch.Tensor,
        frame_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Arguments and result are those of [`ClueDistilling.forward`]."""
        from_windows, _ = self.video_attention(frame_embeds, ocr_embeds, ocr_embeds, window_mask)
        from_frames, _ = self.ocr_attention(ocr_embeds, frame_embeds, frame_embeds, frame_mask)
        video_clue = from_windows.mean(dim=1) if frame_mask is None else masked_mean(from_windows, frame_mask)
        ocr_clue = masked_mean(from_frames, window_mask)
        return self.dropout((video_clue + ocr_clue) / 2)


def masked_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of `(..., length, dim)` over the places where `mask` `(..., length)` is `True`. Returns `(..., dim)`."""
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=-2) / weights.sum(dim=-2)
