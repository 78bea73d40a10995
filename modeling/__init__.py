"""The model: what travels to the Hub with a checkpoint."""

from typing import TYPE_CHECKING

import lazy_loader
from transformers import AutoConfig as _AutoConfig  # noqa: F401  it asks for TCDConfig: not in the midst of a module

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "configuration_tcd": ["TCDConfig"],
        "modeling_tcd": ["TCDModel", "TCDOutput", "TCDPreTrainedModel", "TCDVideoFeatures"],
        "outputs": ["TCDScores"],
    },
)

if TYPE_CHECKING:  # type checkers see no names that are imported when first used
    from .configuration_tcd import TCDConfig as TCDConfig
    from .modeling_tcd import TCDModel as TCDModel
    from .modeling_tcd import TCDOutput as TCDOutput
    from .modeling_tcd import TCDPreTrainedModel as TCDPreTrainedModel
    from .modeling_tcd import TCDVideoFeatures as TCDVideoFeatures
    from .outputs import TCDScores as TCDScores
