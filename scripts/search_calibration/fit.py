"""Fits the search score of a checkpoint on generated collections, and writes it into its configuration.

    python -m scripts.search_calibration.fit --model build/mini

Only `search_calibration` in `config.json` changes. Videos, queries and how they are drawn: `material.py`; the form, a
logistic map of five parts, was chosen by `python -m scripts.benchmarks.fusion`, which also checks what was fitted, on
the other half of the material. No real clip is looked at. Needs the extras `[train-mini]` and `[synthetic]`.
"""

import argparse
import json
from pathlib import Path

import torch

from scripts.search_calibration.forms import ALL, fit_logistic, meaning_line
from scripts.search_calibration.material import collections, halves, make_material
from tcd_hf import TCDModel, TCDProcessor, load

COLLECTIONS = 12
DIGITS = 3


def fit(model: TCDModel, processor: TCDProcessor, text_pairs: int = 600, clips: int = 320) -> dict[str, float]:
    """What [`TCDConfig`] takes as `search_calibration`, fitted on the first half of the material."""
    drawn = list(collections(halves(make_material(model, processor, text_pairs, clips))[0], COLLECTIONS))
    found, line = fit_logistic(drawn, ALL), meaning_line(drawn)
    if line is not None:
        found["means_from"] = line
    return {name: round(value, DIGITS) for name, value in found.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder, whose config.json is written")
    parser.add_argument("--text-pairs", type=int, default=600, help="generated pairs for spelling")
    parser.add_argument("--clips", type=int, default=320, help="clips of the synthetic world")
    parser.add_argument("--dry-run", action="store_true", help="print what was fitted, and write nothing")
    args = parser.parse_args(argv)
    path = args.model / "config.json"
    if not path.is_file():
        parser.error(f"--model: there is no config.json in {args.model}")
    model, processor = load(args.model, dtype=torch.float32)
    found = fit(model.eval(), processor, args.text_pairs, args.clips)
    print(json.dumps({"search_calibration": found}, indent=2))
    if not args.dry_run:
        config = json.loads(path.read_text(encoding="utf-8"))
        config["search_calibration"] = found
        path.write_text(json.dumps(dict(sorted(config.items())), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
