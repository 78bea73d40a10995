"""`tcd-hf search`: rank videos for queries."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from tcd_hf.cli.common import (
    CacheDirOption,
    JsonOption,
    OcrEngineOption,
    fail,
    load,
    print_json,
    progress_bar,
    reports_errors,
    stderr,
    stdout,
)
from tcd_hf.index.files import VIDEO_EXTENSIONS, find_videos

if TYPE_CHECKING:
    from tcd_hf.index.gallery import VideoGallery
    from tcd_hf.index.hits import Hit

__all__ = ["SearchCommand", "add_videos", "print_hits", "search"]


class SearchCommand(TyperCommand):
    """Lets `--videos` take what a shell makes of `--videos clips/*.mp4`: more than one value.

    After the first value come others as long as they exist or end like a video file; the next is a query again.
    """

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        expanded: list[str] = []
        values = None  # values of the --videos at hand so far; None elsewhere
        for position, arg in enumerate(args):
            if arg == "--":
                expanded += args[position:]
                break
            if arg.startswith("-") and len(arg) > 1:
                values = 0 if arg == "--videos" else None
            elif values is not None:
                if values and (os.path.exists(arg) or Path(arg).suffix.lower() in VIDEO_EXTENSIONS):
                    expanded.append("--videos")
                elif values:
                    values = None
                if values is not None:
                    values += 1
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


@reports_errors
def search(
    queries: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY...", help="What to look for, each query in quotes.")
    ] = None,
    videos: Annotated[
        list[Path] | None,
        typer.Option("--videos", metavar="FOLDER|FILES", help="Folders, searched recursively, or video files."),
    ] = None,
    queries_file: Annotated[
        Path | None, typer.Option("--queries", metavar="FILE", help="Text file with further queries, one a line.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Videos to list per query.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="Model folder or Hub id; the small model of the package by default.")
    ] = None,
    ocr_engine: OcrEngineOption = None,
    cache_dir: CacheDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank videos for sentences, and show the text in them that matched.

    What is read in a video is kept in a cache folder of tcd-hf, by the video's content, so the next search is quick.
    """
    all_queries = _collect_queries(queries or [], queries_file)
    if not videos:
        raise typer.BadParameter("Say where to search, for example --videos my_clips/", param_hint="--videos")
    paths = find_videos(videos)

    from tcd_hf.index.gallery import VideoGallery

    gallery = VideoGallery(*load(model, ocr_engine), cache_dir=cache_dir)
    add_videos(gallery, paths)
    results = gallery.search(all_queries, top_k=top_k)
    if as_json:
        pairs = zip(all_queries, results, strict=True)
        print_json({"queries": [{"query": query, "hits": [hit.to_dict() for hit in hits]} for query, hits in pairs]})
        return
    for query, hits in zip(all_queries, results, strict=True):
        print_hits(query, hits)


def add_videos(gallery: "VideoGallery", paths: list[str]) -> None:
    """Adds videos under a progress bar, names those that were skipped, and fails when none is left."""
    with progress_bar() as progress:
        task = progress.add_task("Reading videos", total=len(paths))
        skipped = gallery.add(paths, on_video=lambda path: progress.advance(task))
    for video in skipped:
        stderr.print(f"[yellow]skipped:[/] {escape(video.cause)}", highlight=False, soft_wrap=True)
    if not len(gallery):
        raise fail(f"None of the {len(paths)} videos could be read.")


def print_hits(query: str, hits: "list[Hit]", folder: str | os.PathLike = ".") -> None:
    """A query's hits as a ranked table; paths as seen from `folder`, where that is shorter."""
    table = Table(title=escape(query), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("path", overflow="fold")
    for heading in ("score", "video", "ocr", "hybrid", "lexical", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("matching text", overflow="fold")
    for rank, hit in enumerate(hits, start=1):
        numbers = (hit.score, hit.text_video, hit.text_ocr, hit.text_hybrid, hit.lexical)
        table.add_row(
            str(rank),
            escape(shorter_path(hit.path, folder)),
            *("" if number is None else f"{number:.3f}" for number in numbers),
            f"{hit.start:.1f}-{hit.end:.1f}",
            escape(" | ".join(hit.evidence)),
        )
    stdout.print(table)


def shorter_path(path: str, folder: str | os.PathLike) -> str:
    """`path` as seen from `folder`, or as it is where that is no longer (or there is no way: another drive)."""
    try:
        return min(path, os.path.relpath(path, folder), key=len)
    except ValueError:
        return path


def _collect_queries(queries: list[str], file: Path | None) -> list[str]:
    for query in queries:
        if not query.strip():
            raise typer.BadParameter("A query is empty: say what to look for.", param_hint="QUERY")
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{file} is not a UTF-8 text file ({error}): give a file with one query a line."
            ) from error
        queries = [*queries, *(line.strip() for line in lines if line.strip())]
        if not queries:
            raise ValueError(f"{file} holds no query: write one a line.")
    if not queries:
        raise typer.BadParameter("Say what to look for, as arguments or with --queries FILE.", param_hint="QUERY")
    return queries
