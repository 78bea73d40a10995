"""Training by `accelerate launch`: the recipe, the batches, the large-batch gradient, the loop."""

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batching": ["PairCollator"],
        "loop": ["train"],
        "recipe": ["TrainingRecipe"],
    },
)

if TYPE_CHECKING:  # type checkers see no names that are imported when first used
    from .batching import PairCollator as PairCollator
    from .loop import train as train
    from .recipe import TrainingRecipe as TrainingRecipe
