"""`tcd-hf prepare`: the videos of a data set, read once for training and evaluation."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tcd_hf.cli.common import (
    CacheDirOption,
    LoadedModelOption,
    RevisionOption,
    SeveralValues,
    check_output_folder,
    fail,
    named_model,
    quieten_bars,
    reports_errors,
)
from tcd_hf.cli.reading import MaxPixelsOption, NoOcrOption, OcrPresetOption, Reading, StallSecondsOption
from tcd_hf.cli.terminal import echo
from tcd_hf.printable import one_line

if TYPE_CHECKING:
    from tcd_hf.data.preparation import PreparationReport

__all__ = ["PrepareCommand", "prepare"]


class PrepareCommand(SeveralValues):
    """Lets `--splits` take more than one value."""

    several = ("--splits",)


@reports_errors
def prepare(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the prepared data set goes.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A published data set: textvr, msrvtt-1ka, msvd, ...")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the annotations of --dataset, as published.")
    ] = None,
    videos: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder of the videos of --dataset.")] = None,
    videofolder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Clips of your own: SPLIT/metadata.jsonl beside them.")
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Join the shards in --out; nothing is read.")] = False,
    splits: Annotated[
        list[str] | None, typer.Option("--splits", metavar="SPLIT...", help="Only these; else all.")
    ] = None,
    validation_size: Annotated[
        int, typer.Option(min=0, help="Videos of train to set apart, of a --dataset without validation split.")
    ] = 0,
    ocr: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Texts that the data set ships: used, nothing is read.")
    ] = None,
    rewriter: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Makes sentences of M4-ViteVQA's questions: a text generator.")
    ] = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave out videos that are not there.")] = False,
    model: LoadedModelOption = None,
    revision: RevisionOption = None,
    num_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames and windows of a video; else as --model.")
    ] = None,
    frame_sets: Annotated[
        int, typer.Option(min=0, help="Sets of frames of train at random times, in random crops, to draw from.")
    ] = 0,
    no_ocr: NoOcrOption = False,
    ocr_preset: OcrPresetOption = None,
    num_proc: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that read, 1 by default; 0 reads in this one, which a bad file can end."),
    ] = None,
    stall_seconds: StallSecondsOption = None,
    max_pixels: MaxPixelsOption = None,
    shard: Annotated[int, typer.Option(min=0, help="This machine's share, from 0.")] = 0,
    num_shards: Annotated[int, typer.Option(min=1, help="Machines that share the work; then --join.")] = 1,
    max_left_out: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SHARE", help="End with status 1 where more of a split is left out."),
    ] = 0.5,
    cache_dir: CacheDirOption = None,
) -> None:
    """Read the videos of a data set once: frames at the model's size and the text in them, for training and evaluation.

    What was done is kept: a killed run goes on where it was, a finished one is not done twice. Videos that cannot be
    read are named and left out.
    """
    check_output_folder(out, "--out")
    of_dataset = {"--annotations": annotations, "--videos": videos, "--ocr": ocr, "--rewriter": rewriter}
    of_dataset |= {"--validation-size": validation_size, "--skip-missing": skip_missing}
    _check_usage({"--dataset": dataset, "--videofolder": videofolder, "--join": join}, of_dataset)
    if shard >= num_shards:
        raise typer.BadParameter(f"--shard must be from 0 to {num_shards - 1} (--num-shards less 1), got {shard}.")

    from tcd_hf.checkpoints import MINI
    from tcd_hf.data.preparation import join_shards, prepare_splits
    from tcd_hf.data.question_rewriting import QuestionRewriter
    from tcd_hf.data.retrieval_datasets import MissingFilesError, load_retrieval_dataset
    from tcd_hf.data.video_folder import load_video_folder
    from tcd_hf.loading import load_processor

    started, done_without = time.monotonic(), {}
    quieten_bars()
    if join:
        reports = join_shards(out)
    else:
        processor = load_processor(named_model(model, revision) or MINI.name, num_frames=num_frames)
        reading = Reading(no_ocr=no_ocr, preset=ocr_preset, max_pixels=max_pixels, stall_seconds=stall_seconds)
        reading.apply(processor)
        missing: dict[str, list[str]] = {}
        if dataset and annotations and videos:
            rewrites = QuestionRewriter(rewriter, annotations / "sentences.jsonl") if rewriter else None
            of_files = dataset, annotations, videos, ocr, rewrites, splits, validation_size
            try:
                found = load_retrieval_dataset(*of_files)
            except MissingFilesError as error:
                if not skip_missing:
                    raise
                found = load_retrieval_dataset(*of_files, skip_missing=True)
                missing = {str(split): error.videos_of(str(split)) for split in found}
                done_without = error.missing_besides_videos
        else:
            assert videofolder  # else refused above
            found = load_video_folder(videofolder, splits)
        options: dict[str, Any] = {"shipped_ocr": ocr is not None, "frame_sets": frame_sets, **reading.limits}
        share = {"shard": shard, "num_shards": num_shards}
        reports = prepare_splits(found, processor, out, num_proc, cache_dir, missing=missing, **share, **options)
    for what, names in done_without.items():
        echo(f"done without: {len(names)} {what}")
    _print_reports(reports, out, time.monotonic() - started, max_left_out)


def _check_usage(sources: dict[str, Any], of_dataset: dict[str, Any]) -> None:
    """Refuses what does not say what is prepared, or says it twice."""
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        raise typer.BadParameter(f"give one of {', '.join(sources)}; got {' and '.join(given) or 'none'}.")
    others = [name for name, value in of_dataset.items() if value]
    if others and given != ["--dataset"]:
        raise typer.BadParameter(f"{', '.join(others)}: only with --dataset.")
    if given == ["--dataset"] and not (of_dataset["--annotations"] and of_dataset["--videos"]):
        raise typer.BadParameter("--dataset needs --annotations and --videos.")


def _print_reports(reports: "dict[str, PreparationReport]", out: Path, seconds: float, max_left_out: float) -> None:
    """Says what became of each split, and ends with status 1 where too much of one was left out."""
    for split, report in reports.items():
        state = "found prepared" if report.reused else "prepared"
        of_them = f" ({len(report.missing)} missing)" if report.missing else ""
        echo(f"{split}: {report.num_videos} videos {state}, {report.num_left_out} left out{of_them}")
    echo(f"{out}: {seconds:.0f} s")
    _print_left_out(reports)
    worst = max((report.share_left_out for report in reports.values()), default=0.0)
    if worst > max_left_out:
        raise fail(f"{worst:.0%} of the videos of a split were left out, more than --max-left-out {max_left_out:.0%}.")


def _print_left_out(reports: "dict[str, PreparationReport]") -> None:
    """A table of the videos that were left out, and why: a line each, however long."""
    bad = []  # one may be in several splits
    for report in reports.values():
        bad += [*report.bad_videos.items(), *((video_id, "it is not there") for video_id in report.missing)]
    width = max((len(one_line(video_id)) for video_id, _ in bad), default=0)
    for video_id, cause in bad:
        echo(f"  {one_line(video_id):{width}}  {one_line(cause)}")
