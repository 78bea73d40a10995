"""`tcd-hf recipes`: what the package brings to train by."""

from typing import Annotated

import typer
from rich.table import Table

from tcd_hf.cli.common import reports_errors, stdout
from tcd_hf.cli.terminal import echo

__all__ = ["recipes"]


@reports_errors
def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this one, as YAML to copy and change.")
    ] = None,
) -> None:
    """List the recipes of the package, or print one: accelerate launch -m tcd_hf.training NAME trains by it."""
    from tcd_hf.training.recipe import find_recipe, list_recipes

    if name is not None:
        echo(find_recipe(name).read_text(encoding="utf-8"), exact=True, nl=False)
        return
    table = Table("recipe", "what it trains", box=None, pad_edge=False)
    for each, description in list_recipes().items():
        table.add_row(each, description)
    stdout.print(table)
