"""`tcd-hf index`: videos into an index that lasts."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tcd_hf.choices import Engine
from tcd_hf.cli.common import (
    CacheDirOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OcrEngineOption,
    RevisionOption,
    fail,
    load,
    named_model,
    open_index,
    print_json,
    print_left_out,
    print_skipped,
    reading_bar,
    reports_errors,
    segment_seconds_option,
    stderr,
    stdout,
)
from tcd_hf.cli.reading import (
    MaxPixelsOption,
    MinConfidenceOption,
    NoOcrOption,
    OcrFpsOption,
    OcrLangOption,
    OcrOptionsOption,
    OcrPresetOption,
    Reading,
    StallSecondsOption,
    collect_texts,
    with_lang,
)
from tcd_hf.cli.terminal import shown
from tcd_hf.cli.watching import follow
from tcd_hf.clock import clock
from tcd_hf.reading.files import scan_videos
from tcd_hf.reading.left_out import LeftOut
from tcd_hf.reading.watching import FolderWatch

if TYPE_CHECKING:
    from tcd_hf import TCDProcessor, VideoIndex
    from tcd_hf.index.ingest import AddReport
    from tcd_hf.index.progress import Progress
    from tcd_hf.index.repair import RepairReport
    from tcd_hf.reading.own_texts import OwnTexts

__all__ = ["index"]


@reports_errors
def index(
    index_uris: Annotated[
        list[str],
        typer.Option("--index", metavar="DIR", help="Folder of the index, made if need be, or a URI: s3://..."),
    ],
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="VIDEOS...", help="Folders, searched recursively, or video files; s3://... too."),
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Make the index one of exactly VIDEOS: all others are removed from it.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove VIDEOS from the index; a folder stands for all below it.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help=r"Go on, and take in what comes into the folders, until Ctrl-C (pip install 'tcd-hf\[watch]').",
        ),
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Only tell what the index holds.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only verify what the index holds; status 1 if damaged.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend a damaged index: keep what is whole, read again what is lost.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that read videos, one per core by default; 0 reads in this one, which a bad file can end.",
        ),
    ] = None,
    stall_seconds: StallSecondsOption = None,
    max_pixels: MaxPixelsOption = None,
    engine: Annotated[
        Engine, typer.Option(help=r"Where videos are read: here, or on a Ray cluster (pip install 'tcd-hf\[ray]').")
    ] = "local",
    segment_seconds: Annotated[
        float | None,
        segment_seconds_option(
            "Longest piece that videos are cut into, 30 by default. Kept in a new index; leave it out later."
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Texts that videos come with: .srt, .vtt or .json files of the same names, below here.",
        ),
    ] = None,
    subtitles: Annotated[
        bool, typer.Option("--subtitles", help="Take subtitles too: text streams inside videos, .srt and .vtt beside.")
    ] = False,
    ocr_engine: OcrEngineOption = None,
    ocr_options: OcrOptionsOption = None,
    ocr_preset: OcrPresetOption = None,
    ocr_lang: OcrLangOption = None,
    ocr_fps: OcrFpsOption = None,
    min_confidence: MinConfidenceOption = None,
    no_ocr: NoOcrOption = False,
    model: ModelOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Segments that the model encodes at once; 8 on a GPU by default.")
    ] = None,
    cache_dir: CacheDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read videos once, to search them many times: `tcd-hf search QUERY --index DIR`.

    How text is read is kept in the index: what is added later is read in the same way.

    A damaged index says so: --check tells what is damaged, --repair mends it.

    Stop it at any time and run it again: it goes on where it was. Videos that did not change are not read again; those
    that cannot be read are named and skipped, and kept in DIR/errors.jsonl. Other files of folders are counted.

    With --watch it goes on by itself: a video that comes into a folder is taken in when nobody writes it any more.
    """
    index_uri, *others = index_uris
    if others:
        raise typer.BadParameter(
            f"Videos are read into one index: give it once, not {len(index_uris)} times. `tcd-hf search`, show, list, "
            "export and serve take several as one.",
            param_hint="--index",
        )
    videos = videos or []
    actions = {"--sync": sync, "--remove": remove, "--stats": stats, "--check": check, "--repair": repair}
    options = with_lang(ocr_options, ocr_lang)
    reading = Reading(ocr_engine, options, ocr_fps, min_confidence, no_ocr, ocr_preset, max_pixels, stall_seconds)
    of_adding = {"--texts": texts, "--subtitles": subtitles, "--segment-seconds": segment_seconds}
    of_reading = {"--ocr-engine": ocr_engine, "--ocr-option": ocr_options, "--ocr-fps": ocr_fps}
    of_reading |= {"--ocr-preset": ocr_preset, "--ocr-lang": ocr_lang}
    of_reading |= {"--min-confidence": min_confidence, "--no-ocr": no_ocr, "--model": model, "--revision": revision}
    of_reading |= {"--device": device, "--batch-size": batch_size, "--workers": workers, "--cache-dir": cache_dir}
    of_reading |= {"--stall-seconds": stall_seconds, "--max-pixels": max_pixels}
    _check_usage(videos, actions, engine, of_adding, of_reading, watch)
    from tcd_hf import VideoIndex

    if stats:
        _print_stats(VideoIndex.open(index_uri), as_json)
    elif check:
        _check(VideoIndex.open(index_uri), as_json)
    elif repair:
        options = {"workers": workers, "cache_dir": cache_dir, "batch_size": batch_size, "device": device or "auto"}
        makers = _makers(index_uri, named_model(model, revision), reading, device)
        report = VideoIndex.repair(index_uri, *makers, **options, **reading.limits)
        _print_repair(index_uri, report, as_json)
    elif remove:
        opened = VideoIndex.open(index_uri)
        removed = opened.remove(videos)
        if as_json:
            print_json({"index": index_uri, "videos": len(opened), "removed": removed})
        else:
            stdout.print(f"{removed} removed; {shown(index_uri)} holds {len(opened)} videos.", soft_wrap=True)
    else:
        watched = FolderWatch(videos) if watch else None  # tells what is wrong with them before a model is loaded
        paths, left_out = ([], []) if watched else scan_videos(videos)
        options = {"create": True, "device": device, "segment_seconds": segment_seconds, "batch_size": batch_size}
        own_texts = collect_texts(paths, texts, subtitles, workers, reading.limits)
        opened = open_index(index_uri, named_model(model, revision), reading, cache_dir, **options)
        how = workers, reading, engine
        tell = partial(_print_report, opened, index_uri, as_json)
        if watched is not None:

            def take(paths: Sequence[str], progress: "Progress") -> "AddReport":
                own_texts = collect_texts(paths, texts, subtitles, workers, reading.limits, opened.paths)
                return _bring_in(opened, paths, False, *how, progress, own_texts)

            follow(watched, opened, sync, take, tell)
            return
        start = time.perf_counter()
        with reading_bar("Indexing", paths, lambda: f"{len(opened)} videos in {index_uri}") as progress:
            report = _bring_in(opened, paths, sync, *how, progress, own_texts)
        tell(left_out, report, progress, time.perf_counter() - start)
        if len(report.skipped) == len(paths):
            raise fail(f"None of the {len(paths)} videos could be read.")


