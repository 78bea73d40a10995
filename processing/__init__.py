"""From video files to model inputs: what travels to the Hub with a checkpoint."""

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
