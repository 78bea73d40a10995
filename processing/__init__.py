"""From video files to model inputs: what travels to the Hub with a checkpoint."""

from typing import TYPE_CHECKING

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ocr_engines": ["OCREngine", "OCREngineError", "TextReading", "get_engine"],
        "processing_tcd": ["TCDProcessor"],
        "video_reading": ["Video", "VideoReadError", "open_video"],
        "window_ocr": ["TextTrack", "WindowCaption", "WindowOCRCaptioner", "draw_captions"],
    },
)

if TYPE_CHECKING:  # type checkers see no names that are imported when first used
    from .ocr_engines import OCREngine as OCREngine
    from .ocr_engines import OCREngineError as OCREngineError
    from .ocr_engines import TextReading as TextReading
    from .ocr_engines import get_engine as get_engine
    from .processing_tcd import TCDProcessor as TCDProcessor
    from .video_reading import Video as Video
    from .video_reading import VideoReadError as VideoReadError
    from .video_reading import open_video as open_video
    from .window_ocr import TextTrack as TextTrack
    from .window_ocr import WindowCaption as WindowCaption
    from .window_ocr import WindowOCRCaptioner as WindowOCRCaptioner
    from .window_ocr import draw_captions as draw_captions
