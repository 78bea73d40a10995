"""`tcd-hf evaluate`: a model measured on a prepared data set."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.choices import EvaluationMode, ScoreNormalisation
from tcd_hf.cli.common import DeviceOption, LoadedModelOption, RevisionOption, named_model, reports_errors, stderr
from tcd_hf.cli.terminal import echo

__all__ = ["evaluate"]


@reports_errors
def evaluate(
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="A data set that `tcd-hf prepare` wrote.")],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="Results; a table and a plot are put beside it.")],
    model: LoadedModelOption = None,
    revision: RevisionOption = None,
    split: Annotated[str, typer.Option(help="Which split is measured.")] = "test",
    mode: Annotated[
        EvaluationMode, typer.Option(help="Rank by the whole score, by the coarse vectors, or by both in turn.")
    ] = "full",
    top_k: Annotated[int, typer.Option(min=1, help="Candidates of the second stage, in mode two-stage.")] = 50,
    batch_size: Annotated[int, typer.Option(min=1, help="Videos embedded at once.")] = 32,
    dual_softmax: Annotated[
        bool,
        typer.Option("--dual-softmax", help="Report this as well, as some papers do: it knows all queries."),
    ] = False,
    qb_norm: Annotated[
        bool, typer.Option("--qb-norm", help="Report this as well: scores against those of training captions.")
    ] = False,
    bank_split: Annotated[str, typer.Option(help="Whose captions these are.")] = "train",
    device: DeviceOption = None,
) -> None:
    r"""Measure a model on a prepared data set: retrieval, by kind of query, and moments where captions have times.

    Writes the results as JSON, of which tcd-hf push makes a model card, and beside it a table of them (.md) and a plot
    of the ranks (.png, with the extra tcd-hf\[plot]). By accelerate launch, several processes share the work.
    """
    from tcd_hf.checkpoints import MINI
    from tcd_hf.evaluation import evaluate_checkpoint
    from tcd_hf.evaluation.report import moments_to_markdown, to_markdown
    from tcd_hf.training.processes import end_process

    asked: dict[ScoreNormalisation, bool] = {"dual-softmax": dual_softmax, "qb-norm": qb_norm}
    results, _, moments = evaluate_checkpoint(
        named_model(model, revision) or MINI.name,
        data,
        split,
        mode,
        top_k,
        batch_size,
        out=out,
        device=device or "auto",
        progress=stderr.is_terminal,
        also=[name for name, wanted in asked.items() if wanted],
        bank_split=bank_split,
    )
    processes, rank = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0")))
    if rank == 0:  # one of several says it
        echo(to_markdown(results))
        if moments:
            echo(f"\n{moments_to_markdown(moments)}")
    if processes > 1:
        end_process(0)
