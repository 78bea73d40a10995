"""Hits as a table on the terminal: first what a person looks for."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from tcd_hf.choices import WEAK_BELOW
from tcd_hf.cli.common import split_paths, stdout
from tcd_hf.cli.terminal import shown
from tcd_hf.clock import clock
from tcd_hf.printable import one_line

if TYPE_CHECKING:
    from tcd_hf.index.hits import Hit
    from tcd_hf.index.moments import Moment

__all__ = ["print_hits", "shorter_path"]

PATH_WIDTH = 30  # longer paths go on in the next line, after a folder
WEAK_NAMED = 3  # of the weak matches, whose names are told
PARTS = {
    "video": "text_video",
    "ocr": "text_ocr",
    "hybrid": "text_hybrid",
    "nearest": "text_window",
    "lexical": "lexical",
}


def print_hits(
    query: str, hits: "Sequence[Hit]", folder: str | os.PathLike = ".", with_scores: bool = False, nothing: str = ""
) -> None:
    """A query's hits as a ranked table, a line for each moment; wide enough is a terminal of 80 columns.

    Args:
        query (`str`): the title.
        hits (`Sequence[Hit]`): best first.
        folder (`str | os.PathLike`, *optional*, defaults to `"."`): from where paths are seen, where that is shorter.
            The folder that they have in common is said once, above.
        with_scores (`bool`, *optional*, defaults to `False`): also show the parts of the score.
        nothing (`str`, *optional*): what to say instead of a table without hits.
    """
    if not hits:
        stdout.print(f"[bold]{shown(query)}[/]\n{escape(nothing or 'Nothing was found.')}", soft_wrap=True)
        return
    common, names = split_paths([shorter_path(hit.path, folder) for hit in hits])
    title = f"{shown(query)}\n[not bold]in {shown(common)}[/]" if common else shown(query)
    ranked = list(zip(range(1, len(hits) + 1), hits, names, strict=True))
    strong = [each for each in ranked if with_scores or not each[1].is_weak]
    weak = [(hit, name) for _, hit, name in ranked if hit.is_weak and not with_scores]
    if not strong:
        stdout.print(f"[bold]{title}[/]\n{_weak_ones(weak)}", soft_wrap=True)
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("moment", no_wrap=True)
    table.add_column("video", no_wrap=True, overflow="ignore")  # a name is never broken
    table.add_column("matching text", overflow="fold", min_width=12)
    table.add_column("score", justify="right", no_wrap=True)
    for rank, hit, name in strong:
        scores = "\n".join([f"{hit.score:.3f}", *(_parts(hit) if with_scores else ())])
        table.add_row(str(rank), *_moment_cells(hit, name), scores)
        for moment in hit.moments:
            table.add_row("", *_moment_cells(moment, ""))
    stdout.print(table)
    if weak:
        stdout.print(_weak_ones(weak), soft_wrap=True)


def _weak_ones(hits: "Sequence[tuple[Hit, str]]") -> str:
    """Weak matches in a line: where they are, not what for."""
    places = ", ".join(f"{shown(name)} {clock(hit.start)}" for hit, name in hits[:WEAK_NAMED])
    more = f" and {len(hits) - WEAK_NAMED} more" if len(hits) > WEAK_NAMED else ""
    return f"Weak matches, below {WEAK_BELOW:g} (--scores lists them): {places}{more}"


def shorter_path(path: str, folder: str | os.PathLike) -> str:
    """`path` as seen from `folder`, or as it is where that is no longer (or there is no way: another drive)."""
    try:
        return min(path, os.path.relpath(path, folder), key=len)
    except ValueError:
        return path


def _parts(hit: "Hit") -> list[str]:
    parts = {name: getattr(hit, part) for name, part in PARTS.items()}
    return [f"{name} {number:.3f}" for name, number in parts.items() if number is not None]


def _moment_cells(moment: "Hit | Moment", name: str) -> tuple[str, str, str]:
    """Its time, the video, with its index where there are several, and what matches; what was not read in the picture
    says where it comes from."""
    boxes = {box["text"]: box for box in moment.boxes}
    texts = [text + _origin(boxes.get(text, {})) for text in moment.evidence]
    index = getattr(moment, "index", "")
    places = [_in_lines(one_line(place)) for place in (name, f"in {index}" if index else "") if place]
    return f"{clock(moment.start)}-{clock(moment.end)}", escape("\n".join(places)), shown(" | ".join(texts))


def _origin(box: Mapping[str, Any]) -> str:
    """Where a text comes from, unless from the picture, and how it matches, unless by its spelling."""
    source = box.get("source", "ocr")
    told = [*([] if source == "ocr" else [source]), *(["by meaning"] if box.get("match") == "means" else [])]
    return f" ({', '.join(told)})" if told else ""


def _in_lines(path: str) -> str:
    """A path that is broken between folders, where it is long."""
    lines = [""]
    for part in path.replace("/", "/\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > PATH_WIDTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
