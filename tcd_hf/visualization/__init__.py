"""Pictures for people: what a search found, how a model read a clip, how a training went."""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:  # type checkers see no names that are imported when first used
    from .calibration import plot_calibration_cycle as plot_calibration_cycle
    from .html_report import write_html_report as write_html_report
    from .training import plot_training as plot_training
    from .windows import plot_window_similarity as plot_window_similarity
