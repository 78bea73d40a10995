"""The ablation's runs in one summary, and as Markdown."""

import textwrap
from collections.abc import Iterable

import numpy as np

from scripts.ablation.rows import FULL, ROWS
from scripts.benchmarks.machine import in_words, table
from tcd_hf.data.synthetic import GROUPS
from tcd_hf.evaluation.report import ALL_QUERIES

__all__ = ["summarise", "to_markdown"]

KINDS = [*GROUPS, ALL_QUERIES]
CUTOFFS = ("R@1", "R@10")
WITHOUT_TRAINING = {  # other ways to rank with a model
    "two-stage": ", two stages, top 50",
    "coarse": ", coarse vector alone",
    "untrained": " before training",
}
LOSSES = ("contrastive_loss", "coarse_loss", "calibration_loss", "pearson_loss")


def spread_of(numbers: Iterable[float]) -> dict:
    """Mean, standard deviation over seeds (of a sample, so `None` of one seed), and the numbers themselves."""
    numbers = list(numbers)
    deviation = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return {"mean": float(np.mean(numbers)), "std": deviation, "seeds": numbers}


def summarise(runs: list[dict]) -> dict:
    """Rows in the order of the ablation, over all seeds that were run; and what is asked of them.

    Args:
        runs: as `train_and_evaluate` gives them.

    Returns:
        `dict`: `rows`, by name, each with `title`, `seeds`, `recall` (by kind and cutoff), `binding`, `losses` and
        `step_seconds`; and `required`, a list of `{"what", "difference", "needed", "holds"}`.
    """
    rows = {}
    for name, row in ROWS.items():
        own = sorted((run for run in runs if run["row"] == name), key=lambda run: run["seed"])
        if not own:
            continue
        rows[name] = {"title": row.title, **recalls(own, "full"), **training(own)}
        for way, how in WITHOUT_TRAINING.items():
            if way in own[0]["results"]:
                key = way if name == FULL else f"{name}, {way}"
                rows[key] = {"title": row.title + how, **recalls(own, way)}
    return {"rows": rows, "required": requirements(rows)}


def recalls(runs: list[dict], way: str) -> dict:
    results = [run["results"][way] for run in runs]
    return {
        "seeds": [run["seed"] for run in runs],
        "recall": {
            kind: {cutoff: spread_of(each["metrics"][kind]["t2v"][cutoff] for each in results) for cutoff in CUTOFFS}
            for kind in KINDS
        },
        "binding": spread_of(each["binding"] for each in results),
    }


def training(runs: list[dict]) -> dict:
    losses = [name for name in LOSSES if name in runs[0]["training"]]
    return {
        "losses": {name: spread_of(run["training"][name] for run in runs) for name in losses},
        "step_seconds": spread_of(run["training"]["step_seconds"] for run in runs),
        "trained_parameters": runs[0]["trained_parameters"],
        "logit_scale": spread_of(run["logit_scale"] for run in runs),
    }


def requirements(rows: dict) -> list[dict]:
    """TCD against no OCR on text queries, by 30 points; against the text condition alone on temporal ones, by more than
    the larger of the two spreads. Left out while rows or seeds are missing.
    """
    asked = [("no-ocr", "text", 0.3), *((f"gate-{tau}", "temporal", None) for tau in ("0.1", "1", "5", "10"))]
    required = []
    for name, kind, needed in asked:
        if FULL not in rows or name not in rows:
            continue
        ours, other = (rows[each]["recall"][kind]["R@1"] for each in (FULL, name))
        if needed is None:
            if ours["std"] is None or other["std"] is None:
                continue
            needed = max(ours["std"], other["std"])
        difference = ours["mean"] - other["mean"]
        what = f"all of TCD above {rows[name]['title']}, {kind} queries"
        holds = difference >= needed if kind == "text" else difference > needed
        required.append({"what": what, "difference": difference, "needed": needed, "holds": bool(holds)})
    return required


