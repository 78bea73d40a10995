"""Files that are opened to be read: regular ones only, as named pipes are waited for, and devices read, for ever."""

import contextlib
import errno
import os
import stat
from typing import BinaryIO

__all__ = ["NotRegularError", "open_regular"]

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """A named pipe, a socket, a device or a folder, or a link to one."""


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """A regular file, or a link to one, opened to be read as bytes.

    Raises:
        NotRegularError: it is none.
        OSError: there is none, or it cannot be opened.
        ValueError: the path has a null character.
    """
    _check(path, os.stat(path))  # before it is opened, which a device may feel
    with contextlib.ExitStack() as undo:
        file = undo.enter_context(open(path, "rb", opener=_open_at_once))
        _check(path, os.fstat(file.fileno()))  # another one may have taken its place
        undo.pop_all()
    return file


def _check(path: str | os.PathLike, status: os.stat_result):
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise NotRegularError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
