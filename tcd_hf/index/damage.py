"""What is said when the files of an index fail: who holds them is told in our words, and what to do."""

import errno
import functools
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pyarrow as pa

from tcd_hf.index.conflicts import is_conflict
from tcd_hf.index.schema import IndexDamagedError, IndexMismatchError
from tcd_hf.reading.files import local_folder

if TYPE_CHECKING:
    from tcd_hf.index.storage import IndexStorage

__all__ = [
    "Damage",
    "RowsDamagedError",
    "advice",
    "damaged_rows_error",
    "gone_error",
    "in_our_words",
    "is_of_lancedb",
    "may_be_damage",
    "reporting",
]

MAX_NAMED = 3  # videos that a message names
MAX_TOLD = 300  # characters of what LanceDB says
# What the system says when nothing is damaged, but something must be done before files can be read or written again.
NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
OUT_OF_HANDLES = {errno.EMFILE, errno.ENFILE}
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", errno.EOPNOTSUPP)}
UNREACHABLE = WITHOUT_LOCKS | {
    getattr(errno, name)
    for name in (
        *("EIO", "ENXIO", "ENODEV", "ESTALE", "EREMOTEIO", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENETDOWN", "ENETUNREACH", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED"),
    )
    if hasattr(errno, name)  # not every system has all
}
# How LanceDB tells that an object store does not answer, or forbids it.
OF_A_STORE = re.compile(
    "Generic (?:S3|GCS|MicrosoftAzure|HTTP) error|Generic { store: |error sending request"
    "|lacked the necessary privileges|lacked valid authentication|status(?: code)?:? [45][0-9][0-9]"
)
# What of it there is to tell; of the rest, a page of Rust, nothing.
STORE_SAYS = {
    "there is no such bucket": "NoSuchBucket",
    "the environment holds no credentials for it": "CredentialsNotLoaded|no providers in chain",
    "it denies access": "AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|status: 40[13]|lacked ",
    "plain HTTP is only spoken where AWS_ALLOW_HTTP=true": "BadScheme",
    "it did not answer in time": "[Tt]imed ?[Oo]ut|kind: Timeout",
    "nobody answers there": "kind: Connect|ConnectError|Connection refused|dns error",
    "the connection broke off": "kind: |IncompleteMessage|error (?:sending|decoding)|body error|[Cc]onnection ",
    "it says that it is in trouble, or too busy (HTTP 5xx)": "status: 5[0-9][0-9]",
}

Method = TypeVar("Method", bound=Callable[..., Any])


class RowsDamagedError(Exception):
    """Rows are not what was written; for those who know which index they are of.

    Args:
        paths (`Sequence[str]`, *optional*): of the videos whose rows they are, if that is known.
    """

    def __init__(self, paths: Sequence[str] = ()):
        super().__init__(paths)
        self.paths = paths


class Damage(NamedTuple):
    """A part of an index that is not what was written.

    Attributes:
        part (`str`): `"rows"`, `"table"`, `"full-text index"`, `"vector index"`, `"statistics"`, `"errors.jsonl"` or
            `"videos.jsonl"`.
        detail (`str`): a sentence: what is wrong.
        paths (`tuple[str, ...]`): of the videos whose rows are damaged, as far as they are known.
    """

    part: str
    detail: str
    paths: tuple[str, ...] = ()


def may_be_damage(error: BaseException) -> bool:
    """Whether an error may be one of damaged files: and neither of what was asked, of the program, nor of a disk or
    network that is out of reach, whose files may be whole."""
    others = NO_SPACE | FORBIDDEN | OUT_OF_HANDLES | UNREACHABLE
    return _of_files(error) and not _of_filter(error) and not _out_of_reach(error) and _number_of(error) not in others


def _of_files(error: BaseException) -> bool:
    """Whether an error may be one of files, and none of the program."""
    kinds = OSError | RuntimeError | ValueError | IndexError | pa.ArrowException | zlib.error
    return isinstance(error, kinds) or is_of_lancedb(error)


def is_of_lancedb(error: BaseException) -> bool:
    """Whether LanceDB raised an error, in its own words."""
    return type(error).__name__ in ("RustPanic", "PanicException") or "lance" in str(error)


def _of_filter(error: BaseException) -> bool:
    """Whether LanceDB refuses what it was asked, whatever the files are."""
    return any(words in str(error) for words in ("Invalid user input", "filter expression"))


def _out_of_reach(error: BaseException) -> bool:
    """Whether a disk or network does not answer, so that nothing is known of the files."""
    told = isinstance(error, TimeoutError | ConnectionError) or bool(OF_A_STORE.search(str(error)))
    return told or _is_without_locks(error) or _number_of(error) in UNREACHABLE


def _is_without_locks(error: BaseException) -> bool:
    # The second is what filelock raises; that of Arrow is of a column of another type.
    own = isinstance(error, NotImplementedError) and not isinstance(error, pa.ArrowException)
    return own or _number_of(error) in WITHOUT_LOCKS


