"""Find the video a sentence describes, reading the text that appears in the video."""

from pathlib import Path as _Path
from typing import TYPE_CHECKING

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
        "index.schema": ["IndexDamagedError", "IndexMismatchError"],
        "index.video_index": ["VideoIndex"],
        "loading": ["load"],
        "checkpoints": ["load_mini"],
        "evaluation.metrics": ["compute_retrieval_metrics"],
        "evaluation.moment_metrics": ["compute_moment_metrics"],
    },
)
__all__ += ["__version__"]

if TYPE_CHECKING:  # type checkers see no names that are imported when first used
    from .checkpoints import load_mini as load_mini
    from .evaluation.metrics import compute_retrieval_metrics as compute_retrieval_metrics
    from .evaluation.moment_metrics import compute_moment_metrics as compute_moment_metrics
    from .index.hits import Hit as Hit
    from .index.ingest import AddReport as AddReport
    from .index.schema import IndexDamagedError as IndexDamagedError
    from .index.schema import IndexMismatchError as IndexMismatchError
    from .index.video_index import VideoIndex as VideoIndex
    from .loading import load as load
    from .modeling.configuration_tcd import TCDConfig as TCDConfig
    from .modeling.modeling_tcd import TCDModel as TCDModel
    from .processing.processing_tcd import TCDProcessor as TCDProcessor
    from .processing.video_reading import VideoReadError as VideoReadError
    from .processing.window_ocr import WindowOCRCaptioner as WindowOCRCaptioner
