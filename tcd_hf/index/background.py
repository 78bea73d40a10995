"""What the rows of a large table are found by, made by a process of its own: whoever adds videos does not wait for it,
and searches go on without it, which takes longer."""

import os
import subprocess  # nosec B404 # this Python alone is run
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tcd_hf.index.writers import StoppedWaiting

if TYPE_CHECKING:
    from tcd_hf.index.storage import IndexStorage

__all__ = ["FAILURE_FILE", "index_in_background", "main"]

FAILURE_FILE = ".indexing.failed"  # why the last such process failed, in the folder of the index
BACKGROUND_NICENESS = 5  # searches come first


def index_in_background(storage: "IndexStorage", columns: Sequence[str]) -> threading.Thread:
    """Starts a process that makes the indices of columns. It goes on when this one ends; killed, it leaves what was.

    Args:
        storage ([`IndexStorage`]): the index, opened, in a folder.
        columns (`Sequence[str]`): of its table, see `IndexStorage.index_beside_others`.

    Returns:
        `threading.Thread`: ends with that process.
    """
    failure = _failure_file(storage)
    if failure.exists() and not _is_indexed_now(storage):
        storage.tell(f"Indexing {storage.uri} failed when it was tried last: {failure.read_text(errors='replace')}")
    storage.tell(
        f"{storage.videos.count_rows():,} segments of {storage.uri} are being indexed in the background, which takes "
        "minutes. They can be searched and added to meanwhile; the latest ones are looked through one by one."
    )
    process = subprocess.Popen(  # nosec B603 # no shell
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
    with suppress(StoppedWaiting), storage.indexing(stop=_not_to_wait()):
        failure = _failure_file(storage)
        failure.write_text("its process was ended")  # this stays, if it is
        try:
            storage.open()
            for column in columns:
                storage.update_version()
                storage.index_beside_others(column)
        except BaseException as error:  # LanceDB's panics, too
            failure.write_text(f"{type(error).__name__}: {error}")
            raise
        failure.unlink(missing_ok=True)
    return 0


def _failure_file(storage: "IndexStorage") -> Path:
    if storage.folder is None:
        raise ValueError(f"{storage.uri} is on an object store, where nothing is indexed in the background.")
    return storage.folder / FAILURE_FILE


def _is_indexed_now(storage: "IndexStorage") -> bool:
    try:
        with storage.indexing(on_wait=lambda message: None, stop=_not_to_wait()):
            return False
    except StoppedWaiting:
        return True


def _not_to_wait() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(BACKGROUND_NICENESS)
    raise SystemExit(main())
