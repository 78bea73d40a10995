"""Draws how a model reads one clip: its calibration cycle and, with a query, the similarity of every window.

    python scripts/plot_calibration.py clip.mp4 --out cycle.png
    python scripts/plot_calibration.py clip.mp4 --query "a red bus while the board says 17:45" --out windows.png

Needs the extra `[plot]`.
"""

import argparse
import sys
from pathlib import Path

from tcd_hf import load
from tcd_hf.visualization import plot_calibration_cycle, plot_window_similarity


def main(argv: list[str] | None = None) -> int:
    """Writes the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, metavar="VIDEO", help="file to draw")
    parser.add_argument("--query", help="draw the similarity of each window with it, in place of the cycle")
    parser.add_argument("--model", default="tcd-mini", help="folder or Hub id; by default the package's small one")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture: .png, .svg or .pdf")
    args = parser.parse_args(argv)
    if args.query is not None and not args.query.strip():
        parser.error("--query is empty: say what to look for")
    try:
        model, processor = load(args.model, device="auto")
        if args.query is None:
            plot_calibration_cycle(model, processor, args.video, args.out)
        else:
            plot_window_similarity(model, processor, args.query, args.video, args.out)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
