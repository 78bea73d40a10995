"""What goes to the terminal: names of files and texts of videos are whatever somebody made them."""

import logging
import sys
from collections.abc import Iterable

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from tcd_hf.printable import UNPRINTABLE, one_line, printable

__all__ = ["LineFormatter", "echo", "escape_json", "shown", "stderr", "stdout"]


def shown(name: object) -> str:
    """What [`one_line`] gives, for a place that reads rich's markup."""
    return escape(one_line(name))


def escape_json(text: str) -> str:
    """JSON that says the same, in which control characters and marks of direction are escaped."""
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def echo(text: str = "", exact: bool = False, nl: bool = True) -> None:
    """Prints a text as UTF-8, whatever the locale; a byte of a file name that is not UTF-8 as `\\udcXX`.

    Args:
        text (`str`): what is printed, as [`printable`] gives it.
        exact (`bool`, *optional*, defaults to `False`): as it is where stdout is no terminal: the content of a file.
        nl (`bool`, *optional*, defaults to `True`): end the line.
    """
    if not exact or sys.stdout.isatty():
        text = printable(text)
    typer.echo(text.encode("utf-8", "backslashreplace"), nl=nl)


class _Console(Console):
    """A console that prints no control character but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class LineFormatter(logging.Formatter):
    """Formats what libraries log, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


stdout = _Console()
stderr = _Console(stderr=True)
