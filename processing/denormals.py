"""Numbers next to 0, below 1.2e-38, that count as 0 (ours).

The text detector that rapidocr ships has 256,000 weights as small, a tenth of all. They change nothing, but Intel's
processors take each of them through a slow path: a look takes three times as long as without.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["denormals_are_zero", "flush_in_threads"]


@contextlib.contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Within, such numbers are 0 in what this thread computes, where its processor can do that. Threads that are there
    already compute as before, as this one does afterwards; one that begins within inherits it."""
    torch = importlib.import_module("torch")
    before = not float(torch.full((), 1e-40, dtype=torch.float32, device="cpu") * 1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flush_in_threads(model: Any, file: Path) -> None:
    """Has such numbers be 0 in a model's own threads, too, if it has any, and onnxruntime runs it by the processor.

    Args:
        model (`rapidocr.inference_engine.base.InferSession`): of rapidocr, loaded; its session is replaced.
        file (`Path`): where it was loaded from.
    """
    onnxruntime: Any = sys.modules.get("onnxruntime")
    session: Any = getattr(model, "session", None)
    if onnxruntime is None or not isinstance(session, onnxruntime.InferenceSession):
        return
    options = session.get_session_options()
    if options.intra_op_num_threads == 1 or session.get_providers() != ["CPUExecutionProvider"]:
        return
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    with denormals_are_zero():  # the first such session of a process has them be 0 in the thread that makes it
        model.session = onnxruntime.InferenceSession(str(file), options, providers=session.get_providers())
