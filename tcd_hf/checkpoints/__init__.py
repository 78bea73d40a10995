"""The checkpoint inside the package."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..loading import LoadOptions
    from ..modeling.modeling_tcd import TCDModel
    from ..processing.processing_tcd import TCDProcessor

__all__ = ["MINI", "load_mini"]

MINI = Path(__file__).resolve().parent / "tcd-mini"


def load_mini(**options: "Unpack[LoadOptions]") -> "tuple[TCDModel, TCDProcessor]":
    """
    Loads the small checkpoint that comes with the package; no network is needed.

    Args:
        options: those of [`tcd_hf.load`], which this is the shortest call of.

    Returns:
        `tuple[TCDModel, TCDProcessor]`: the model, in evaluation mode and float32 unless told otherwise, and its
        processor.
    """
    from ..loading import load

    return load(MINI.name, **options)
