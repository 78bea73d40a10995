"""Find the video a sentence describes, reading the text that appears in the video."""

from pathlib import Path as _Path

import lazy_loader

_here = _Path(__file__).resolve().parent
if not (_here / "modeling").is_dir() and (_here.parent / "modeling" / "configuration_tcd.py").is_file():
    __path__.append(str(_here.parent))  # source checkout: modeling/ and processing/ lie beside tcd_hf/

from . import auto as _auto  # noqa: E402, F401  makes AutoConfig, AutoModel and AutoProcessor know "tcd"
from .version import __version__  # noqa: E402

# Names are imported when first used: nobody waits for torch to read a caption.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "modeling.configuration_tcd": ["TCDConfig"],
        "modeling.modeling_tcd": ["TCDModel"],
        "processing.processing_tcd": ["TCDProcessor"],
        "processing.video_reading": ["VideoReadError"],
        "processing.window_ocr": ["WindowOCRCaptioner"],
        "index.hits": ["Hit"],
        "index.ingest": ["AddReport"],
        "index.schema": ["IndexMismatchError"],
        "index.video_index": ["VideoIndex"],
        "loading": ["load"],
        "checkpoints": ["load_mini"],
        "evaluation.metrics": ["compute_retrieval_metrics"],
        "evaluation.moment_metrics": ["compute_moment_metrics"],
    },
)
__all__ = [*__all__, "__version__"]
