"""Training by `accelerate launch`: the recipe, the batches, the large-batch gradient, the loop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batching": ["PairCollator"],
        "loop": ["train"],
        "recipe": ["TrainingRecipe"],
    },
)
