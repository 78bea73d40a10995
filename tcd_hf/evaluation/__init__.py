"""Metrics of retrieval and of moments, and models measured by them."""

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["evaluate_checkpoint"],
    },
)

if TYPE_CHECKING:  # type checkers see no names that are imported when first used
    from .checkpoint import evaluate_checkpoint as evaluate_checkpoint
