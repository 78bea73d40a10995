"""Writes the model card of the checkpoint inside the package: its figures come from the logs that lie beside it.

python -m scripts.train_mini.card tcd_hf/checkpoints/tcd-mini
"""

import argparse
import json
from pathlib import Path
from string import Template

__all__ = ["make_card", "read_log"]

TEMPLATE = Path(__file__).with_name("card.md")
KINDS = ("brand", "contact", "name", "number", "other_script", "place", "plate", "price", "score", "time", "title",
         "words")  # fmt: skip
MEANING = ("meaning: signs", "meaning: dictionary")
CURVE = {"all": "spelling", "meaning: signs": "signs", "meaning: dictionary": "dictionary"}
QUERIES = ("all queries", "text", "visual", "both", "temporal")


def make_card(folder: Path) -> str:
    """The card of a checkpoint.

    Args:
        folder: with `training_log_{text,text_second,text_mean,image,fusion}.jsonl` and `model.safetensors`. Where they
            are, also `training_log_text_alone.jsonl`, of a run without distillation, and `world.json`, what `tcd-hf
            evaluate` wrote of the synthetic world's test split.
    """
    steps = ("text", "text_second", "text_mean", "image", "fusion")
    text, second, mean, image, fusion = (read_log(folder, step) for step in steps)
    runs, note = {"with distillation": text[1:]}, ""
    if (folder / "training_log_text_alone.jsonl").exists():
        runs["without"] = alone = read_log(folder, "text_alone")[1:]
        note = f"\n\nThe run without it (`--distillation 0`) had {alone[-1]['step']} steps in all."
    start, best = text[1], mean[-1]
    by_run = [max(run[1:], key=lambda entry: entry["sum"]) for run in (text, second)]
    world = []
    if (folder / "world.json").exists():
        metrics = json.loads((folder / "world.json").read_text(encoding="utf-8"))["results"]
        world = [_row("test, 1,000 clips (`tcd-hf evaluate`)", [metrics[kind]["t2v"]["R@1"] for kind in QUERIES])]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        megabytes=f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f}",
        vocabulary=f"{text[0]['vocabulary']:,}",
        text_parameters=f"{text[0]['parameters'] / 1e6:.1f}",
        distillation=f"{text[0]['distillation']:g}",
        second_distillation=f"{second[0]['distillation']:g}",
        best_steps=" and ".join(str(run["step"]) for run in by_run),
        steps=text[-1]["step"],
        text_minutes=_minutes(text),
        second_minutes=_minutes(second),
        image_minutes=_minutes(image),
        fusion_minutes=_minutes(fusion),
        spelling="\n".join(
            _row(kind.replace("_", " "), [entry[kind] for entry in (start, *by_run, best)]) for kind in ("all", *KINDS)
        ),
        meaning="\n".join(
            _row(name, [entry[f"meaning: {name}"] for entry in (start, *by_run, best)])
            for name in ("signs", "dictionary")
        ),
        curve=_curve(runs) + note,
        patch_color=_percent(image[-1]["patch_color"]),
        patch_shape=_percent(image[-1]["patch_shape"]),
        image_steps=image[-1]["step"],
        fusion_steps=fusion[-2]["step"],
        share=fusion[-1]["share"],
        world="\n".join(
            [
                _row("validation, 400 clips, before its fusion was trained", [fusion[0][kind] for kind in QUERIES]),
                _row("validation, 400 clips", [fusion[-1][kind] for kind in QUERIES]),
                *world,
            ]
        ),
        pairs_start=f"{fusion[0]['text pairs']:.3f}",
        pairs_mean=f"{fusion[-1]['text pairs']:.3f}",
    )


def read_log(folder: Path, step: str) -> list[dict]:
    """The lines of a step's log."""
    lines = (folder / f"training_log_{step}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _row(name: str, values: list[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"


def _curve(runs: dict[str, list[dict]]) -> str:
    """A table with one row for each step at which any of the runs was validated."""
    columns = [(name, run) for name in CURVE for run in runs]
    titles = [f"{CURVE[name]}, {run}" for name, run in columns]
    by_step = {run: {entry["step"]: entry for entry in entries} for run, entries in runs.items()}
    lines = [f"| step | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for step in sorted(set().union(*by_step.values())):
        cells = [f"{by_step[run][step][name]:.3f}" if step in by_step[run] else "" for name, run in columns]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _minutes(log: list[dict]) -> str:
    return f"{log[-1]['seconds'] / 60:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the checkpoint")
    folder = parser.parse_args(arguments).folder
    (folder / "README.md").write_text(make_card(folder), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
