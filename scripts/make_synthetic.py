"""Makes the synthetic scene-text benchmark: mp4 files and a metadata.jsonl for each split.

    python scripts/make_synthetic.py --out world --clips 1000 --splits test

`load_dataset("videofolder", data_dir="world")` reads the folder; `caption` is the query, `kind` its kind, `negatives`
the clips that nearly answer it. The same seed gives the same clips; files differ at most in how the encoder rounds.

Needs the extras `[train-mini]` (words) and `[synthetic]` (fonts).
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from tcd_hf.data.synthetic import make_clip
from tcd_hf.data.synthetic_queries import SPLITS


def main(argv: list[str] | None = None) -> int:
    """Writes the clips; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the benchmark, made if need be")
    parser.add_argument("--seed", type=int, default=0, help="of the world (default: 0)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["test"], help="default: test")
    parser.add_argument("--clips", type=int, default=1000, help="of each split; 20 are one group of each kind")
    parser.add_argument("--size", type=int, default=384, help="side of the frames, an even number of pixels")
    parser.add_argument("--workers", type=int, default=1, help="processes that encode (default: 1)")
    args = parser.parse_args(argv)
    for name in ("clips", "size", "workers"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.size % 2:
        parser.error(f"--size must be even, got {args.size}")
    if args.workers == 1:
        make_splits(args, map)
    else:
        with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
            make_splits(args, partial(pool.map, chunksize=20))
    return 0


def make_splits(args: argparse.Namespace, mapper: Callable) -> None:
    """Writes all clips; `mapper` is `map` or does the same elsewhere."""
    for split in args.splits:
        folder = args.out / split
        folder.mkdir(parents=True, exist_ok=True)
        write = partial(write_clip, folder, args.seed, split, args.size)
        rows = tqdm(mapper(write, range(args.clips)), split, args.clips)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")


def write_clip(folder: Path, seed: int, split: str, size: int, number: int) -> dict:
    """Writes one clip and returns its row of metadata.jsonl."""
    clip = make_clip(seed, split, number)
    path = clip.write(folder / f"{number:06d}.mp4", size)
    return {"file_name": path.name, **clip.to_dict()}


if __name__ == "__main__":
    raise SystemExit(main())
