"""`tcd-hf ocr`: what a video shows in writing, window by window."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tcd_hf.choices import TextFormat
from tcd_hf.cli.common import (
    CacheDirOption,
    JsonOption,
    OcrEngineOption,
    print_json,
    reading_bar,
    reports_errors,
    segment_seconds_option,
    stderr,
    stdout,
)
from tcd_hf.cli.reading import (
    MaxPixelsOption,
    MinConfidenceOption,
    OcrFpsOption,
    OcrLangOption,
    OcrOptionsOption,
    OcrPresetOption,
    StallSecondsOption,
    parse_options,
    with_lang,
)
from tcd_hf.cli.terminal import echo, shown
from tcd_hf.clock import clock

if TYPE_CHECKING:
    from tcd_hf.index.progress import Progress
    from tcd_hf.processing.window_ocr import WindowCaption
    from tcd_hf.reading.video_reader import VideoReader

__all__ = ["ocr"]

WORKERS = 1  # a process of its own, so that a file that brings its decoder down ends in a message


@reports_errors
def ocr(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video file to read.")],
    as_json: JsonOption = False,
    file_format: Annotated[
        TextFormat | None,
        typer.Option("--format", help="Print subtitles or a table instead: each text once, as long as it is seen."),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            help="Also draw frames with their texts onto a contact sheet; of a long video, windows with text alone.",
        ),
    ] = None,
    ocr_engine: OcrEngineOption = None,
    segment_seconds: Annotated[
        float | None, segment_seconds_option("Longest piece that a long video is cut into; 30 by default.")
    ] = None,
    num_windows: Annotated[int, typer.Option(min=1, help="Windows that each such piece is cut into.")] = 12,
    ocr_options: OcrOptionsOption = None,
    ocr_preset: OcrPresetOption = None,
    ocr_lang: OcrLangOption = None,
    ocr_fps: OcrFpsOption = None,
    min_confidence: MinConfidenceOption = None,
    stall_seconds: StallSecondsOption = None,
    max_pixels: MaxPixelsOption = None,
    cache_dir: CacheDirOption = None,
    benchmark: Annotated[
        bool, typer.Option(help="Print instead what reading its first minute costs by each runtime that is installed.")
    ] = False,
) -> None:
    """Read the text that appears in a video: one caption per time window.

    A long video is read piece by piece, and its captions are shown as they come. What was read is kept in a cache
    folder, also that of a run that was stopped.
    """
    if as_json and file_format is not None:
        raise typer.BadParameter("Give --format or --json, not both.", param_hint="--format")
    if ocr_fps is not None and ocr_fps <= 0:
        raise typer.BadParameter(f"must be above 0, got {ocr_fps}.", param_hint="--ocr-fps")
    if draw is not None:
        _check_image_path(draw)
    if benchmark:
        given = {"--ocr-engine": ocr_engine, "--ocr-fps": ocr_fps, "--min-confidence": min_confidence, "--draw": draw}
        given |= {"--format": file_format, "--stall-seconds": stall_seconds, "--max-pixels": max_pixels}
        if unused := [name for name, value in given.items() if value is not None]:
            raise typer.BadParameter(
                f"It measures the built-in engine: leave {', '.join(unused)} out.", param_hint="--benchmark"
            )
        return _benchmark(
            video, parse_options(with_lang(ocr_options, ocr_lang) or []), ocr_preset or "balanced", as_json
        )

    from tcd_hf.processing.window_ocr import WindowOCRCaptioner
    from tcd_hf.reading.cache import CaptionCache
    from tcd_hf.reading.segments import DEFAULT_SEGMENT_SECONDS
    from tcd_hf.reading.video_reader import VideoReader

    said = {"engine": ocr_engine, "preset": ocr_preset, "ocr_fps": ocr_fps, "min_confidence": min_confidence}
    said = {name: value for name, value in said.items() if value is not None}
    captioner = WindowOCRCaptioner(
        engine_options=parse_options(with_lang(ocr_options, ocr_lang) or []), num_windows=num_windows, **said
    )
    reader = VideoReader(captioner, CaptionCache(cache_dir), segment_seconds or DEFAULT_SEGMENT_SECONDS)
    reader.max_pixels = max_pixels or reader.max_pixels
    captions: list[WindowCaption] = []
    shows = not as_json and file_format is None
    if shows:
        stdout.print(f"[bold]{shown(video)}[/]", soft_wrap=True, highlight=False)
    with reading_bar("Reading", [str(video)], hidden=shows and stdout.is_terminal) as progress:
        for read in _read_segments(reader, str(video), progress, stall_seconds):
            captions += read
            if shows:
                _print_captions(read)
    if file_format is not None:
        from tcd_hf.index.transcript import transcript
        from tcd_hf.reading.text_files import write_cues

        echo(write_cues(transcript(captions), file_format), exact=True, nl=False)
    elif as_json:
        print_json({"path": str(video), "captions": [caption.to_dict() for caption in captions]})
    if draw is not None:  # last: a full disk then costs the drawing alone
        _draw(video, captions, num_windows, draw)


def _benchmark(video: Path, engine_options: dict, preset: str, as_json: bool) -> None:
    from tcd_hf.reading.ocr_benchmark import PARTS, benchmark_runtimes

    rows = [costs.to_dict() for costs in benchmark_runtimes(video, engine_options, preset)]
    if as_json:
        print_json({"path": str(video), "runtimes": rows})
        return
    table = Table("runtime", *PARTS, "in all", "frames", "boxes", box=None)
    for row in rows:
        per_second = [f"{row[part]:.3f}" for part in (*PARTS, "in_all")]
        table.add_row(row["runtime"], *per_second, str(row["frames"]), str(row["boxes"]))
    stdout.print(f"Seconds per second of video, of {rows[0]['video_seconds']:.1f} s:")
    stdout.print(table)


def _read_segments(
    reader: "VideoReader", path: str, progress: "Progress", stall_seconds: float | None
) -> "Iterator[list[WindowCaption]]":
    """Captions of one segment after the other; of those in the cache nothing is decoded."""
    from tcd_hf.index.progress import VideoProgress
    from tcd_hf.reading.files import absolute_path
    from tcd_hf.reading.video_reader import SkippedVideo, VideoFile, describe_error
    from tcd_hf.reading.worker_pool import read_videos
    from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

    try:
        file = VideoFile.of(path)
    except OSError as error:
        raise ValueError(describe_error(path, error)) from error
    seconds = 0.0
    seconds_allowed = stall_seconds or DEFAULT_STALL_SECONDS
    for read in read_videos(reader, [file], WORKERS, seconds_allowed, may_read_here=True):
        if isinstance(read, SkippedVideo):
            raise ValueError(read.cause)
        record = read.record
        yield record.captions
        seconds += record.end - record.start
        progress.advance(VideoProgress(absolute_path(path), seconds, record.duration, file.stamp.size))
    progress.finish(absolute_path(path))


def _print_captions(captions: "Sequence[WindowCaption]") -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for caption in captions:
        table.add_row(f"{clock(caption.start)}-{clock(caption.end)}", shown(caption.text))
    stdout.print(table)


def _draw(video: Path, captions: "Sequence[WindowCaption]", num_drawn: int, path: Path) -> None:
    """Draws a contact sheet. Of more windows than it has room for, those with text are drawn, some if need be."""
    from tcd_hf.processing.window_ocr import draw_captions

    drawn = list(captions)
    if len(captions) > num_drawn:
        drawn = [caption for caption in captions if caption.text] or drawn
        count = min(num_drawn, len(drawn))
        drawn = [drawn[place * len(drawn) // count] for place in range(count)]
        stderr.print(f"{path} shows {len(drawn)} of {len(captions)} windows.", markup=False, soft_wrap=True)
    draw_captions(video, drawn).save(path)


def _check_image_path(path: Path) -> None:
    """Refuses before the reading, which takes minutes, what could not be written after it."""
    from PIL import Image

    formats = Image.registered_extensions()
    if formats.get(path.suffix.lower()) not in Image.SAVE:
        raise typer.BadParameter(
            f"{path} does not end like an image that can be written, such as .png or .jpg.", param_hint="--draw"
        )
    if not path.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {path.parent} to write {path.name} to.", param_hint="--draw")
