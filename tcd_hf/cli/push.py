"""`tcd-hf push`: a checkpoint published on the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.cli.common import SeveralValues, quieten_bars, reports_errors
from tcd_hf.cli.terminal import echo

__all__ = ["PushCommand", "push"]


class PushCommand(SeveralValues):
    """Lets `--results` take more than one value."""

    several = ("--results",)


def _check_repo_id(value: str) -> str:
    from tcd_hf.publishing import check_repo_id

    try:
        return check_repo_id(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@reports_errors
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A saved model and processor.")],
    repo_id: Annotated[
        str, typer.Option(metavar="ORG/NAME", callback=_check_repo_id, help="Where on the Hub; made if need be.")
    ],
    results: Annotated[
        list[str] | None,
        typer.Option("--results", metavar="[NAME=]FILE...", help="Results of `tcd-hf evaluate`, for the card."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A private repository; refuse a public one.")] = False,
    dry_run: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write what would be published here; upload nothing.")
    ] = None,
) -> None:
    """Publish a model on the Hugging Face Hub, or write the folder that would be published.

    Published are weights, configuration, processor, tokenizer, the code that trust_remote_code needs, and a model card;
    a README.md in FOLDER is your part of the card. Uploading asks for a login (hf auth login) or HF_TOKEN.
    """
    from tcd_hf.publishing import export, read_results_by_name, upload

    quieten_bars()
    measured = read_results_by_name(results or [])
    if dry_run:
        export(folder, dry_run, repo_id, measured)
        _list_files(dry_run)
        return
    with tempfile.TemporaryDirectory() as output:
        export(folder, Path(output), repo_id, measured)
        _list_files(Path(output))
        echo(upload(Path(output), repo_id, private))


def _list_files(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            echo(f"{path.stat().st_size:>13,}  {path.relative_to(folder)}")