def _check_usage(
    videos: list[str],
    actions: dict[str, bool],
    engine: Engine,
    of_adding: dict[str, Any],
    of_reading: dict[str, Any],
    watch: bool,
) -> None:
    """Refuses what would be ignored: options by name, `None` or `False` where they are not given."""
    chosen = [name for name, given in actions.items() if given]
    if watch and (others := [name for name in chosen if name != "--sync"]):
        raise typer.BadParameter(f"{others[0]} is done once: leave one of them out.", param_hint="--watch")
    if len(chosen) > 1:
        raise typer.BadParameter(f"{' and '.join(chosen)} exclude each other: give one.", param_hint=chosen[1])
    alone = bool(chosen) and chosen[0] in ("--stats", "--check", "--repair")
    if alone and videos:
        raise typer.BadParameter(f"It takes no videos, got {videos[0]}.", param_hint=chosen[0])
    if not alone and not videos:
        raise typer.BadParameter("Say which videos, for example my_clips/", param_hint="VIDEOS")
    if chosen and engine == "ray":
        raise typer.BadParameter(f"ray only adds videos: leave it out with {chosen[0]}.", param_hint="--engine")
    if not chosen or actions["--sync"]:
        return
    ignored = of_adding if actions["--repair"] else {**of_adding, **of_reading}
    for name in (name for name, given in ignored.items() if given is not None and given is not False):
        raise typer.BadParameter(f"It means nothing to {chosen[0]}: leave it out.", param_hint=name)


def _makers(uri: str, model: str | None, reading: Reading, device: str | None) -> "tuple[Any, TCDProcessor | None]":
    """What an index is repaired by: its model by name, which may not be needed, or loaded, to read as the user says."""
    if not reading.says_how():
        return model, None
    from tcd_hf import IndexDamagedError

    try:
        opened = open_index(uri, model, reading, None, device=device)
    except IndexDamagedError:  # then what it was made by, which is compared with what can be read of it
        return load(model, reading, device)
    return opened.model, opened.processor