# Markdown ------------------------------------------------------------------------------------------------------------
def to_markdown(summary: dict) -> str:
    """The summary with what was measured, and how, as a page."""
    settings = summary["settings"]
    clips = settings["clips"]
    parts = [
        "# Ablation",
        f"Synthetic world, seed {settings['world']}: {clips['test']} test clips, each query against all of them. "
        f"{settings['steps']} steps on {clips['train']} clips for every row. The towers of the checkpoint, its fusion "
        f"untrained (weights `{settings['model']}`) stay as they are; what is trained are both projections and "
        "everything after them. "
        "Text to video, in per cent: R@1 / R@10, mean ± standard deviation over seeds (R@1). *Binding*: temporal "
        "queries that score higher with their clip than with the one that shows the same two at other times "
        "(chance is 50).",
        f"Made by `python -m scripts.ablation --model FOLDER` on {in_words(summary['machine'])}.",
        results_table(summary["rows"]),
        training_table(summary["rows"]),
    ]
    if summary["required"]:
        parts.append(required_table(summary["required"]))
    if summary["choice"]:
        parts.append(choice_text(summary["choice"], clips["validation"]))
    parts.append(costs_text(summary["costs"]))
    return "\n\n".join(map(wrapped, parts)) + "\n"


def wrapped(text: str) -> str:
    """Paragraphs in lines of a page; tables stay as they are."""
    return "\n\n".join(each if each.startswith("|") else textwrap.fill(each, 120) for each in text.split("\n\n"))


def results_table(rows: dict) -> str:
    lines = [["", *KINDS, "binding", "seeds"]]
    for row in rows.values():
        cells = [
            f"{both(row['recall'][kind]['R@1'])} / {100 * row['recall'][kind]['R@10']['mean']:.1f}" for kind in KINDS
        ]
        lines.append([row["title"], *cells, both(row["binding"]), str(len(row["seeds"]))])
    return table(lines)


def training_table(rows: dict) -> str:
    """How training ended: a part that does not help may not have been trained."""
    lines = [["losses, mean of the last tenth", *LOSSES, "log scale", "trained parameters", "s a step"]]
    for row in rows.values():
        if "losses" in row:
            losses = [f"{row['losses'][name]['mean']:.3f}" if name in row["losses"] else "" for name in LOSSES]
            seconds = f"{row['step_seconds']['mean']:.3f}"
            scale = f"{row['logit_scale']['mean']:.2f}"
            lines.append([row["title"], *losses, scale, f"{row['trained_parameters']:,}", seconds])
    return table(lines)


def required_table(required: list[dict]) -> str:
    lines = [["points R@1", "difference", "needed", ""]]
    for each in required:
        verdict = "holds" if each["holds"] else "FAILS"
        lines.append([each["what"], f"{100 * each['difference']:.1f}", f"{100 * each['needed']:.1f}", verdict])
    return table(lines)


def choice_text(choice: dict, num_clips: int) -> str:
    tried = "; ".join(
        f"{projections:g} and {new:g}: {100 * entry['R@1']:.1f}"
        for entry in choice["validation"]
        for projections, new in [entry["rates"]]
    )
    projections, new = choice["chosen"]
    return (
        f"Learning rates of projections and of the rest: {projections:g} and {new:g}, chosen by R@1 of all of TCD "
        f"(seed 0) on {num_clips} validation clips. Tried: {tried}."
    )


def costs_text(costs: dict) -> str:
    encoding = [["OCR encoding", "texts a video", "tokens a text", "MFLOPs a video", "ms a video"]]
    for way in costs["encoding"]:
        numbers = [f"{way['texts']:.1f}", f"{way['tokens']:.1f}", f"{way['flops'] / 1e6:,.0f}"]
        encoding.append([way["title"], *numbers, f"{1000 * way['seconds']:.1f}"])
    steps = [["after the towers", "trained parameters", "s a training step"]]
    steps += [[way["title"], f"{way['parameters']:,}", f"{way['step_seconds']:.3f}"] for way in costs["training"]]
    return (
        f"Cost of OCR by this checkpoint's text tower, {costs['batch_size']} videos at once, one thread; texts padded "
        f"to the longest of their batch.\n\n{table(encoding)}\n\n{table(steps)}"
    )


def both(spread: dict) -> str:
    mean = f"{100 * spread['mean']:.1f}"
    return mean if spread["std"] is None else f"{mean} ± {100 * spread['std']:.1f}"
