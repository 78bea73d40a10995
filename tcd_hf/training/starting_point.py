"""What a run trains: a TCD model and its processor, from a checkpoint or on a pretrained dual encoder."""

import torch
from transformers import AutoConfig

from tcd_hf.data.prepared_data import load_processor
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["load_starting_point"]


def load_starting_point(
    name: str, overrides: dict | None = None, seed: int = 0, max_length: int | None = None
) -> tuple[TCDModel, TCDProcessor]:
    """
    Args:
        name (`str`): folder or Hub name of a TCD checkpoint, or of a dual encoder such as
            `openai/clip-vit-base-patch32`, on which a model is built.
        overrides (`dict`, *optional*): fields of [`TCDConfig`] to set. Modules that a checkpoint does not have yet
            start neutral.
        seed (`int`, *optional*, defaults to 0): of the weights of new modules.
        max_length (`int`, *optional*): tokens of a query or caption at most; the processor's own limit by default.

    Returns:
        `tuple[TCDModel, TCDProcessor]`, the model in float32.

    Raises:
        ValueError: an override that is no field of [`TCDConfig`], or out of its range.
    """
    overrides = overrides or {}
    torch.manual_seed(seed)
    if AutoConfig.from_pretrained(name).model_type == TCDConfig.model_type:
        known = set(TCDConfig.__dataclass_fields__) - {"backbone_config"}
        unknown = sorted(set(overrides) - known)
        if unknown:  # `from_pretrained` would keep them as attributes that mean nothing
            raise ValueError(
                f"{unknown} are no fields of TCDConfig that could be set here; fields are {sorted(known)}."
            )
        model = TCDModel.from_pretrained(name, dtype=torch.float32, **overrides)
    else:
        model = TCDModel.from_backbone(name, {"dtype": torch.float32}, **overrides)
    processor = load_processor(name, model.config.num_frames)
    processor.max_length = max_length or processor.max_length
    return model, processor
