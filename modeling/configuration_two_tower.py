"""Configuration of a backbone of two towers of any kind."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

try:
    from transformers.configuration_utils import SubConfigSpec
except ImportError:  # transformers before it was there
    SubConfigSpec = None

__all__ = ["TwoTowerConfig", "tower_width"]


@strict
class TwoTowerConfig(PreTrainedConfig):
    r"""
    Configuration of a [`TwoTowerModel`]: a text encoder and an image encoder of their own families, and how each
    becomes one vector of the joint space.

    Args:
        text_config (`PreTrainedConfig` or `dict`, *optional*, defaults to `BertConfig()`):
            Configuration of an encoder of texts that `AutoModel` knows: BERT, MPNet, XLM-R, ModernBERT, ... A `dict` is
            resolved by its `model_type`, `"bert"` where it has none.
        vision_config (`PreTrainedConfig` or `dict`, *optional*, defaults to `ViTConfig()`):
            Configuration of an encoder of images that `AutoModel` knows: ViT, SigLIP's, ConvNeXt, DINOv2, ... A `dict`
            is resolved by its `model_type`, `"vit"` where it has none.
        projection_dim (`int`, *optional*): width of the joint space; that of the text encoder by default.
        text_pooling (`"mean"`, `"cls"`, `"last"` or `"pooler"`, *optional*, defaults to `"mean"`):
            What stands for a text: the mean over its tokens, its first or its last one, or what the encoder itself
            calls `pooler_output`.
        image_pooling (`"pooler"` or `"cls"`, *optional*, defaults to `"pooler"`):
            What stands for an image: what the encoder calls `pooler_output`, or its first token.
        logit_scale_init_value (`float`, *optional*, defaults to 2.6592): CLIP's, a temperature of 0.07.
        initializer_range (`float`, *optional*, defaults to 0.02): not used by the towers, which have their own.

    Raises:
        ValueError: a `projection_dim` below 1.
    """

    model_type = "two_tower"
    if SubConfigSpec is not None:
        sub_configs_defaults = {
            "text_config": SubConfigSpec(AutoConfig, model_type="bert"),
            "vision_config": SubConfigSpec(AutoConfig, model_type="vit"),
        }
    else:
        sub_configs: ClassVar[Any] = {"text_config": AutoConfig, "vision_config": AutoConfig}

    if TYPE_CHECKING:  # what these are once they are resolved, see below
        text_config: Any = None
        vision_config: Any = None
        projection_dim: Any = None
    else:
        text_config: dict | PreTrainedConfig | None = None
        vision_config: dict | PreTrainedConfig | None = None
        projection_dim: int | None = None
    text_pooling: Literal["mean", "cls", "last", "pooler"] = "mean"
    image_pooling: Literal["pooler", "cls"] = "pooler"
    logit_scale_init_value: float | int = 2.6592
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        for name, kind in (("text_config", "bert"), ("vision_config", "vit")):
            given = getattr(self, name)
            if given is None or isinstance(given, dict):
                setattr(self, name, AutoConfig.for_model(**{"model_type": kind, **(given or {})}))
        if self.projection_dim is None:
            self.projection_dim = tower_width(self.text_config)
        super().__post_init__(**kwargs)

    def validate_widths(self) -> None:
        """Part of the `@strict` validation."""
        if self.projection_dim < 1:
            raise ValueError(f"`projection_dim` must be 1 or more, got {self.projection_dim}.")


def tower_width(config: Any) -> int:
    """Width of what an encoder gives: its `hidden_size`, or the last of its `hidden_sizes` (ConvNeXt)."""
    width = getattr(config, "hidden_size", None) or (getattr(config, "hidden_sizes", None) or [None])[-1]
    if width is None:
        raise ValueError(
            f"{type(config).__name__} tells neither `hidden_size` nor `hidden_sizes`: it is no configuration of an "
            "encoder of texts or images alone."
        )
    return width
