"""Video-OCR co-attention: frames and windows of one video read each other (TCD section 4)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = ["CrossAttention", "VideoOCRCoAttention"]


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    logits = torch.matmul(query, key.transpose(-1, -2)) * scaling
    if attention_mask is not None:
        logits = logits + attention_mask
    weights = nn.functional.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class CrossAttention(nn.Module):
    """
    Multi-head attention of one sequence to another through the attention interface of transformers.

    Args:
        config ([`TCDConfig`]): gives width and attention implementation.
        neutral (`dict[str, str]`, *optional*): projections that start as `"zeros"` or as the identity (`"eye"`), not at
            random. `TCDPreTrainedModel` reads it off the projections.
        num_heads (`int`, *optional*, defaults to `config.fusion_num_heads`)
    """

    def __init__(self, config, neutral: dict[str, str] | None = None, num_heads: int | None = None):
        super().__init__()
        self.config = config
        self.num_heads = num_heads or config.fusion_num_heads
        self.head_dim = config.projection_dim // self.num_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(config.projection_dim, config.projection_dim)
        self.k_proj = nn.Linear(config.projection_dim, config.projection_dim)
        self.v_proj = nn.Linear(config.projection_dim, config.projection_dim)
        self.out_proj = nn.Linear(config.projection_dim, config.projection_dim)
        for name, start in (neutral or {}).items():
            starts_as(start, getattr(self, name))

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends from each query to what it may see.

        Args:
            query (`torch.FloatTensor` of shape `(batch_size, query_length, dim)`)
            key, value (`torch.FloatTensor` of shape `(batch_size, key_length, dim)`)
            key_mask (`torch.BoolTensor` of shape `(batch_size, key_length)`, *optional*): keys that may be attended to,
                at least one in each row.

        Returns:
            The attended values `(batch_size, query_length, dim)`, and the attention weights `(batch_size, num_heads,
            query_length, key_length)` where the implementation gives them (eager), else `None`.
        """
        batch_size, query_length, dim = query.shape
        bias = None
        if key_mask is not None:
            bias = torch.zeros(key_mask.shape, dtype=query.dtype, device=query.device)
            bias = bias.masked_fill(~key_mask, torch.finfo(query.dtype).min)[:, None, None, :]
            bias = bias.expand(batch_size, 1, query_length, -1)  # (batch_size, 1, query_length, key_length)

        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, weights = attention_interface(
            self,
            self._split_heads(self.q_proj(query)),
            self._split_heads(self.k_proj(key)),
            self._split_heads(self.v_proj(value)),
            bias,
            scaling=self.scaling,
            dropout=0.0,
            is_causal=False,
            **kwargs,
        )
        return self.out_proj(attended.reshape(batch_size, query_length, dim)), weights

    def _split_heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)  # (batch, heads, length, head_dim)


def starts_as(start: str, projection: Any) -> nn.Linear:
    """The projection, told to start as `"zeros"` or as the identity (`"eye"`), see [`TCDPreTrainedModel`]."""
    projection.neutral_start = start
    return projection


class VideoOCRCoAttention(nn.Module):
    """
    `y = v + MHA(q=v, k=o, v=o)`, `x = o + MHA(q=o, k=v, v=v)`. A learned temporal position, shared by frame `i` and
    window `i`, is added to queries and keys (ours). The output projections start at zero, so that an untrained model
    passes its backbone's features through (ours).
    """

    def __init__(self, config):
        super().__init__()
        self.position_embedding = nn.Parameter(torch.empty(config.num_frames, config.projection_dim))
        self.video_attention = CrossAttention(config, neutral={"out_proj": "zeros"})
        self.ocr_attention = CrossAttention(config, neutral={"out_proj": "zeros"})
        self.dropout = nn.Dropout(config.fusion_dropout)

    def forward(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor,
        window_mask: torch.Tensor,
        frame_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple]:
        """Lets frames and captions of each video look at each other.

        Args:
            frame_embeds, ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`)
            window_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`): windows that may be read.
            frame_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*): frames that may be seen;
                all by default.

        Returns:
            `y` and `x`, each `(batch_size, num_frames, dim)`, and the pair of attention weights (video reading OCR, OCR
            reading video), `None` each where the attention implementation does not give them.
        """
        frame_keys = frame_embeds + self.position_embedding
        ocr_keys = ocr_embeds + self.position_embedding
        from_ocr, video_weights = self.video_attention(frame_keys, ocr_keys, ocr_embeds, window_mask, **kwargs)
        from_video, ocr_weights = self.ocr_attention(ocr_keys, frame_keys, frame_embeds, frame_mask, **kwargs)
        fused_frame_embeds = frame_embeds + self.dropout(from_ocr)
        fused_ocr_embeds = ocr_embeds + self.dropout(from_video)
        return fused_frame_embeds, fused_ocr_embeds, (video_weights, ocr_weights)
