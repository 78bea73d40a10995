"""The parts of tcd-mini put together, and its files written."""

import copy
import math
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from torch import nn
from transformers import CLIPImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from tcd_hf import TCDConfig, TCDModel, TCDProcessor

__all__ = ["LOGIT_SCALE", "build_mini", "save_mini", "save_text_tower"]

LOGIT_SCALE = math.log(100.0)  # of the backbone; the model's gate takes exp(LOGIT_SCALE) / 5, the scale of text.yaml


def save_text_tower(tower: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, output: Path) -> None:
    """Writes a text tower, float32, and its tokenizer, for the next step."""
    tower.save_pretrained(output)
    tokenizer.save_pretrained(output)


def build_mini(towers: nn.Module, tokenizer: PreTrainedTokenizerBase) -> tuple[TCDModel, TCDProcessor]:
    """A TCDModel on a copy of these towers, its fusion neutral, and its processor."""
    size = towers.config.vision_config.image_size
    image_processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    # no temporal layers: they serve the coarse vector alone, and would add half its size to the file
    model = TCDModel.from_backbone(copy.deepcopy(towers).eval(), temporal_num_layers=0)
    return model, TCDProcessor(image_processor, tokenizer)


def save_mini(model: TCDModel, processor: TCDProcessor, output: Path) -> None:
    """Writes both, the weights as float16, without code: the checkpoint stays inside the package that has it."""
    model = copy.deepcopy(model).half()
    for part in (model.config, processor, processor.tokenizer, processor.image_processor):
        vars(part).pop("auto_map", None)
    processor.tokenizer.init_kwargs.pop("auto_map", None)
    with ExitStack() as stack:
        for kind in (TCDConfig, TCDModel, TCDProcessor):
            stack.enter_context(patch.object(kind, "_auto_class", None))
        model.save_pretrained(output)
        processor.save_pretrained(output)
