"""`tcd-hf export`, `show` and `list`: what an index holds, as files and for people."""

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tcd_hf.choices import TextFormat
from tcd_hf.cli.common import (
    IndexesOption,
    JsonOption,
    check_output_folder,
    one_or_several,
    print_json,
    reports_errors,
    split_paths,
    stderr,
    stdout,
)
from tcd_hf.cli.terminal import echo, shown
from tcd_hf.clock import clock
from tcd_hf.reading.files import absolute_path, write_whole

if TYPE_CHECKING:
    from tcd_hf import VideoIndex
    from tcd_hf.index.joint_index import JointIndex
    from tcd_hf.reading.text_files import Cue

__all__ = ["export", "list_videos", "print_cues", "show"]


@reports_errors
def export(
    index_uris: IndexesOption,
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VIDEO...]", help="Videos of the index, or folders of such; all by default."),
    ] = None,
    file_format: Annotated[
        TextFormat, typer.Option("--format", help="SubRip or WebVTT, as players show them, or a table, or JSON.")
    ] = "srt",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FOLDER", help="Write a file per video here; without it, one video goes to the terminal."
        ),
    ] = None,
) -> None:
    """Write the texts of videos as subtitles or tables: one entry per text, for as long as it is seen."""
    from tcd_hf import VideoIndex

    check_output_folder(folder, "--to")
    index = VideoIndex.open(one_or_several(index_uris))
    paths = _chosen(index, videos or [])
    if folder is None:
        if len(paths) > 1:
            raise typer.BadParameter(
                f"{len(paths)} videos are {len(paths)} files: say where, --to FOLDER.", param_hint="--to"
            )
        echo(_written(index.transcript(paths[0]), file_format), exact=True, nl=False)
        return
    for path, file in files_for(paths, folder, file_format).items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, _written(index.transcript(path), file_format).encode())
    stderr.print(f"{len(paths)} files in {folder}", markup=False, highlight=False, soft_wrap=True)


@reports_errors
def show(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video of the index.")],
    index_uris: IndexesOption,
    as_json: JsonOption = False,
) -> None:
    """Print what was read in a video of an index, with its times."""
    from tcd_hf import VideoIndex

    cues = VideoIndex.open(one_or_several(index_uris)).transcript(video)
    if as_json:
        print_json({"video": absolute_path(video), "texts": [vars(cue) for cue in cues]})
    elif cues:
        print_cues(cues)
    else:
        stderr.print("No text was read in it.")


@reports_errors
def list_videos(index_uris: IndexesOption, as_json: JsonOption = False) -> None:
    """List the videos of an index."""
    from tcd_hf import VideoIndex

    entries = _entries(VideoIndex.open(one_or_several(index_uris)))
    if as_json:
        print_json({"index": one_or_several(index_uris), "videos": entries})
        return
    if not entries:
        stderr.print(f"{', '.join(index_uris)} is empty: add videos with `tcd-hf index`.", markup=False, soft_wrap=True)
        return
    folder, names = split_paths([entry["path"] for entry in entries])
    if folder:
        stdout.print(shown(folder), soft_wrap=True, highlight=False)
    table = Table.grid(padding=(0, 2))
    for entry, name in zip(entries, names, strict=True):
        text = "text" if entry["has_text"] else "no text"
        table.add_row(clock(entry["duration"]), text, shown(name))
    stdout.print(table, soft_wrap=True, highlight=False)


def print_cues(cues: "Sequence[Cue]") -> None:
    """Texts, a line each, with their times; what was not read in the picture says where it comes from."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for cue in cues:
        source = "" if cue.source == "ocr" else f" ({cue.source})"
        table.add_row(f"{clock(cue.start)}-{clock(cue.end)}", shown(cue.text + source))
    stdout.print(table)


def _chosen(index: "VideoIndex | JointIndex", videos: Sequence[str]) -> list[str]:
    """Paths of an index that are meant by files and folders; all, where there are none."""
    paths = index.paths
    if not paths:
        raise ValueError(f"The index {index.uri} is empty: add videos to it first.")
    chosen: dict[str, None] = {}
    for video in videos:
        asked = absolute_path(video)
        found = [path for path in paths if path == asked or path.startswith(asked.rstrip("/") + "/")]
        if not found:
            raise ValueError(f"The index {index.uri} has no video {asked}: `tcd-hf list` names those it has.")
        chosen.update(dict.fromkeys(found))
    return list(chosen) or paths


def _entries(index: "VideoIndex | JointIndex") -> list[dict[str, Any]]:
    """What there is to say of each video."""
    videos: dict[str, dict[str, Any]] = {}
    for row in index.read(["path", "duration", "fps", "has_text"]).to_pylist():
        entry = videos.setdefault(row["path"], {**row, "segments": 0})
        entry["segments"] += 1
        entry["has_text"] |= row["has_text"]
    return list(videos.values())


def _written(cues: "Sequence[Cue]", file_format: TextFormat) -> str:
    from tcd_hf.reading.text_files import write_cues

    return write_cues(cues, file_format)


def files_for(paths: Sequence[str], folder: Path, file_format: TextFormat) -> dict[str, Path]:
    """A file of its own for each video: named as it is, in the subfolders in which the videos lie."""
    files: dict[str, Path] = {}
    taken: set[str] = set()  # as disks see them that do not tell capitals from small letters
    for path, name in zip(paths, split_paths(paths)[1], strict=True):
        if os.path.isabs(name) or ".." in Path(name).parts:  # names come from an index, which anybody may have made
            raise ValueError(f"The index names a video {path!r}, whose file would be written outside of {folder}.")
        file = folder / Path(name).with_suffix(f".{file_format}")
        for number in count(1):
            if str(file).casefold() not in taken:
                break
            more = f".{number}" if number > 1 else ""  # a.mp4 beside a.mkv
            file = folder / f"{name}{more}.{file_format}"
        taken.add(str(file).casefold())
        files[path] = file
    return files