def in_our_words(part: str) -> Callable[[Method], Method]:
    """Has a method of [`IndexStorage`] say what is wrong with the files of the index, instead of what LanceDB says.

    Args:
        part (`str`): of the index, that the method reads or writes.
    """

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def wrapper(self: "IndexStorage", *args: Any, **options: Any) -> Any:
            with reporting(self, part):
                return method(self, *args, **options)

        return cast(Method, wrapper)

    return decorate


@contextmanager
def reporting(storage: "IndexStorage", part: str) -> Iterator[None]:
    """Turns what is raised by reading or writing a part of an index into an error in our words."""
    try:
        yield
    except (IndexMismatchError, IndexDamagedError):
        raise
    except Exception as error:
        if not _of_files(error):
            raise
        told = explained(error, storage, part)
        if told is error:
            raise
        raise told from error


@contextmanager
def reading_rows() -> Iterator[None]:
    """Turns what is raised by reading and decoding rows into a [`RowsDamagedError`], whose cause it is; whether it is
    damage is for those to find out who know which index it is."""
    try:
        yield
    except (RowsDamagedError, IndexMismatchError, IndexDamagedError):
        raise
    except Exception as error:
        if not _of_files(error):
            raise
        raise RowsDamagedError from error


def explained(error: Exception, storage: "IndexStorage", part: str) -> Exception:
    """An error of reading or writing a part of an index in our words; itself, if it is in these already."""
    if str(error).startswith(f"The index {storage.uri} "):
        return error
    if _of_filter(error):
        where = re.search(r"filter expression ([^\n]*?): Invalid user input", str(error))
        return ValueError(
            f"where={where[1] if where else '...'} cannot be used as a filter: LanceDB refuses to compare what is "
            "compared there. Compare a column with a value of its own type."
        )
    number = _number_of(error)
    if number in NO_SPACE:
        return OSError(
            f"The index {storage.uri} cannot be written: {os.strerror(number)}. What was committed before is kept: "
            "make room, and run the same again."
        )
    if number in FORBIDDEN:
        return PermissionError(
            f"The index {storage.uri} may not be written or read: {os.strerror(number)}. Searching needs the right to "
            "read its files, adding the right to write them."
        )
    if number in OUT_OF_HANDLES:
        return OSError(f"The index {storage.uri} cannot be read: {os.strerror(number)} (see `ulimit -n`).")
    if storage.folder is not None and not storage.exists():
        return gone_error(storage.uri)
    if is_conflict(error):
        return OSError(
            f"The index {storage.uri} cannot be written: others write to it again and again. What was committed before "
            "is kept: run the same again."
        )
    told = os.strerror(number) if number else _told_by_store(error)
    if _out_of_reach(error):
        if part == "lock" and _is_without_locks(error):
            return OSError(
                f"The index {storage.uri} cannot be written: its file system has no locks, by which writers take "
                "turns. It can be searched there; to write to it, put it on another file system."
            )
        return OSError(
            f"The index {storage.uri} cannot be reached: {told}. See to the disk, the network or the credentials, and "
            "run the same again."
        )
    if storage.folder is None:
        return OSError(
            f"The index {storage.uri} cannot be read: {told}. See to the network and the credentials; if nothing is "
            f"wrong with them, it is damaged: its {part} cannot be read. {advice(storage.uri)}"
        )
    return IndexDamagedError(f"The index {storage.uri} is damaged: its {part} cannot be read. {advice(storage.uri)}")


def _told_by_store(error: Exception) -> str:
    """What an error says of an object store, in a few words; its first line, if it is of none."""
    if OF_A_STORE.search(str(error)):
        for words, said in STORE_SAYS.items():
            if re.search(said, str(error)):
                return words
    return (str(error).splitlines() or [type(error).__name__])[0][:MAX_TOLD].rstrip(".")


def _number_of(error: BaseException | None) -> int:
    """The number of the system's error, which LanceDB tells in its text; 0 if there is none."""
    while error is not None:
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = getattr(error, "errno", None) or (told and int(told[1]))
        if number:
            return int(number)
        error = error.__cause__
    return 0


def gone_error(uri: str) -> IndexMismatchError:
    """What to say of an index that was there a moment ago."""
    return IndexMismatchError(
        f"There is no index at {uri} any more: it was moved or removed. Put it back, or make it anew: text that was "
        "read in videos is taken from the cache."
    )


def damaged_rows_error(uri: str, paths: Sequence[str]) -> IndexDamagedError:
    """What to say of rows that are not what was written."""
    named = ", ".join(paths[:MAX_NAMED]) + (f" and {len(paths) - MAX_NAMED} others" if len(paths) > MAX_NAMED else "")
    rows = f"its rows of {named} are" if paths else "rows are"
    return IndexDamagedError(f"The index {uri} is damaged: {rows} not what was written. {advice(uri)}")


def advice(uri: str) -> str:
    """What to do with a damaged index."""
    if local_folder(uri) is None:
        return "On an object store nothing can be repaired: make it anew. Text that was read is taken from the cache."
    return (
        f"`tcd-hf index --index {uri} --check` (`VideoIndex.check`) tells what is damaged, --repair "
        "(`VideoIndex.repair`) mends it."
    )
