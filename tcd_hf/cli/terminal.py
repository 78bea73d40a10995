"""What goes to the terminal: names of files and texts of videos are whatever somebody made them."""

import logging
import re
import sys
from collections.abc import Iterable

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

__all__ = ["LineFormatter", "echo", "escape_json", "one_line", "printable", "shown", "stderr", "stdout"]

# Control characters, of which a terminal takes some for orders, and marks that turn the direction of what follows.
# Tabs and line ends stay.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text in which control characters and marks of direction are spelt out, as `\\x1b` or `\\u202e`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(name: object) -> str:
    """A name, or a text of one line, with all that would break the line spelt out."""
    return printable(str(name)).replace("\n", "\\n").replace("\t", "\\t")


def shown(name: object) -> str:
    """What [`one_line`] gives, for a place that reads rich's markup."""
    return escape(one_line(name))


def escape_json(text: str) -> str:
    """JSON that says the same, in which control characters and marks of direction are escaped."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


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
