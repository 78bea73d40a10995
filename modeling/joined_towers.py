"""A text encoder and an image encoder that were trained apart, as one backbone."""

import os
from collections.abc import Mapping
from typing import Any, cast

import transformers
from transformers import AutoConfig, PreTrainedModel

from .configuration_two_tower import TwoTowerConfig
from .sentence_pooling import SentencePooling, read_pooling
from .two_tower import TwoTowerModel

__all__ = ["join_towers"]

HUB_OPTIONS = ("token", "local_files_only", "cache_dir")
# Their own pooling layer is random in most checkpoints, which were made to classify by the first token.
FIRST_TOKEN = ("vit", "deit", "vit_msn")


def join_towers(
    text: str | os.PathLike | PreTrainedModel,
    image: str | os.PathLike | PreTrainedModel,
    text_pooling: str | None = None,
    projection_dim: int | None = None,
    backbone_kwargs: Mapping[str, Any] | None = None,
) -> TwoTowerModel:
    """
    A backbone with the weights of two encoders.

    Args:
        text (`str`, `os.PathLike` or `PreTrainedModel`): an encoder of texts, see [`TCDModel.from_backbone`].
        image (`str`, `os.PathLike` or `PreTrainedModel`): an encoder of images, or a dual encoder, whose image tower is
            taken.
        text_pooling (`str`, *optional*): see [`TwoTowerConfig`]; by default as the folder of `text` says, and
            `"mean"` for a loaded encoder, which does not tell.
        projection_dim (`int`, *optional*): width of the joint space; that of `text` by default.
        backbone_kwargs (`dict`, *optional*): of `AutoModel.from_pretrained`, for the towers that are named.

    Returns:
        [`TwoTowerModel`] in the dtype of `text`.

    Raises:
        ValueError: a pooling that is not known, a `revision` or `subfolder`, which cannot be of both, or a model that
            is no encoder.
    """
    options = {"trust_remote_code": False, **(backbone_kwargs or {})}
    for name in ("revision", "subfolder"):
        if name in options:
            raise ValueError(
                f"`{name}` ({options[name]!r}) cannot be that of two models: load them by `AutoModel`, and give these, "
                "with `text_pooling`."
            )
    texts: Any = text.base_model if isinstance(text, PreTrainedModel) else None
    saved = SentencePooling(text_pooling or "mean", "")
    if not isinstance(text, PreTrainedModel):
        saved = read_pooling(text, {key: options[key] for key in HUB_OPTIONS if key in options}, text_pooling)
        texts = transformers.AutoModel.from_pretrained(text, subfolder=saved.subfolder, **options)  # nosec B615
    images = image_tower(image, options)
    config = TwoTowerConfig(
        text_config=texts.config.to_dict(),
        vision_config=images.config.to_dict(),
        projection_dim=projection_dim,
        text_pooling=cast(Any, saved.pooling),  # checked by the class
        image_pooling="cls" if images.config.model_type in FIRST_TOKEN else "pooler",
    )
    joined: Any = TwoTowerModel._from_config(config, dtype=texts.dtype)
    copy_weights(texts, joined.text_model)
    copy_weights(images, joined.vision_model)
    return joined.eval()


def copy_weights(given: PreTrainedModel, tower: PreTrainedModel) -> None:
    """Gives a tower the weights of a model of its kind, which may have more (a pooling layer)."""
    weights = given.state_dict()
    missing = sorted(tower.state_dict().keys() - weights.keys())
    if missing:
        raise ValueError(
            f"{type(given).__name__} does not have the weights of a {type(tower).__name__}, as which `AutoModel` knows "
            f"it: {', '.join(missing[:3])}, ... Give the encoder alone, or the name or folder that it is loaded from."
        )
    tower.load_state_dict({name: weights[name] for name in tower.state_dict()})


def image_tower(image: Any, options: Mapping[str, Any]) -> PreTrainedModel:
    """An encoder of images, loaded where it is named; of a dual encoder its image tower."""
    if isinstance(image, PreTrainedModel):
        model: Any = image
        return model.vision_model if hasattr(image.config, "vision_config") else model.base_model
    hub = {key: options[key] for key in (*HUB_OPTIONS, "trust_remote_code") if key in options}
    config = AutoConfig.from_pretrained(image, **hub)  # nosec B615 # two models have no revision in common
    config = getattr(config, "vision_config", config)
    return transformers.AutoModel.from_pretrained(image, config=config, **options)  # nosec B615 # likewise
