"""Measures what encoding captions costs with the text towers of several checkpoints, in turn, in one run.

    python -m scripts.benchmarks.text_towers tcd-mini build/mini

The captions are generated as training's are (`tcd_hf.data.text_pairs`), 100 at a time, on one thread. Prints a Markdown
table. Needs the extra `[train-mini]`.
"""

import argparse
import statistics
import time

import torch
from transformers.utils import logging

from scripts.benchmarks.machine import describe_machine, in_words, table
from tcd_hf import load
from tcd_hf.data.text_pairs import TextPairGenerator

CAPTIONS = 100


@torch.inference_mode()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="model folders; tcd-mini is the one in the package")
    parser.add_argument("--rounds", type=int, default=5, help="each model once a round; the median counts")
    args = parser.parse_args(argv)
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    captions = [pair.caption for pair in TextPairGenerator(5, no_text_share=0.0).take(CAPTIONS)]
    loaded = {name: load(name) for name in args.models}
    seconds: dict[str, list[float]] = {name: [] for name in loaded}
    for _ in range(args.rounds + 1):
        for name, (model, processor) in loaded.items():
            start = time.perf_counter()
            model.get_text_features(**processor(text=captions))
            seconds[name].append(time.perf_counter() - start)
    rows = [["text tower of", "dtype", "parameters", f"ms per {CAPTIONS} captions", "times the first"]]
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, (model, _) in loaded.items():
        size = sum(weight.numel() for weight in model.backbone.text_model.parameters())
        share = medians[name] / medians[args.models[0]]
        rows.append([name, str(model.dtype), f"{size / 1e6:.1f} M", f"{1000 * medians[name]:.0f}", f"{share:.1f}"])
    print(f"{in_words(describe_machine())}\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
