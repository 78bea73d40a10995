"""The model: what travels to the Hub with a checkpoint."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "configuration_tcd": ["TCDConfig"],
        "modeling_tcd": ["TCDModel", "TCDOutput", "TCDPreTrainedModel", "TCDVideoFeatures"],
        "outputs": ["TCDScores"],
    },
)
