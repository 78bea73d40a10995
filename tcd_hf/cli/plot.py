"""`tcd-hf plot`: pictures of how a model reads a clip, and of a training run."""

from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.cli.common import DeviceOption, LoadedModelOption, RevisionOption, load, named_model, reports_errors

__all__ = ["plot"]

plot = typer.Typer(no_args_is_help=True)

VideoArgument = Annotated[Path, typer.Argument(metavar="VIDEO", help="File to draw.")]
OutOption = Annotated[Path, typer.Option(metavar="FILE", help="Picture: .png, .svg or .pdf.")]


@plot.callback()
def main() -> None:
    r"""Draw how a model reads a clip, or how a training went; needs the extra tcd-hf\[plot]."""


@plot.command()
@reports_errors
def calibration(
    video: VideoArgument,
    out: OutOption,
    model: LoadedModelOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = None,
) -> None:
    """Draw the calibration cycle of a clip: from each caption to a frame, and back."""
    from tcd_hf.visualization import plot_calibration_cycle

    plot_calibration_cycle(*load(named_model(model, revision), device=device), video, out)


@plot.command()
@reports_errors
def windows(
    video: VideoArgument,
    query: Annotated[str, typer.Option(help="What to look for.")],
    out: OutOption,
    model: LoadedModelOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = None,
) -> None:
    """Draw the similarity of a query with every window of a clip."""
    if not query.strip():
        raise typer.BadParameter("--query is empty: say what to look for.")
    from tcd_hf.visualization import plot_window_similarity

    plot_window_similarity(*load(named_model(model, revision), device=device), query, video, out)


@plot.command()
@reports_errors
def training(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run, or its training_log.jsonl.")],
    out: OutOption,
    title: Annotated[str | None, typer.Option(help="Above the picture.")] = None,
) -> None:
    """Draw a training run: losses, and R@1 on the validation split, over steps."""
    from tcd_hf.visualization import plot_training

    plot_training(run, out, title)