def _bring_in(
    index: "VideoIndex",
    paths: Sequence[str],
    sync: bool,
    workers: int | None,
    reading: Reading,
    engine: Engine,
    progress: "Progress",
    texts: "dict[str, OwnTexts] | None",
) -> "AddReport":
    options = {"workers": workers, "on_video": progress.finish, "on_progress": progress.advance, "texts": texts}
    options |= reading.limits
    return index.refresh(paths, **options) if sync else index.add(paths, engine=engine, **options)


def _print_report(
    index: "VideoIndex",
    uri: str,
    as_json: bool,
    left_out: Sequence[LeftOut],
    report: "AddReport",
    progress: "Progress",
    seconds: float,
) -> None:
    print_skipped(report.skipped)
    if as_json:
        numbers = {"seconds": round(seconds, 2), "seconds_of_video": round(progress.seconds, 3)}
        files = [file._asdict() for file in left_out]
        print_json({"index": uri, "videos": len(index), **numbers, **asdict(report), "left_out": files})
        return
    print_left_out(left_out, "; --json lists them")
    groups = {name: getattr(report, name) for name in ("added", "unchanged", "replaced", "skipped", "removed")}
    counts = [f"{len(group)} {name}" for name, group in groups.items() if group or name != "removed"]
    read = f" ({progress.describe_speed()})" if progress.seconds else ""
    stdout.print(
        f"{', '.join(counts)} in {seconds:.1f} s{read}; {shown(uri)} holds {len(index)} videos.",
        soft_wrap=True,
        highlight=False,
    )


def _print_stats(index: "VideoIndex", as_json: bool) -> None:
    numbers = {**asdict(index.stats()), "files_that_cannot_be_read": len(index.errors)}
    if as_json:
        print_json({"index": index.uri, **numbers})
        return
    stdout.print(f"[bold]{shown(index.uri)}[/]", soft_wrap=True, highlight=False)
    table = Table.grid(padding=(0, 2))
    for name, value in numbers.items():
        is_time = name == "seconds_of_video"
        table.add_row("time of video" if is_time else name.replace("_", " "), clock(value) if is_time else _text(value))
    stdout.print(table)


def _check(index: "VideoIndex", as_json: bool) -> None:
    """Tells what is damaged, and ends with status 1 if anything is."""
    damages = index.check()
    if as_json:
        print_json({"index": index.uri, "whole": not damages, "damages": [damage._asdict() for damage in damages]})
    for damage in damages:
        stderr.print(
            f"[yellow]damaged:[/] {escape(f'{damage.part}: {damage.detail}')}", highlight=False, soft_wrap=True
        )
    if damages:
        raise fail(f"The index {index.uri} is damaged: `tcd-hf index --index {index.uri} --repair` mends it.")
    if not as_json:
        stdout.print(f"{shown(index.uri)} is whole: {len(index)} videos.", soft_wrap=True, highlight=False)


def _print_repair(uri: str, report: "RepairReport", as_json: bool) -> None:
    """Tells what became of the index, and ends with status 1 if videos were lost."""
    if as_json:
        print_json({"index": uri, **asdict(report)})
    else:
        former = f" by its version {report.restored_version}" if report.restored_version else ""
        counts = f"{report.kept} videos kept{former}, {len(report.read_again)} read again, {len(report.lost)} lost"
        remade = f"; made anew: {', '.join(report.remade)}" if report.remade else ""
        stdout.print(f"{shown(uri)} is whole again: {counts}{remade}.", soft_wrap=True, highlight=False)
    if report.set_aside:
        _say(f"Files that were given up are kept in {escape(report.set_aside)}: delete them when nothing is missing.")
    for path in report.without_own_texts:
        _say(f"[yellow]without its own texts:[/] {escape(path)}: give them again (--texts, --subtitles).")
    for path in report.lost:
        _say(f"[yellow]lost:[/] {escape(path)}: its rows are damaged, and the file is not there or cannot be read.")
    if report.nameless:
        _say(
            f"[yellow]lost:[/] {report.nameless} rows that do not tell of which video they were, as no list does: add "
            "your videos again. Those that are there are not read anew."
        )
    if report.lost:
        raise fail(f"{len(report.lost)} videos were lost: add them when their files are there.")
    if report.nameless:
        raise typer.Exit(1)


def _say(line: str) -> None:
    stderr.print(line, highlight=False, soft_wrap=True)


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else "unknown" if value in (None, "") else shown(value)
