"""Measures a model on a split of a prepared data set: retrieval metrics of both directions, by type of query if known,
and where captions have times, metrics of the moments that are found in their own videos.

    python scripts/evaluate.py --model FOLDER --data PREPARED_FOLDER --split test --mode full --out results.json

Writes results.json, a table of it (results.md), and a plot of the ranks (results.png, with the extra `[plot]`). The
JSON file says what was measured, and by which model; scripts/push_to_hub.py makes a model card of it.
"""

import argparse
import sys
from pathlib import Path

from datasets import Dataset, load_from_disk

from tcd_hf import load
from tcd_hf.evaluation.evaluate_model import MODES, curves_by_query_type, evaluate_model, query_types_of
from tcd_hf.evaluation.rank_plot import plot_ranks
from tcd_hf.evaluation.report import moments_to_markdown, to_markdown, write_results
from tcd_hf.reading.fingerprints import model_fingerprint, model_name


def main(argv: list[str] | None = None) -> int:
    """Evaluates; returns the exit status."""
    args = _parse(argv)
    try:
        dataset = _load_split(args.data, args.split)
        model, processor = load(args.model, device="auto")
        results, ranks, moments = evaluate_model(model, processor, dataset, args.mode, args.top_k, args.batch_size)
        about = {
            "dataset": args.data.resolve().name,
            "split": args.split,
            "mode": args.mode,
            **({"top_k": args.top_k} if args.mode == "two-stage" else {}),
            "num_texts": len(ranks["t2v"]),
            "num_videos": len(dataset),
            "model": model_name(model),
            "model_fingerprint": model_fingerprint(model),
        }
        write_results(results, args.out, about, moments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(to_markdown(results))
    if moments:
        print(f"\n{moments_to_markdown(moments)}")
    try:
        curves = curves_by_query_type(ranks, query_types_of(dataset))
        plot_ranks(curves, args.out.with_suffix(".png"), f"{about['dataset']}, {args.split}, {args.mode}")
    except ImportError as error:
        print(f"No plot: {error}", file=sys.stderr)
    return 0


def _load_split(folder: Path, split: str) -> Dataset:
    if not (folder / split / "dataset_info.json").is_file():
        splits = sorted(path.parent.name for path in folder.glob("[!.]*/dataset_info.json"))
        raise ValueError(
            f"{folder} holds no prepared split {split!r}, but {splits}. Give --data the folder that scripts/prepare.py "
            "wrote."
        )
    return load_from_disk(folder / split)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tcd-mini", help="folder or Hub id; by default the package's small one")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="prepared by scripts/prepare.py")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--mode", choices=MODES, default="full", help="what ranks (default: full)")
    parser.add_argument("--top-k", type=int, default=50, help="candidates of the second stage (default: 50)")
    parser.add_argument("--batch-size", type=int, default=32, help="videos embedded at once (default: 32)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="of the results")
    args = parser.parse_args(argv)
    for name in ("top_k", "batch_size"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if args.out.suffix != ".json":
        parser.error(f"--out must end in .json, got {args.out}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
