"""Measures forms of the search score on generated collections: fitted on one half of them, judged on the other.

    python -m scripts.benchmarks.fusion                        # the package's checkpoint
    python -m scripts.benchmarks.fusion --model build/mini --plot build/reliability.png

What a calibrated checkpoint holds rests on this, not on the real clips it is shown on. Queries are spelled, misspelt,
by meaning, and visual ones of the synthetic world; collections have 30, 100 and 300 videos. The reliability of the last
form, or of the checkpoint's own calibration where it has one, is that of the ten hits each query shows, half of whose
queries have no answer in their collection. Needs the extras `[train-mini]`, `[synthetic]` and `[plot]`.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers.utils import logging

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.search_calibration.forms import FORMS, folded_shares, judge, shown_scores
from scripts.search_calibration.material import KINDS, collections, halves, make_material
from scripts.search_calibration.reliability import Bin, calibration_error, plot_reliability, reliability
from tcd_hf import load
from tcd_hf.choices import WEAK_BELOW
from tcd_hf.index.fusing import Fusion

OWN = "the checkpoint's own calibration"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", default="tcd-mini", help="model folder or Hub id")
    parser.add_argument("--collections", type=int, default=12, help="of each half")
    parser.add_argument("--text-pairs", type=int, default=600, help="generated pairs for spelling")
    parser.add_argument("--clips", type=int, default=320, help="clips of the synthetic world")
    parser.add_argument("--plot", type=Path, help="also draw the reliability into this file")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    logging.set_verbosity_error()
    report = measure(args.model, args.collections, args.text_pairs, args.clips)
    print(to_markdown(report))
    if args.plot:
        plot_reliability([Bin(**each) for each in report["reliability"]], args.plot)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(name: str, count: int, text_pairs: int, clips: int) -> dict:
    """Recall of each form by kind of query, and the reliability of the last one."""
    model, processor = load(name, dtype=torch.float32)
    model.eval()
    material = halves(make_material(model, processor, text_pairs, clips))
    fitted_on, judged_on = (list(collections(half, count)) for half in material)
    scorers = {form: fit(fitted_on) for form, fit in FORMS.items()}
    if model.config.search_calibration is not None:
        own = Fusion.of(model.config)
        scorers[OWN] = lambda parts: own.score(parts, parts["lexical"])
    last = list(scorers.values())[-1]
    bins = reliability(*shown_scores(judged_on, last))
    return {
        "machine": describe_machine(),
        "recall": {form: judge(judged_on, scorer) for form, scorer in scorers.items()},
        "reliability": [each._asdict() for each in bins],
        "calibration_error": calibration_error(bins),
        "folded": folded_shares(judged_on, last),
    }


def to_markdown(report: dict) -> str:
    """The report as Markdown: R@1 / R@5 by kind of query, and the reliability."""
    rows = [["ranked by", *KINDS]]
    for form, recall in report["recall"].items():
        rows.append([form, *(" / ".join(f"{share:.3f}" for share in recall[kind][:2]) for kind in KINDS)])
    bins = [["score", "hits", "mean score", "right"]]
    for each in report["reliability"]:
        span = f"{each['low']:g} to {each['high']:g}"
        bins.append([span, each["count"], f"{each['said']:.3f}", f"{each['right']:.3f}"])
    return "\n\n".join(
        [
            in_words(report["machine"]),
            "R@1 / R@5 of held-out queries that have an answer:",
            table(rows),
            f"Hits shown, by score (mean difference {report['calibration_error']:.3f}):",
            table(bins),
            f"Of the right videos that are shown first, those below {WEAK_BELOW}, which are folded as weak matches:",
            table([[*report["folded"]], [f"{share:.3f}" for share in report["folded"].values()]]),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
