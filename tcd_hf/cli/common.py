"""What the verbs share: consoles, error handling, options, loading the model."""

import functools
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.markup import escape
from typer.core import TyperCommand

from tcd_hf.cli.panics import without_panics
from tcd_hf.cli.quick_start import quick_start
from tcd_hf.cli.terminal import LineFormatter, echo, escape_json, shown, stderr, stdout
from tcd_hf.cli.wording import in_own_words, options_of
from tcd_hf.clock import clock
from tcd_hf.printable import printable
from tcd_hf.reading.left_out import LeftOut, describe_left_out
from tcd_hf.reading.object_stores import is_address

if TYPE_CHECKING:
    from tcd_hf import TCDModel, TCDProcessor, VideoIndex
    from tcd_hf.cli.reading import Reading
    from tcd_hf.index.joint_index import JointIndex
    from tcd_hf.index.progress import Progress
    from tcd_hf.reading.video_reader import SkippedVideo

__all__ = [
    "INTERRUPTED",
    "CacheDirOption",
    "DeviceOption",
    "IndexesOption",
    "JsonOption",
    "LoadedModelOption",
    "ModelOption",
    "OcrEngineOption",
    "RevisionOption",
    "SeveralValues",
    "check_output_folder",
    "fail",
    "load",
    "named_model",
    "one_or_several",
    "open_index",
    "open_indexes",
    "print_json",
    "print_left_out",
    "print_skipped",
    "quieten_bars",
    "reading_bar",
    "reports_errors",
    "segment_seconds_option",
    "show_tracebacks",
    "split_paths",
    "stderr",
    "stdout",
]


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ModelOption = Annotated[
    str | None, typer.Option(help="Model folder or Hub id; by default that of the index, else the package's small one.")
]
LoadedModelOption = Annotated[
    str | None, typer.Option("--model", help="Model folder or Hub id; by default the package's small one.")
]
RevisionOption = Annotated[
    str | None, typer.Option(metavar="COMMIT", help="Of a --model on the Hub: its commit, tag or branch.")
]
OcrEngineOption = Annotated[
    str | None,
    typer.Option(help=r"OCR engine: rapidocr (offline) or doctr (pip install 'tcd-hf\[doctr]')."),
]

IndexesOption = Annotated[
    list[str],
    typer.Option("--index", metavar="DIR", help="An index that `tcd-hf index` made; several count as one."),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="Where the model runs: cpu, cuda, cuda:1, mps; the GPU where there is one.")
]
# Places that may be addresses in object stores (s3://...) are `str`: of two slashes `Path` would make one.
CacheDirOption = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Cache of what was read; else $TCD_HF_CACHE or the user's cache folder."),
]

_DEBUG = {"on": False}
INTERRUPTED = 130  # what shells take for a command that Ctrl-C ended: 128 + SIGINT


class SeveralValues(TyperCommand):
    """Lets some options, `several`, take more than one value: `--splits train test`, `--videos clips/*.mp4`.

    After the first value come others up to the next option, or as long as `goes_on` says so.
    """

    several: ClassVar[tuple[str, ...]] = ()

    def goes_on(self, value: str) -> bool:
        """Whether a word after a value is one more value."""
        return True

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        expanded: list[str] = []
        option, first = None, False  # the option whose values are at hand, and whether the first is still to come
        for position, arg in enumerate(args):
            if arg == "--":
                expanded += args[position:]
                break
            if arg.startswith("-") and len(arg) > 1:
                option, first = (arg if arg in self.several else None), True
            elif option and not first:
                if self.goes_on(arg):
                    expanded.append(option)
                else:
                    option = None
            else:
                first = False
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


def segment_seconds_option(help_text: str) -> Any:
    """The option `--segment-seconds`, without a default."""
    return typer.Option(metavar="SECONDS", callback=_check_segment_seconds, help=help_text)


def _check_segment_seconds(value: float | None) -> float | None:
    from tcd_hf.reading.segments import check_segment_seconds

    try:
        return None if value is None else check_segment_seconds(value)
    except ValueError as error:
        message = in_own_words(str(error), {"segment_seconds": "--segment-seconds"})
        raise typer.BadParameter(message) from error


