"""
Makes the Auto classes of transformers know TCD and its two towers, without importing torch for people who only
`import tcd_hf`.

Whoever loads an Auto class gets the TCD class of its kind loaded too; whoever loads a TCD class gets it registered.
Both happen when the import in question is over, so that neither package ever sees the other half imported.
"""

import importlib
from typing import Any

import wrapt

__all__ = []

AUTO = "transformers.models.auto"
OWN = "tcd_hf.modeling.configuration_tcd", "tcd_hf.modeling.modeling_tcd", "tcd_hf.processing.processing_tcd"


@wrapt.when_imported(OWN[0])
def register_config(module: Any) -> None:
    from transformers import AutoConfig

    AutoConfig.register("tcd", module.TCDConfig)
    AutoConfig.register("two_tower", module.TwoTowerConfig)


@wrapt.when_imported(OWN[1])
def register_model(module: Any) -> None:
    from transformers import AutoModel

    from .modeling.two_tower import TwoTowerConfig, TwoTowerModel

    AutoModel.register(module.TCDConfig, module.TCDModel)
    AutoModel.register(TwoTowerConfig, TwoTowerModel)


@wrapt.when_imported(OWN[2])
def register_processor(module: Any) -> None:
    from transformers import AutoProcessor

    from .modeling.configuration_tcd import TCDConfig

    AutoProcessor.register(TCDConfig, module.TCDProcessor)


for auto_module, own_module in zip(("configuration_auto", "modeling_auto", "processing_auto"), OWN, strict=True):
    wrapt.register_post_import_hook(lambda _, name=own_module: importlib.import_module(name), f"{AUTO}.{auto_module}")
