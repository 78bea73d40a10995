"""`tcd-hf search`: rank videos for queries."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tcd_hf.choices import DEFAULT_MOMENTS, DEFAULT_WITHIN, SearchMode
from tcd_hf.cli.common import (
    CacheDirOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OcrEngineOption,
    RevisionOption,
    SeveralValues,
    check_output_folder,
    fail,
    load,
    named_model,
    open_indexes,
    print_json,
    print_left_out,
    print_skipped,
    reading_bar,
    reports_errors,
    stderr,
)
from tcd_hf.cli.hit_table import print_hits
from tcd_hf.cli.reading import (
    MaxPixelsOption,
    MinConfidenceOption,
    OcrFpsOption,
    OcrLangOption,
    OcrOptionsOption,
    OcrPresetOption,
    Reading,
    StallSecondsOption,
    with_lang,
)
from tcd_hf.clock import clock, read_clock
from tcd_hf.reading.files import VIDEO_EXTENSIONS, absolute_path, scan_videos
from tcd_hf.reading.left_out import LeftOut
from tcd_hf.reading.object_stores import is_address

if TYPE_CHECKING:
    from tcd_hf import VideoIndex
    from tcd_hf.index.hits import Hit
    from tcd_hf.index.joint_index import JointIndex

    Answers = Sequence[tuple[str, Sequence[Hit]]]  # queries and what they find

__all__ = ["SearchCommand", "add_videos", "search"]

MAX_SCORED_SEGMENTS = 2000  # of --videos: up to here mode "full", which misses nothing, is the default


class SearchCommand(SeveralValues):
    """Lets `--videos` take what a shell makes of `--videos clips/*.mp4`: more than one value.

    After the first value come others as long as they exist or end like a video file; the next is a query again.
    """

    several = ("--videos",)

    def goes_on(self, value: str) -> bool:
        return os.path.exists(value) or is_address(value) or Path(value).suffix.lower() in VIDEO_EXTENSIONS


@reports_errors
def search(
    queries: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY...", help="What to look for, each query in quotes.")
    ] = None,
    videos: Annotated[
        list[str] | None,
        typer.Option("--videos", metavar="FOLDER|FILES", help="Folders, searched recursively, or video files."),
    ] = None,
    index_uris: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="DIR", help="An index that `tcd-hf index` made; several are searched as one."),
    ] = None,
    queries_file: Annotated[
        Path | None, typer.Option("--queries", metavar="FILE", help="Text file with further queries, one a line.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Videos to list per query.")] = 10,
    mode: Annotated[
        SearchMode | None,
        typer.Option(
            help="Score candidates of a quick recall (two-stage), all videos (full), or rank by one kind of recall "
            f"alone. Two-stage by default, with --videos full up to {MAX_SCORED_SEGMENTS:,} pieces of 30 s.",
            show_default=False,
        ),
    ] = None,
    moments: Annotated[int, typer.Option(min=0, help="Further moments to show of a video.")] = DEFAULT_MOMENTS,
    between: Annotated[
        str | None,
        typer.Option(metavar="TIME-TIME", help="Only moments in this part of a video, such as 0:10:00-0:20:00."),
    ] = None,
    within: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Of 'first >> then', the longest time between the two.")
    ] = DEFAULT_WITHIN,
    recall_k: Annotated[int, typer.Option(min=1, help="Candidates of each kind of recall in mode two-stage.")] = 50,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL", help="Only segments of videos that meet a condition, such as 'duration < 60 AND has_text'."
        ),
    ] = None,
    folder: Annotated[
        str | None, typer.Option(metavar="PATH", help="Only videos below this folder, or this one video.")
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Also show the parts of the score.")] = False,
    ocr_engine: OcrEngineOption = None,
    ocr_options: OcrOptionsOption = None,
    ocr_preset: OcrPresetOption = None,
    ocr_lang: OcrLangOption = None,
    ocr_fps: OcrFpsOption = None,
    min_confidence: MinConfidenceOption = None,
    stall_seconds: StallSecondsOption = None,
    max_pixels: MaxPixelsOption = None,
    model: ModelOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = None,
    cache_dir: CacheDirOption = None,
    as_json: JsonOption = False,
    cut: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also write the moment of each hit as a small video, as it is encoded."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the results as a page with pictures, one file for any browser."),
    ] = None,
) -> None:
    """Rank videos for sentences, and show the text in them that matched.

    With --videos, what is read in them is kept in a cache folder of tcd-hf, so the next search is quick.

    \b
    Words are fuzzy. Inside a query (the outer quotes are for the shell):
      '"no exit"'          stands there, word by word
      'street -night'      no moments that show this word; -"no exit": this phrase
      'door OR "way in"'   either
      'entry >> exit'      a moment of the one, then of the other, within 60 s (--within)
    A query that begins with a minus goes after --, at the end:
      tcd-hf search --index my.index -- '-night street'
    """
    model = named_model(model, revision)
    all_queries = _collect_queries(queries or [], queries_file)
    options = with_lang(ocr_options, ocr_lang)
    reading = Reading(ocr_engine, options, ocr_fps, min_confidence, False, ocr_preset, max_pixels, stall_seconds)
    _check_place(videos, index_uris, reading)
    _check_outputs(cut, html)
    time_range = None if between is None else _read_range(between)
    parsed = _parse(all_queries)
    condition = _filter(where, folder)
    names: dict[str, str] = {}  # of videos, as the user gave them
    left_out: list[LeftOut] = []
    if videos:
        from tcd_hf import VideoIndex

        paths, left_out = scan_videos(videos)
        names = {absolute_path(path): path for path in paths}
        index = VideoIndex.cached(videos, *load(model, reading, device), cache_dir=cache_dir, refresh=False)
        add_videos(index, paths, () if as_json else left_out, reading.limits)
        if mode is None and index.stats().segments <= MAX_SCORED_SEGMENTS:
            mode = "full"
    else:
        assert index_uris  # refused above
        index = open_indexes(index_uris, model, reading, cache_dir, device=device)
    results = [
        [replace(hit, path=names.get(hit.path, hit.path)) for hit in hits]
        for hits in index.search(
            all_queries,
            top_k=top_k,
            recall_k=recall_k,
            mode=mode or "two-stage",
            where=condition,
            moments=moments,
            between=time_range,
            syntax="query",
            within=within,
        )
    ]
    answers = list(zip(all_queries, results, strict=True))
    if as_json:
        _print_as_json(answers, parsed, left_out)
    else:
        nothing = "" if all(results) else _why_nothing(index, condition, time_range)
        _print_tables(answers, parsed, nothing, within, scores)
    if cut is not None:
        _cut_moments(answers, cut)
    if html is not None:  # last: a full disk then costs the page alone
        from tcd_hf.visualization import write_html_report

        write_html_report(html, answers)


def _check_place(videos: Sequence[str] | None, index_uris: Sequence[str] | None, reading: Reading) -> None:
    """Refuses what does not say where to search, or says it twice."""
    if not videos and not index_uris:
        raise typer.BadParameter("Say where to search: --videos my_clips/ or --index DIR", param_hint="--videos")
    if videos and index_uris:
        raise typer.BadParameter("Give --videos or --index, not both.", param_hint="--index")
    if index_uris and reading != Reading():
        raise typer.BadParameter(
            "An index keeps how its videos are read: --ocr-engine, --ocr-option, --ocr-preset, --ocr-lang, --ocr-fps, "
            "--min-confidence, --stall-seconds and --max-pixels go with --videos, or with `tcd-hf index`.",
            param_hint="--index",
        )


def _check_outputs(cut: Path | None, html: Path | None) -> None:
    """Refuses before the search, which may read videos for hours, what could not be written after it."""
    if html is not None:
        _check_page(html)
    if cut is not None:
        check_output_folder(cut, "--cut")
        cut.mkdir(parents=True, exist_ok=True)


def _print_as_json(answers: "Answers", parsed: Sequence[dict[str, Any]], left_out: Sequence[LeftOut]) -> None:
    entries = [
        {"query": query, "parsed": meaning, "hits": [hit.to_dict() for hit in hits]}
        for (query, hits), meaning in zip(answers, parsed, strict=True)
    ]
    others = {"left_out": [file._asdict() for file in left_out]} if left_out else {}
    print_json({"queries": entries, **others})


def _print_tables(
    answers: "Answers", parsed: Sequence[dict[str, Any]], nothing: str, within: float, with_scores: bool
) -> None:
    """Prints a table per query; `nothing` is what to say where there is no hit."""
    for (query, hits), meaning in zip(answers, parsed, strict=True):
        out_of_order = f"Nothing follows in this order within {within:g} s: see --within." if "then" in meaning else ""
        print_hits(query, hits, with_scores=with_scores, nothing=nothing or out_of_order)


def _why_nothing(index: "VideoIndex | JointIndex", where: str | None, between: tuple[float, float] | None) -> str:
    """What to say where nothing was found; `""` if there was no filter."""
    if where is None and between is None:
        return ""
    rows = index.read(["start", "end"], where)
    start, end = between or (0.0, math.inf)
    passes = any(row["start"] <= end and start <= row["end"] for row in rows.to_pylist())
    found = "Nothing was found in what passes the filter" if passes else "Nothing passes the filter"
    return f"{found}: see --where, --folder and --between."


def add_videos(
    index: "VideoIndex",
    paths: Sequence[str],
    left_out: Sequence[LeftOut] = (),
    limits: Mapping[str, float] | None = None,
) -> None:
    """Makes an index one of these videos, names those that were skipped, counts what else was found, and fails when
    none is left."""
    with reading_bar("Reading", paths, lambda: f"{len(index)} videos") as progress:
        callbacks = {"on_video": progress.finish, "on_progress": progress.advance}
        options = {**callbacks, **(limits or {})}
        report = index.refresh(paths, **options, keep_unreadable=False)  # not what they showed before damage
    print_skipped(report.skipped)
    print_left_out(left_out, "; --json lists them")
    if not len(index):
        raise fail(f"None of the {len(paths)} videos could be read.")


def _cut_moments(answers: "Answers", folder: Path) -> None:
    """Writes the best moment of each hit; names files, and where in them the moment begins, on stderr."""
    from tcd_hf.processing.video_reading import VideoReadError
    from tcd_hf.reading.cutting import cut_out
    from tcd_hf.reading.video_reader import SkippedVideo

    for number, (_, hits) in enumerate(answers, start=1):
        query = f"query{number}-" if len(answers) > 1 else ""
        for rank, hit in enumerate(hits, start=1):
            name = f"{query}{rank:02d}-{Path(hit.path).stem}-{clock(hit.start).replace(':', '.')}"
            try:
                made = cut_out(hit.path, hit.start, hit.end, folder / name)
            except VideoReadError as error:
                print_skipped([SkippedVideo(hit.path, str(error))])
                continue
            stderr.print(
                f"{made.file}: the moment begins {made.offset:.1f} s into it",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _check_page(path: Path) -> None:
    if path.is_dir():
        raise typer.BadParameter(
            f"{path} is a folder: name a file, such as {path / 'report.html'}.", param_hint="--html"
        )
    if path.suffix.lower() not in (".html", ".htm"):  # a video named by mistake would be lost
        raise typer.BadParameter(
            f"{path} is no name of a page: it must end in .html or .htm, such as report.html.", param_hint="--html"
        )
    if not path.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {path.parent} to write {path.name} to.", param_hint="--html")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise typer.BadParameter(f"{path} may not be written: choose another place.", param_hint="--html")


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
    from tcd_hf.index.query_syntax import cut_query

    return [cut_query(query) for query in queries]


def _filter(where: str | None, folder: str | None) -> str | None:
    """What rows must pass, in SQL; a condition that is none is refused before videos are read for hours."""
    from tcd_hf.index.conditions import check_condition
    from tcd_hf.index.storage import sql_string

    condition = None if where is None else check_condition(where)  # alone: in brackets, others in it might close them
    if folder is None:
        return condition
    path = absolute_path(folder).rstrip("/")
    below = f"(path = {sql_string(path)} OR starts_with(path, {sql_string(path + '/')}))"
    return below if condition is None else f"({condition}) AND {below}"


def _parse(queries: Sequence[str]) -> list[dict[str, Any]]:
    """How queries will be understood: what cannot be asked is refused before videos are read for hours."""
    from tcd_hf.index.query_syntax import parse_query

    return [parse_query(query, "query").to_dict() for query in queries]


def _read_range(text: str) -> tuple[float, float]:
    """Begin and end, seconds."""
    try:
        start, end = map(read_clock, text.split("-"))
    except ValueError as error:
        message = f"{text!r} is no range of times: write it as 0:10:00-0:20:00, or in seconds, 600-1200."
        raise typer.BadParameter(message, param_hint="--between") from error
    if start > end:
        raise typer.BadParameter(f"{text!r} ends before it begins.", param_hint="--between")
    return start, end