def fail(message: object) -> typer.Exit:
    """Prints an error and returns the exit with status 1 to raise."""
    stderr.print(f"[bold red]error:[/] {escape(str(message))}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def show_tracebacks(on: bool) -> None:
    """Whether [`reports_errors`] lets errors through, with their traceback."""
    _DEBUG["on"] = on


def reports_errors(command: Callable) -> Callable:
    """A command whose errors end in a line and status 1, no traceback.

    These are errors of use (files, settings, missing packages), and whatever else a library raises; `tcd-hf --debug`
    shows them with their traceback.

    Their messages name options, where the library's name arguments.

    So does Ctrl-C, with the status that shells know it by. Warnings are one line each, without file and code.
    Characters that stdout cannot take are escaped, and so are control characters, whatever they come from.
    """
    options = options_of(command)

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _DEBUG["on"]:
            return run(*args, **kwargs)
        with without_panics():
            return run(*args, **kwargs)

    def run(*args: Any, **kwargs: Any) -> Any:
        handler = logging.StreamHandler()  # on stderr
        handler.setFormatter(LineFormatter("%(levelname)s: %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):  # RuntimeErrors themselves
            raise
        except typer.BadParameter as error:
            error.message = printable(error.message)
            raise
        except KeyboardInterrupt as interrupt:
            stderr.print("Interrupted.")
            raise typer.Exit(INTERRUPTED) from interrupt
        except Exception as error:
            if _DEBUG["on"]:
                raise
            expected = isinstance(error, (OSError, ValueError, RuntimeError, ImportError)) and str(error)
            told = in_own_words(" ".join(str(error).splitlines()), options) if expected else _unexpected(error)
            raise fail(told) from error

    return wrapper


def _unexpected(error: Exception) -> str:
    described = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{described} (unexpected: `tcd-hf --debug ...` shows where it comes from)"


def print_json(data: Any) -> None:
    """Prints JSON as UTF-8, whatever the locale, never wrapped or coloured."""
    import json

    # a file name that is not UTF-8 holds lone surrogates, which JSON escapes exactly as `echo` does
    echo(escape_json(json.dumps(data, ensure_ascii=False, indent=2)), exact=True)


def _show_warning(message: Warning | str, *details: Any, **named_details: Any) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):  # above a bar that is being shown
        stderr.print(f"[yellow]warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True)


def print_skipped(skipped: "Sequence[SkippedVideo]") -> None:
    """Names the videos that could not be read, and why, on stderr."""
    for video in skipped:
        stderr.print(f"[yellow]skipped:[/] {escape(video.cause)}", highlight=False, soft_wrap=True)


def print_left_out(left_out: "Sequence[LeftOut]", where: str = "") -> None:
    """Counts on stderr what a search for videos passed over; `where` says how to have it listed."""
    if left_out:
        stderr.print(f"{shown(describe_left_out(left_out))}{where}.", soft_wrap=True, highlight=False)


def quieten_bars() -> None:
    """Hides the bars of transformers, for what takes a moment, and those of datasets where there is no terminal."""
    from datasets import disable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()
    if not stderr.is_terminal:
        disable_progress_bars()


@contextmanager
def reading_bar(
    description: str, paths: Sequence[str], kept: Callable[[], str] | None = None, hidden: bool = False
) -> "Iterator[Progress]":
    """A bar on stderr that shows a [`Progress`] and leaves nothing behind; nothing where there is no terminal.

    Ctrl-C ends the command: a line on stderr says how much is kept, and that the same command goes on from there.

    Args:
        description (`str`): what is done.
        paths (`Sequence[str]`): videos to be read.
        kept (`Callable[[], str]`, *optional*): says which videos are ready, such as `"3 videos in my.index"`.
        hidden (`bool`, *optional*, defaults to `False`): show no bar.
    """
    from tcd_hf.index.progress import progress_bar

    with progress_bar(description, paths, leave=False, hidden=hidden) as progress:
        try:
            yield progress
            return
        except KeyboardInterrupt as error:
            interrupt = error
    _print_kept(progress, "" if kept is None else kept())
    raise typer.Exit(INTERRUPTED) from interrupt


def _print_kept(progress: "Progress", videos: str) -> None:
    kept = [videos] if videos else []
    if progress.seconds_begun:
        whose = "unfinished ones" if videos else "video"
        kept.append(f"the text of {clock(progress.seconds_begun)} of {whose} in the cache")
    said = f" Kept: {', and '.join(kept)}." if kept else ""
    stderr.print(f"Interrupted.{escape(said)}", highlight=False, soft_wrap=True)
    stderr.print("The same command goes on from there.", highlight=False, soft_wrap=True)


def check_output_folder(folder: Path | None, option: str) -> None:
    """Refuses, before long work, a folder to write to that is a file."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is a file: name a folder to write to.", param_hint=option)


def split_paths(paths: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that paths have in common, and what is left of each; `""` and the paths where they have none."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # none, relative and absolute ones, or several drives
        return "", list(paths)
    if is_address(paths[0]):  # all of them: of two slashes one is left
        if folder.endswith(":"):  # several buckets
            return "", list(paths)
        folder = folder.replace(":/", "://", 1)
        return folder, [path[len(folder) :].lstrip("/") for path in paths]
    return folder, [os.path.relpath(path, folder) if folder else path for path in paths]


def named_model(model: str | None, revision: str | None) -> str | None:
    """What `--model` and `--revision` name together."""
    if revision is None:
        return model
    if model is None:
        raise typer.BadParameter("It is of a model on the Hub: give --model too.", param_hint="--revision")
    from tcd_hf.hub import pinned

    return pinned(model, revision)


@quick_start()
def load(
    model: str | None = None, reading: "Reading | None" = None, device: str | None = None
) -> "tuple[TCDModel, TCDProcessor]":
    """A model and its processor by [`tcd_hf.load`].

    Args:
        model (`str`, *optional*): what was said of it; the package's own when not given.
        reading ([`Reading`], *optional*): how to read, in place of the processor's own ways.
        device (`str`, *optional*): what was said of it; the GPU where there is one.

    Raises:
        ValueError: when there is nothing that can be loaded, or no such device.
    """
    from tcd_hf import loading
    from tcd_hf.checkpoints import MINI

    loaded, processor = loading.load(model or MINI.name, device=device or "auto")
    if reading is not None:
        reading.apply(processor)
    return loaded, processor


@quick_start()
def open_index(
    uri: str,
    model: str | None,
    reading: "Reading",
    cache_dir: str | None,
    create: bool = False,
    device: str | None = None,
    segment_seconds: float | None = None,
    **options: Any,
) -> "VideoIndex":
    """An index with its model, for searching and adding.

    Args:
        uri (`str`): folder or URI of the index.
        model, device (`str`, *optional*): see [`load`]; by default the model that made the index.
        reading ([`Reading`]): what the user says of reading; of the rest, text is read as in the index.
        cache_dir (`str`, *optional*): of the caption cache.
        create (`bool`, *optional*, defaults to `False`): make an empty index where there is none.
        segment_seconds (`float`, *optional*): of the index that is made; one that is there must have been made with it.
        options: further ones of [`VideoIndex.open`].

    Raises:
        ValueError: no index, one of another model or `segment_seconds`, or one whose model cannot be loaded.
    """
    from tcd_hf import VideoIndex
    from tcd_hf.index.storage import IndexStorage

    options["cache_dir"] = cache_dir
    if create and not IndexStorage(uri).exists():
        makers = load(model, reading, device)
        return VideoIndex.create(uri, *makers, exist_ok=True, segment_seconds=segment_seconds, **options)
    index = VideoIndex.open(uri, model, device=device or "auto", **options)
    index.metadata.check_segment_seconds(index.uri, segment_seconds)
    reading.apply(index.processor)
    return index


def one_or_several(uris: Sequence[str]) -> str | Sequence[str]:
    """What [`VideoIndex.open`] takes for the places that were named, and JSON tells of them."""
    return uris[0] if len(uris) == 1 else uris


@quick_start()
def open_indexes(
    uris: Sequence[str], model: str | None, reading: "Reading", cache_dir: str | None, device: str | None = None
) -> "VideoIndex | JointIndex":
    """One index with its model, or several as one, for searching; arguments and errors are those of [`open_index`]."""
    if len(uris) == 1:
        return open_index(uris[0], model, reading, cache_dir, device=device)
    from tcd_hf import VideoIndex

    index = VideoIndex.open(uris, model, device=device or "auto", cache_dir=cache_dir)
    for part in index.parts:
        reading.apply(part.processor)
    return index
