"""Starting a command without looking for garbage."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quick_start"]


@contextmanager
def quick_start() -> Iterator[None]:
    """The part of a command in which it imports and loads; as a decorator, a function that does so.

    The imports of a search make half a million objects, which all stay. To look through them for garbage, over and over
    while they are made and once more when Python ends, takes about a fifth of the time of the command. So that
    is not done meanwhile, and what is there at the end is left out from then on.
    """
    enabled, num_modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > num_modules:  # else there may be more garbage than what stays, as in tests
            gc.freeze()
        if enabled:
            gc.enable()
