"""The command `tcd-hf`: one verb a module, heavy imports only inside the verbs."""

from typing import Annotated

import typer

from tcd_hf.cli.demo import demo
from tcd_hf.cli.export import export, list_videos, show
from tcd_hf.cli.index import index
from tcd_hf.cli.ocr import ocr
from tcd_hf.cli.search import SearchCommand, search
from tcd_hf.cli.serve import serve
from tcd_hf.version import __version__

__all__ = ["app"]

app = typer.Typer(
    name="tcd-hf",
    help="Find the video a sentence describes, reading the text that appears in the video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"tcd-hf {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Find the video a sentence describes, reading the text that appears in the video."""


app.command()(ocr)
app.command()(index)
app.command(cls=SearchCommand)(search)
app.command()(show)
app.command("list")(list_videos)
app.command()(export)
app.command()(serve)
app.command()(demo)
