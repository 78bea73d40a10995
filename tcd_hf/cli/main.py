"""The command `tcd-hf`: one verb a module, heavy imports only inside the verbs."""

from typing import Annotated

import typer

from tcd_hf.cli.common import show_tracebacks
from tcd_hf.cli.demo import demo
from tcd_hf.cli.evaluate import evaluate
from tcd_hf.cli.export import export, list_videos, show
from tcd_hf.cli.importing import import_model
from tcd_hf.cli.index import index
from tcd_hf.cli.ocr import ocr
from tcd_hf.cli.plot import plot
from tcd_hf.cli.prepare import PrepareCommand, prepare
from tcd_hf.cli.push import PushCommand, push
from tcd_hf.cli.recipes import recipes
from tcd_hf.cli.search import SearchCommand, search
from tcd_hf.cli.serve import serve
from tcd_hf.cli.synthesize import SynthesizeCommand, synthesize
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
    debug: Annotated[bool, typer.Option("--debug", help="Show errors with the code that they come from.")] = False,
) -> None:
    """Find the video a sentence describes, reading the text that appears in the video."""
    show_tracebacks(debug)


SEARCH, TRAINING = "Search", "Train and publish"  # groups of the help page

app.command(rich_help_panel=SEARCH)(ocr)
app.command(rich_help_panel=SEARCH)(index)
app.command(cls=SearchCommand, rich_help_panel=SEARCH)(search)
app.command(rich_help_panel=SEARCH)(show)
app.command("list", rich_help_panel=SEARCH)(list_videos)
app.command(rich_help_panel=SEARCH)(export)
app.command(rich_help_panel=SEARCH)(serve)
app.command(rich_help_panel=SEARCH)(demo)
app.command(cls=SynthesizeCommand, rich_help_panel=TRAINING)(synthesize)
app.command(cls=PrepareCommand, rich_help_panel=TRAINING)(prepare)
app.command(rich_help_panel=TRAINING)(recipes)
app.command("import", rich_help_panel=TRAINING)(import_model)
app.command(rich_help_panel=TRAINING)(evaluate)
app.command(cls=PushCommand, rich_help_panel=TRAINING)(push)
app.add_typer(plot, name="plot", rich_help_panel=TRAINING)
