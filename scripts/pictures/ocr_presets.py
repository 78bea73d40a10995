"""Draws what each way of reading finds against what it costs, for the documentation.

    python -m scripts.pictures.ocr_presets ocr.json --out docs/pictures/ocr_presets.svg

`ocr.json` is written by `python -m scripts.benchmarks.ocr --json`. Needs the extra `[plot]`.
"""

import argparse
import json
from pathlib import Path

from scripts.benchmarks.ocr.__main__ import cpu
from tcd_hf.visualization.style import LINES, new_figure


def main(argv: list[str] | None = None) -> int:
    """Draws the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="what the benchmark wrote")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    args = parser.parse_args(argv)
    ways = json.loads(args.report.read_text("utf-8"))["ways"]
    with new_figure(5.6, 3.2, args.out) as figure:
        axes = figure.subplots()
        in_order = sorted(ways.items(), key=lambda each: cpu(each[1]) / each[1]["seconds"]["video"])
        for (name, way), (colour, _) in zip(in_order, LINES, strict=False):
            place = (cpu(way) / way["seconds"]["video"], way["found"])
            axes.plot(*place, "o", color=colour, markersize=8, label=name)
        axes.set(
            title="Text found against time",
            xlabel="seconds of one core per second of video",
            ylabel=f"strings found of {next(iter(ways.values()))['strings']}",
        )
        axes.margins(x=0.15, y=0.3)
        axes.set_xlim(left=0)
        axes.legend(loc="lower right", frameon=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
