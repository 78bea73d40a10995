"""Numbers near the least that a float32 can be, below 1e-38, taken for 0 (ours).

The text detector that rapidocr ships has 256,000 weights as small, a tenth of all. They change nothing, but Intel's
processors take each of them through a slow path: a look takes three times as long as without.
"""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["denormals_are_zero", "flushing_session"]


@contextlib.contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Within, such numbers are 0 in what this thread computes, where its processor can do that; other threads, and this
    one afterwards, compute as before."""
    torch = importlib.import_module("torch")
    before = not float(torch.full((), 1e-40) * 1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushing_session(session: Any, file: Path) -> Any:
    """A session of onnxruntime as another one, but for its own threads, in which such numbers are 0, too.

    Args:
        session (`onnxruntime.InferenceSession`): its options and providers are taken over.
        file (`Path`): the model that it runs.
    """
    options = session.get_session_options()
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    with denormals_are_zero():  # the first such session of a process has them be 0 in the thread that makes it
        return type(session)(str(file), options, providers=session.get_providers())
