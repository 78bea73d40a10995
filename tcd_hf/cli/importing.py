"""`tcd-hf import`: a checkpoint of another code base."""

from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.choices import CheckpointFormat
from tcd_hf.cli.common import quieten_bars, reports_errors
from tcd_hf.cli.terminal import echo

__all__ = ["import_model"]


@reports_errors
def import_model(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What the published code saved.")],
    format: Annotated[CheckpointFormat, typer.Option("--format", help="Whose code saved it.")],
    processor: Annotated[
        str, typer.Option(metavar="NAME", help="Hub name or folder of the CLIP that it was trained from.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to save model and processor.")],
    num_frames: Annotated[int | None, typer.Option(min=1, help="Frames of a video, where it does not tell.")] = None,
    max_length: Annotated[int, typer.Option(min=3, help="Tokens of a query at most.")] = 32,
    allow_unmapped: Annotated[
        bool, typer.Option("--allow-unmapped", help="Warn of weights that are left over or missing.")
    ] = False,
) -> None:
    """Import a checkpoint of EERCF, CLIP4Clip or X-CLIP as a model of this package.

    Of X-CLIP these are the towers and the temporal encoder; its own score is not reproduced.
    """
    from tcd_hf.importing import import_checkpoint

    quieten_bars()
    model, _ = import_checkpoint(checkpoint, format, processor, out, num_frames, max_length, allow_unmapped)
    echo(f"{format}: {model.config.num_frames} frames, {model.num_parameters():,} weights, in {out}")
