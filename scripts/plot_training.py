"""Draws a training run: losses, and R@1 on the validation split, over steps.

    python scripts/plot_training.py runs/mine --out training.png

Needs the extra `[plot]`.
"""

import argparse
import sys
from pathlib import Path

from tcd_hf.visualization import plot_training


def main(argv: list[str] | None = None) -> int:
    """Writes the picture; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, or its training_log.jsonl")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture: .png, .svg or .pdf")
    parser.add_argument("--title", help="above the picture")
    args = parser.parse_args(argv)
    try:
        plot_training(args.run, args.out, args.title)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
