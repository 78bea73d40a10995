"""The checkpoint inside the package."""

from pathlib import Path

__all__ = ["MINI", "load_mini"]

MINI = Path(__file__).resolve().parent / "tcd-mini"


def load_mini():
    """
    Loads the small checkpoint that comes with the package; no network is needed.

    Returns:
        `tuple[TCDModel, TCDProcessor]`: the model, in evaluation mode and float32, and its processor.
    """
    import torch

    from ..modeling.modeling_tcd import TCDModel
    from ..processing.processing_tcd import TCDProcessor

    return TCDModel.from_pretrained(MINI, dtype=torch.float32), TCDProcessor.from_pretrained(MINI)
