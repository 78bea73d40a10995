"""What a dual encoder does for the model, whichever it is: texts, captions and patches in the joint space."""

from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_two_tower import TwoTowerConfig
from .outputs import TCDTextFeatures
from .two_tower import TwoTowerModel

__all__ = [
    "PATCH_BACKBONES",
    "encode_captions",
    "encode_frames",
    "encode_text",
    "make_backbone",
    "project_patches",
    "text_tower",
]

PATCH_BACKBONES = ("clip", "siglip")


def make_backbone(config: Any) -> PreTrainedModel:
    """A dual encoder with random weights: transformers' own for its configuration, or two towers."""
    if config.model_type == TwoTowerConfig.model_type:
        return TwoTowerModel._from_config(config)
    return transformers.AutoModel.from_config(config, trust_remote_code=False)


def encode_text(
    backbone: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
) -> TCDTextFeatures:
    """Output of a dual encoder's text tower, its `pooler_output` L2-normalised."""
    output = backbone.get_text_features(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
    return TCDTextFeatures(
        last_hidden_state=output.last_hidden_state,
        pooler_output=nn.functional.normalize(output.pooler_output, dim=-1),
        hidden_states=output.hidden_states,
        attentions=output.attentions,
    )


def encode_frames(
    backbone: Any, pixel_values_videos: torch.Tensor, extras: dict, with_patches: bool = False, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, BaseModelOutputWithPooling]:
    """
    Frames of videos in the joint space.

    Args:
        backbone (`PreTrainedModel`): a dual encoder.
        pixel_values_videos (`torch.FloatTensor` of shape `(batch_size, num_frames, ...)`): pixels, or patches.
        extras (`dict[str, torch.Tensor]`): further inputs of the image tower by name, of shape `(batch_size,
            num_frames, ...)`; those that are `None` are left out.
        with_patches (`bool`, *optional*, defaults to `False`): also embed patches, see [`project_patches`].

    Returns:
        Embeddings of frames `(batch_size, num_frames, dim)`, L2-normalised, and their norms before that `(batch_size,
        num_frames)`; embeddings of patches `(batch_size, num_frames, num_patches, dim)`, L2-normalised, or `None`; and
        the output of the image tower.
    """
    output = backbone.get_image_features(
        pixel_values=pixel_values_videos.flatten(0, 1).to(backbone.dtype),  # not every tower does that itself
        return_dict=True,
        **{name: value.flatten(0, 1) for name, value in extras.items() if value is not None},
        **kwargs,
    )
    shape, patch_embeds = pixel_values_videos.shape[:2], None
    frames = output.pooler_output.unflatten(0, shape)
    frame_norms = frames.norm(dim=-1)
    if with_patches:
        patches = project_patches(backbone, output.last_hidden_state)
        patch_embeds = nn.functional.normalize(patches, dim=-1).unflatten(0, shape)
    return nn.functional.normalize(frames, dim=-1), frame_norms, patch_embeds, output


def encode_captions(
    encoder: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
) -> tuple[torch.Tensor, TCDTextFeatures]:
    """
    Captions of videos, `(batch_size, num_frames, sequence_length)`, as embeddings `(batch_size, num_frames, dim)`,
    L2-normalised; and the output of the text tower, of `batch_size * num_frames` rows. Text that stays on screen gives
    equal captions, window after window: each different one is encoded once.
    """
    rows = input_ids.flatten(0, 1)
    masks = None if attention_mask is None else attention_mask.flatten(0, 1)
    keys = rows if masks is None else torch.cat([rows, masks.to(rows.dtype)], dim=1)
    unique, inverse = keys.unique(dim=0, return_inverse=True)
    unique_rows, unique_masks = unique[:, : rows.shape[1]], None
    if masks is not None:
        unique_masks = unique[:, rows.shape[1] :].to(masks.dtype)
    unique_output = encode_text(encoder, unique_rows, unique_masks, **kwargs)
    output = TCDTextFeatures(**{name: _rows(value, inverse) for name, value in unique_output.items()})
    return output.pooler_output.unflatten(0, input_ids.shape[:2]), output


def _rows(value: Any, rows: torch.Tensor) -> Any:
    """These rows of a tensor, or of each tensor of a tuple, in which layers that were not asked for are `None`."""
    if isinstance(value, tuple):
        return tuple(_rows(each, rows) for each in value)
    return None if value is None else value[rows]


def text_tower(backbone: PreTrainedModel) -> PreTrainedModel:
    """What a dual encoder's `get_text_features` needs, without its image side and its logit parameters."""
    for name, _ in list(backbone.named_children()):
        if "vis" in name or "image" in name:
            delattr(backbone, name)
    for name in list(backbone._parameters):
        delattr(backbone, name)
    return backbone


def project_patches(backbone: Any, last_hidden_state: torch.Tensor) -> torch.Tensor:
    """
    Patches in the joint space, each taken there on its own as the image is as a whole: through CLIP's last norm and
    projection; through SigLIP's pooling head, which attends to that patch alone (ours).

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(num_images, sequence_length, hidden_size)`): of the image
            tower, with CLIP's class token.

    Returns:
        `torch.FloatTensor` of shape `(num_images, num_patches, dim)`, not normalised.
    """
    if backbone.config.model_type == "clip":
        return backbone.visual_projection(backbone.vision_model.post_layernorm(last_hidden_state[:, 1:]))
    patches = last_hidden_state.flatten(0, 1)[:, None]  # (num_images * num_patches, 1, hidden_size)
    return backbone.vision_model.head(patches).unflatten(0, last_hidden_state.shape[:2])
