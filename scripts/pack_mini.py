"""Last step of the checkpoint inside the package: the trained model in float16, without code, its logs beside it.

    python scripts/pack_mini.py --text build/mini-text --image build/mini-image --world build/mini-world

See the model card of the checkpoint for the steps before.
"""

import argparse
import shutil
from pathlib import Path

import torch
from mini_backbone import save_mini

from tcd_hf import TCDModel, TCDProcessor
from tcd_hf.checkpoints import MINI

LOG = "training_log.jsonl"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for step in ("text", "image", "world"):
        parser.add_argument(f"--{step}", type=Path, required=True, metavar="DIR", help="what that step wrote")
    parser.add_argument("--output", type=Path, default=MINI, metavar="DIR", help="by default in the package")
    args = parser.parse_args(argv)
    best = args.world / "best"
    save_mini(TCDModel.from_pretrained(best, dtype=torch.float32), TCDProcessor.from_pretrained(best), args.output)
    for step in ("text", "image", "world"):
        shutil.copyfile(getattr(args, step) / LOG, args.output / f"training_log_{step}.jsonl")
    for name in ("recipe.yaml", "provenance.json"):
        shutil.copyfile(best / name, args.output / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
