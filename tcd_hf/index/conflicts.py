"""Writers of an object store, which has no lock: whoever comes second with a commit writes again, on top of the first.

A commit of LanceDB there is a file of a new name, the number of the version, which the store takes only if there is
none of that name: so of two that commit the same version, one is told. Rows that are merged or deleted LanceDB then
merges or deletes once more itself. What it leaves to its caller, as indices and merged fragments, is in this module.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["is_conflict", "write_again"]

# As LanceDB tells them: of a commit that another came before, of rows that others wrote to again and again, and of a
# table and a key that another has just made.
CONFLICTS = (
    "commit conflict",
    "Incompatible transaction",
    "Too many concurrent writers",
    "already exists",
    "primary key is already set",
)
TRIES = 8
FIRST_WAIT_SECONDS = 0.05  # doubled each time, and by chance up to so long: others wait likewise

Result = TypeVar("Result")


def is_conflict(error: BaseException) -> bool:
    """Whether an error says that another has committed meanwhile."""
    return any(words in str(error) for words in CONFLICTS)


def write_again(write: Callable[[], Result], look_again: Callable[[], object]) -> Result:
    """Writes, as often as another comes in between.

    Args:
        write (`Callable[[], Any]`): writes and commits; what it gives is given back.
        look_again (`Callable[[], Any]`): goes on to the version that was committed last, before it is written again.

    Raises:
        Exception: what `write` raises that is no conflict; the last conflict, after `TRIES`.
    """
    for attempt in range(TRIES - 1):
        try:
            return write()
        except Exception as error:
            if not is_conflict(error):
                raise
        time.sleep(random.uniform(0, FIRST_WAIT_SECONDS * 2**attempt))  # nosec B311 # no secret
        look_again()
    return write()
