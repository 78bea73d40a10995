"""What the rows of a large table are found by, made by a process of its own: whoever adds videos does not wait for it,
and searches go on without it, which takes longer."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tcd_hf.index.writers import StoppedWaiting, one_at_a_time

if TYPE_CHECKING:
    from tcd_hf.index.storage import IndexStorage

__all__ = ["FAILURE_FILE", "index_in_background", "main"]

FAILURE_FILE = ".indexing.failed"  # why the last such process failed, in the folder of the index
BACKGROUND_NICENESS = 5  # searches come first


def index_in_background(storage: "IndexStorage", columns: Sequence[str]) -> threading.Thread:
    """Starts a process that makes the indices of columns. It goes on when this one ends; killed, it leaves what was.

    Args:
        storage ([`IndexStorage`]): the index, opened.
        columns (`Sequence[str]`): of its table, see `IndexStorage.index_beside_others`.

    Returns:
        `threading.Thread`: ends with that process.
    """
    if storage.folder is not None and (failure := storage.folder / FAILURE_FILE).exists():
        storage.tell(f"Indexing {storage.uri} failed when it was tried last: {failure.read_text(errors='replace')}")
    storage.tell(
        f"{storage.videos.count_rows():,} segments of {storage.uri} are being indexed in the background, which takes "
        "minutes. They can be searched and added to meanwhile; the latest ones are looked through one by one."
    )
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, storage.uri, *columns],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process
    )
    watching = threading.Thread(target=process.wait, name="indexing", daemon=True)
    watching.start()
    return watching


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the indices of columns of an index, unless another process is at it: `URI COLUMN...`."""
    from tcd_hf.index.storage import IndexStorage

    uri, *columns = sys.argv[1:] if arguments is None else arguments
    storage = IndexStorage(uri)
    storage.open()
    if storage.folder is None:
        _index(storage, columns)
        return 0
    not_to_wait = threading.Event()
    not_to_wait.set()
    with suppress(StoppedWaiting), one_at_a_time(storage.folder, uri, "indexer", stop=not_to_wait):
        failure = storage.folder / FAILURE_FILE
        try:
            _index(storage, columns)
        except Exception as error:
            failure.write_text(f"{type(error).__name__}: {error}")
            raise
        failure.unlink(missing_ok=True)
    return 0


def _index(storage: "IndexStorage", columns: Sequence[str]) -> None:
    for column in columns:
        storage.update_version()
        storage.index_beside_others(column)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(BACKGROUND_NICENESS)
    raise SystemExit(main())
