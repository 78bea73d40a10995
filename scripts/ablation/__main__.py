"""What each part of TCD brings on the synthetic world: one model trained per row and seed, all on the same budget.

    python -m scripts.ablation --model build/mini-image --output ablation --processes 2

The towers are those of one checkpoint and stay as they are: their pooled outputs, before the projections, are computed
once per frame, query and text, and kept on disk. **What a row trains is both projections (of frames, and of queries and
OCR texts) and everything after them**: co-attention, distillation, coarse vector, temporal encoder, logit scale. The
projections start as the checkpoint has them, the rest at its neutral start. A loss that shapes frame and caption
embeddings, as L_hsc does, hence acts on the projections, and cannot teach a tower anything.

A batch is whole blocks of 20 clips, with all hard negatives of each. Learning rates are chosen once, on the validation
split, with all of TCD; nothing else is chosen. There is no early stopping and no dropout. Seeds differ in random
weights and in the order of batches, not in clips. Every row is evaluated on the test split: each query against all
clips, in one stage; TCD also by its coarse vector alone, in two stages, and as it was before training.

A row and seed that has its file in the output folder is not run again. The folder then holds `ablation.json` and
`ablation.md`, of all rows and seeds that are there.
"""

import argparse
import logging
from pathlib import Path

from scripts.ablation.costs import measure_costs
from scripts.ablation.jobs import features, prepare, read, run_job, write
from scripts.ablation.report import summarise, to_markdown
from scripts.ablation.rows import FULL, ROWS, readings_of
from scripts.benchmarks.machine import describe_machine
from scripts.frozen_towers.batches import BLOCKS, Recipe
from scripts.frozen_towers.features import BLOCK, SPLITS, WORLD, encode_split, weights_digest
from scripts.frozen_towers.workers import workers

# Candidates: of the projections, and of what comes after them.
LEARNING_RATES = [
    (3e-5, 3e-4),
    (1e-4, 3e-4),
    (1e-4, 1e-3),
    (3e-4, 1e-3),
    (3e-4, 3e-3),
    (1e-3, 3e-3),
    (3e-4, 1e-2),
    (1e-3, 1e-2),
]
logger = logging.getLogger("ablation")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ablation",
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="folder of a TCD checkpoint with untrained fusion: build/mini-image"
    )
    parser.add_argument("--output", type=Path, default=Path("ablation"), help="folder of features, runs and summary")
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=", ".join(ROWS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--steps", type=int, default=300, help="of every row")
    parser.add_argument(
        "--clips", nargs=3, type=int, default=[4000, 400, 1000], metavar=("TRAIN", "VALIDATION", "TEST")
    )
    parser.add_argument(
        "--learning-rates", nargs=2, type=float, metavar=("PROJECTIONS", "NEW"), help="chosen on validation by default"
    )
    parser.add_argument("--processes", type=int, default=1, help="one thread each")
    args = parser.parse_args(argv)
    if args.steps < 1 or args.processes < 1:
        parser.error(f"--steps and --processes must be 1 or more, got {args.steps} and {args.processes}")
    if min(args.clips) < BLOCK or any(count % BLOCK for count in args.clips) or args.clips[0] < BLOCKS * BLOCK:
        parser.error(f"--clips must be multiples of {BLOCK}, at least {BLOCKS * BLOCK} to train on; got {args.clips}")
    if not (args.model / "model.safetensors").is_file():
        parser.error(f"--model: there is no model.safetensors in {args.model}")
    clips = dict(zip(SPLITS, args.clips, strict=True))
    settings = {"model": weights_digest(args.model), "world": WORLD, "clips": clips, "steps": args.steps}
    settings["learning rates"] = args.learning_rates or [list(rates) for rates in LEARNING_RATES]
    kept = args.output / "settings.json"
    if kept.exists() and read(kept) != settings:
        parser.error(f"--output: {args.output} holds runs with other settings: {kept.read_text(encoding='utf-8')}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write(kept, settings)
    run(args, clips)
    return 0


def run(args: argparse.Namespace, clips: dict[str, int]) -> None:
    """Whatever of the ablation is not in the output folder yet, and its summary."""
    encoded = {split: args.output / "encoded" / f"{split}.safetensors" for split in SPLITS}
    for split, path in encoded.items():
        if not path.exists():
            logger.info("the towers run over %d clips of the %s split", clips[split], split)
            encode_split(args.model, split, clips[split], path, args.processes, readings_of(ROWS))
    with workers(args.processes, prepare, args.model, encoded) as map_runs:
        choice, rates = {}, args.learning_rates
        if rates is None:
            choice = choose_learning_rates(args.output / "learning-rates", args.steps, map_runs)
            rates = choice["chosen"]
        recipe = Recipe(args.steps, *rates)
        slowest_first = sorted(args.rows, key=lambda name: "text_condition" not in ROWS[name].overrides)
        jobs = [
            (args.output / "runs" / f"{name}-{seed}.json", name, seed, recipe, "test")
            for name in slowest_first
            for seed in args.seeds
        ]
        run_missing(jobs, map_runs)
    costs = args.output / "costs.json"
    if not costs.exists():
        with workers(1, prepare, args.model, encoded):
            write(costs, measure_costs(args.model, features["train"], recipe))
    summary = summarise([read(path) for path in sorted((args.output / "runs").glob("*.json"))])
    about = {"settings": read(args.output / "settings.json"), "machine": describe_machine()}
    summary = {**about, **summary, "choice": choice, "costs": read(costs)}
    write(args.output / "ablation.json", summary)
    (args.output / "ablation.md").write_text(to_markdown(summary), encoding="utf-8")
    logger.info("see %s", args.output / "ablation.md")


def choose_learning_rates(folder: Path, steps: int, map_runs) -> dict:
    """The pair with which all of TCD, seed 0, has the best R@1 on the validation split; and what each pair has."""
    jobs = [
        (folder / f"{projections:g}-{new:g}.json", FULL, 0, Recipe(steps, projections, new), "validation")
        for projections, new in LEARNING_RATES
    ]
    run_missing(jobs, map_runs)
    table = [
        {"rates": rates, "R@1": read(path)["results"]["full"]["metrics"]["all queries"]["t2v"]["R@1"]}
        for rates, (path, *_) in zip(LEARNING_RATES, jobs, strict=True)
    ]
    return {"chosen": max(table, key=lambda entry: entry["R@1"])["rates"], "validation": table}


def run_missing(jobs: list[tuple], map_runs) -> None:
    for line in map_runs(run_job, [job for job in jobs if not job[0].exists()]):
        logger.info(line)


if __name__ == "__main__":
    raise SystemExit(main())
