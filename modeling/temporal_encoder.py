"""Frames that know what comes before and after them: the layers under EERCF's coarse vector and gated frames."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from transformers.activations import ACT2FN

from .co_attention import CrossAttention, starts_as

__all__ = ["TemporalEncoder", "TemporalEncoderLayer", "copy_text_layers"]

HEAD_DIM = 64  # as in CLIP's towers


class TemporalEncoder(nn.Module):
    """
    `v_i = n(TemporalEncoder(r + position)_i + r_i)`, where `r` are the raw frames, as the image tower's projection
    gives them. Their norms, about 10 of CLIP's, decide how much the layers add to them. With
    `temporal_input="normalised"` unit vectors stand in their place.

    The positions, and the projections that end each residual branch, start at zero, so that an untrained encoder gives
    the frames back (ours). The published code starts from copies of a text tower, see [`copy_text_layers`].
    """

    _gradient_checkpointing_func: Callable[..., torch.Tensor]
    gradient_checkpointing = False  # `gradient_checkpointing_enable` of the model sets it, and the function below

    def __init__(self, config):
        super().__init__()
        self.reads_raw_frames = config.temporal_input == "raw"
        self.position_embedding = nn.Parameter(torch.empty(config.num_frames, config.projection_dim))
        self.layers = nn.ModuleList(TemporalEncoderLayer(config) for _ in range(config.temporal_num_layers))

    def forward(
        self,
        frame_embeds: torch.Tensor,
        frame_norms: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Lets frames know what comes before and after them.

        Args:
            frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`): L2-normalised.
            frame_norms (`torch.FloatTensor` of shape `(batch_size, num_frames)`): what the frames were divided by; not
                read with `temporal_input="normalised"`.
            frame_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*): frames that others may see;
                all by default.

        Returns:
            Temporal frames, `torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, L2-normalised.
        """
        frames = frame_embeds
        if self.reads_raw_frames and frame_norms is not None:
            frames = frame_embeds * frame_norms[..., None].to(frame_embeds.dtype)
        states = frames + self.position_embedding
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                states = self._gradient_checkpointing_func(layer.__call__, states, frame_mask)
            else:
                states = layer(states, frame_mask)
        return nn.functional.normalize(states + frames, dim=-1)


class TemporalEncoderLayer(nn.Module):
    """A transformer layer of the kind CLIP is made of: norms first, heads of 64 channels, four times wider inside."""

    def __init__(self, config):
        super().__init__()
        dim, eps = config.projection_dim, config.temporal_layer_norm_eps
        num_heads = max(heads for heads in range(1, max(1, dim // HEAD_DIM) + 1) if dim % heads == 0)
        self.attention_norm = nn.LayerNorm(dim, eps=eps)
        self.attention = CrossAttention(config, neutral={"out_proj": "zeros"}, num_heads=num_heads)
        self.mlp_norm = nn.LayerNorm(dim, eps=eps)
        self.mlp_in = nn.Linear(dim, 4 * dim)
        self.activation = ACT2FN[config.temporal_activation]
        self.mlp_out = starts_as("zeros", nn.Linear(4 * dim, dim))

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        normed = self.attention_norm(states)
        states = states + self.attention(normed, normed, normed, mask)[0]
        return states + self.mlp_out(self.activation(self.mlp_in(self.mlp_norm(states))))


@torch.no_grad()
def copy_text_layers(temporal_encoder: TemporalEncoder, backbone: Any) -> None:
    """
    Gives a temporal encoder the weights of a text tower's first layers and positions: the published start.

    Args:
        temporal_encoder ([`TemporalEncoder`])
        backbone (`PreTrainedModel`): a dual encoder with the text tower of CLIP, as wide as the joint space.

    Raises:
        ValueError: a text tower of another kind or shape.
    """
    text_model: Any = getattr(backbone, "text_model", None)
    text_model = getattr(text_model, "text_model", text_model)  # CLIP's own class for its text tower alone holds one
    try:
        positions = text_model.embeddings.position_embedding.weight
        copies = [(layer, _clip_layer(layer)) for layer in text_model.encoder.layers]
    except AttributeError:
        raise ValueError(
            f'`temporal_start="text_layers"` copies layers of CLIP\'s text tower, which {type(backbone).__name__} does '
            'not have. Use `temporal_start="neutral"`.'
        ) from None
    (num_frames, dim), first = temporal_encoder.position_embedding.shape, cast(Any, temporal_encoder.layers[0])
    needed = len(temporal_encoder.layers), num_frames, dim, first.attention.num_heads, first.mlp_in.out_features
    found = len(copies), *positions.shape, copies[0][0].self_attn.num_heads, copies[0][0].mlp.fc1.out_features
    if needed[0] > found[0] or needed[1] > found[1] or needed[2:] != found[2:]:
        names = ("layers", "positions", "width", "heads", "inner width")
        raise ValueError(
            f'`temporal_start="text_layers"` cannot copy: the temporal encoder has '
            f"{', '.join(f'{name} {value}' for name, value in zip(names, needed, strict=True))}; the text tower "
            f"{', '.join(f'{name} {value}' for name, value in zip(names, found, strict=True))}. Widths and heads must "
            'be equal, and layers and positions enough. Use `temporal_start="neutral"`.'
        )
    temporal_encoder.position_embedding.copy_(positions[:num_frames])
    for layer, (_, weights) in zip(temporal_encoder.layers, copies, strict=False):
        layer.load_state_dict(weights)


def _clip_layer(layer: Any) -> dict[str, torch.Tensor]:
    """The weights of a layer of CLIP's by our names."""
    parts = {
        "attention_norm": layer.layer_norm1,
        **{f"attention.{name}": getattr(layer.self_attn, name) for name in ("q_proj", "k_proj", "v_proj", "out_proj")},
        "mlp_norm": layer.layer_norm2,
        "mlp_in": layer.mlp.fc1,
        "mlp_out": layer.mlp.fc2,
    }
    return {f"{name}.{kind}": getattr(part, kind) for name, part in parts.items() for kind in ("weight", "bias")}
