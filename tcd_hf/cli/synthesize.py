"""`tcd-hf synthesize`: clips of a world of moving shapes and scene text, to train and to measure on."""

from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.cli.common import (
    LoadedModelOption,
    RevisionOption,
    SeveralValues,
    check_output_folder,
    named_model,
    reports_errors,
)

__all__ = ["SynthesizeCommand", "synthesize"]

VIDEO_SIZE = 384  # pixels; as of write_synthetic_videos, whose import takes long


class SynthesizeCommand(SeveralValues):
    """Lets `--splits` take more than one value."""

    several = ("--splits",)


@reports_errors
def synthesize(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the clips go.")],
    splits: Annotated[
        list[str] | None, typer.Option("--splits", metavar="SPLIT...", help="Of train, validation, test; else test.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each split; 20 are one group of each kind.")] = 1000,
    clips_per_video: Annotated[
        int, typer.Option(min=1, metavar="N", help="Join so many clips to a long video, whose captions have times.")
    ] = 1,
    size: Annotated[
        int | None,
        typer.Option(min=2, help="Side of the frames, an even number of pixels.", show_default=str(VIDEO_SIZE)),
    ] = None,
    prepared: Annotated[
        bool, typer.Option("--prepared", help="Write the data set that training takes; no video is made or read.")
    ] = False,
    text_pairs: Annotated[int, typer.Option(min=0, help="With --prepared: further rows, of texts alone.")] = 0,
    model: LoadedModelOption = None,
    revision: RevisionOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the world: the same one gives the same clips.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that make clips.")] = 1,
) -> None:
    r"""Make clips of moving shapes and scene text, with queries and hard negatives: videos, or data to train on.

    Needs the extras tcd-hf\[synthetic] (fonts) and tcd-hf\[train-mini] (words).
    """
    check_output_folder(out, "--out")
    if prepared and size:
        raise typer.BadParameter("--size is for videos: prepared frames have the size of the model's images.")
    model = named_model(model, revision)
    if not prepared and (model or text_pairs):
        raise typer.BadParameter("--model and --text-pairs are for --prepared: videos know no model.")

    from tcd_hf.checkpoints import MINI
    from tcd_hf.data.synthesis import prepare_synthetic_videos, write_synthetic_videos

    names = splits or ["test"]
    options = {"clips_per_video": clips_per_video, "seed": seed, "workers": workers}
    if prepared:
        prepare_synthetic_videos(out, names, clips, text_pairs=text_pairs, model=model or MINI.name, **options)
    else:
        write_synthetic_videos(out, names, clips, size=size or VIDEO_SIZE, **options)
