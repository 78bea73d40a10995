"""A backbone of two towers of any kind: a text encoder, such as a sentence encoder, beside an image encoder."""

import inspect
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import can_return_tuple

from .configuration_two_tower import TwoTowerConfig, tower_width

__all__ = ["TwoTowerModel", "pool_tokens"]


class TwoTowerModel(PreTrainedModel):
    """
    A text encoder and an image encoder, each with a projection into a joint space: the dual encoder that a [`TCDModel`]
    stands on where its towers come from different families.

    A projection between equal widths is the identity until it is trained, so that a sentence encoder's embeddings stay
    its own. A tower's pooling layer of its own is left out where another pooling is configured.

    Args:
        config ([`TwoTowerConfig`]): the model's configuration. Building from it gives random weights.

    Raises:
        ValueError: a text encoder that is half of an encoder-decoder.
    """

    config: TwoTowerConfig
    base_model_prefix = "two_tower"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: TwoTowerConfig):
        super().__init__(config)
        if getattr(config.text_config, "is_encoder_decoder", False):
            raise ValueError(
                f"The text encoder {config.text_config.model_type!r} is an encoder-decoder, whose encoder alone "
                "`AutoModel` does not give. Use an encoder such as BERT, MPNet, XLM-R or ModernBERT."
            )
        self.text_model = make_tower(config.text_config, keep_pooler=config.text_pooling == "pooler")
        self.vision_model = make_tower(config.vision_config, keep_pooler=config.image_pooling == "pooler")
        self.text_projection = nn.Linear(tower_width(config.text_config), config.projection_dim, bias=False)
        self.visual_projection = nn.Linear(tower_width(config.vision_config), config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if module is self:
            init.constant_(self.logit_scale, self.config.logit_scale_init_value)
        elif module in (self.text_projection, self.visual_projection):
            if module.in_features == module.out_features:
                init.eye_(module.weight)
            else:
                init.normal_(module.weight, std=module.out_features**-0.5)  # lengths stay about what they are

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_model.set_input_embeddings(value)

    @can_return_tuple
    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Embeds texts.

        Args:
            input_ids (`torch.LongTensor` of shape `(num_texts, sequence_length)`)
            attention_mask (`torch.LongTensor` of shape `(num_texts, sequence_length)`, *optional*): 1 for tokens, 0 for
                padding, on either side; all are tokens by default.

        Returns:
            `BaseModelOutputWithPooling` of the text encoder; `pooler_output` `(num_texts, dim)` is the pooled text in
            the joint space, not normalised.
        """
        output = self.text_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        if self.config.text_pooling == "pooler":
            pooled = own_pooling(output, self.text_model, "text_pooling")
        else:
            if attention_mask is None:
                attention_mask = torch.ones_like(input_ids)
            pooled = pool_tokens(output.last_hidden_state, attention_mask, self.config.text_pooling)
        return with_pooled(output, self.text_projection(pooled))

    @can_return_tuple
    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Embeds images.

        Args:
            pixel_values (`torch.FloatTensor` of shape `(num_images, num_channels, height, width)`)

        Returns:
            `BaseModelOutputWithPooling` of the image encoder; `pooler_output` `(num_images, dim)` is the image in the
            joint space, not normalised.
        """
        output = self.vision_model(pixel_values=pixel_values, return_dict=True, **kwargs)
        if self.config.image_pooling == "cls":
            pooled = output.last_hidden_state[:, 0]
        else:
            # of convolutional encoders, (num_images, width, 1, 1)
            pooled = own_pooling(output, self.vision_model, "image_pooling").flatten(1)
        return with_pooled(output, self.visual_projection(pooled))


def make_tower(config: Any, keep_pooler: bool) -> PreTrainedModel:
    """An encoder with random weights; without the pooling layer that it can do without, unless that is to be kept."""
    tower = transformers.AutoModel.from_config(config, trust_remote_code=False)
    if not keep_pooler and "add_pooling_layer" in inspect.signature(type(tower)).parameters:
        tower.pooler = None
    return tower


def pool_tokens(states: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """
    One vector for each text, as sentence-transformers pools.

    Args:
        states (`torch.FloatTensor` of shape `(num_texts, sequence_length, width)`): of the last layer.
        attention_mask (`torch.LongTensor` of shape `(num_texts, sequence_length)`): 1 for tokens, 0 for padding.
        pooling (`"mean"`, `"cls"` or `"last"`): the mean over tokens, summed in float32, or the first or last of them.

    Returns:
        `torch.FloatTensor` of shape `(num_texts, width)`, in the dtype of `states`. A text without tokens is zero with
        `"mean"`, and its first place with `"cls"`, its last with `"last"`.
    """
    if pooling == "mean":
        mask = attention_mask[:, :, None].float()
        total = states.float().mul(mask).sum(dim=1)
        return (total / mask.sum(dim=1).clamp(min=1)).to(states.dtype)
    mask = attention_mask.int()
    place = mask.argmax(dim=1) if pooling == "cls" else mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), place]


def own_pooling(output: Any, tower: PreTrainedModel, option: str) -> torch.Tensor:
    """What a tower itself calls `pooler_output`."""
    pooled = output.get("pooler_output")
    if pooled is None:
        others = {"text_pooling": '"mean", "cls" or "last"', "image_pooling": '"cls"'}[option]
        raise ValueError(f'{type(tower).__name__} gives no `pooler_output` (`{option}="pooler"`): take {others}.')
    return pooled


def with_pooled(output: Any, pooled: torch.Tensor) -> BaseModelOutputWithPooling:
    """What an encoder gave, of whatever class, with another pooled output."""
    return BaseModelOutputWithPooling(
        last_hidden_state=output.last_hidden_state,
        pooler_output=pooled,
        hidden_states=output.get("hidden_states"),
        attentions=output.get("attentions"),
    )
