"""Pictures for people: what a search found, how a model read a clip, how a training went."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["plot_calibration_cycle"],
        "html_report": ["write_html_report"],
        "training": ["plot_training"],
        "windows": ["plot_window_similarity"],
    },
)
