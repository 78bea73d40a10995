"""Reads the videos of a data set once: frames at the model's size and the text in them, for training and evaluation.

    python scripts/prepare.py --dataset msrvtt-1ka --annotations MSRVTT --videos MSRVTT/videos --out prepared
    python scripts/prepare.py --videofolder world --model openai/clip-vit-base-patch32 --out prepared --num-proc 8

`load_from_disk("prepared")` gives the splits. A run that was stopped goes on where it was; one that finds its work done
does nothing. Videos that cannot be read are named at the end, with the cause, and left out.

On several machines that share a folder, or whose folders are put together, each takes a share:

    python scripts/prepare.py ... --out prepared --shard 0 --num-shards 2
    python scripts/prepare.py ... --out prepared --shard 1 --num-shards 2
    python scripts/prepare.py --out prepared --join
"""

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import DatasetDict

    from tcd_hf.data.preparation import PreparationReport


def main(argv: list[str] | None = None) -> int:
    """Prepares the splits or joins shards; returns the exit status, 1 where nothing could be read."""
    args = _parse(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")

    from tcd_hf.data.preparation import join_shards
    from tcd_hf.processing.ocr_engines import OCREngineError
    from tcd_hf.reading.cache import CacheError

    started = time.monotonic()
    try:
        reports = join_shards(args.out) if args.join else prepare(args)
    except (ValueError, OSError, ImportError, CacheError, OCREngineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for split, report in reports.items():
        print_report(split, report)
    print(f"{args.out}: {time.monotonic() - started:.0f} s")
    return 0 if all(report.num_videos for report in reports.values()) else 1


def prepare(args: argparse.Namespace) -> "dict[str, PreparationReport]":
    """Prepares all splits, or this machine's share of them."""
    from tcd_hf.data.preparation import prepare_dataset, shard_folder
    from tcd_hf.loading import load_processor

    processor = load_processor(args.model, num_frames=args.num_frames)
    if args.no_ocr:
        processor.ocr_engine = None
    sharded = args.num_shards > 1
    out = shard_folder(args.out, args.shard, args.num_shards) if sharded else args.out
    reports = {}
    for split, dataset in load(args).items():
        share = dataset.shard(args.num_shards, args.shard, contiguous=True)
        shipped_ocr = args.ocr is not None
        reports[split] = prepare_dataset(share, processor, out, split, args.num_proc, args.cache_dir, shipped_ocr)
    return reports


def load(args: argparse.Namespace) -> "DatasetDict":
    """The data set that is asked for."""
    from tcd_hf.data.question_rewriting import QuestionRewriter
    from tcd_hf.data.retrieval_datasets import load_retrieval_dataset
    from tcd_hf.data.video_folder import load_video_folder

    if args.videofolder:
        return load_video_folder(args.videofolder, args.splits)
    rewriter = QuestionRewriter(args.rewriter, args.annotations / "sentences.jsonl") if args.rewriter else None
    return load_retrieval_dataset(
        args.dataset,
        args.annotations,
        args.videos,
        ocr=args.ocr,
        rewriter=rewriter,
        splits=args.splits,
        validation_size=args.validation_size,
        skip_missing=args.skip_missing,
    )


def print_report(split: str, report: "PreparationReport") -> None:
    """Prints what became of a split."""
    state = "found prepared" if report.reused else "prepared"
    print(f"{split}: {report.num_videos} videos {state}, {len(report.bad_videos)} left out")
    for video_id, cause in report.bad_videos.items():
        print(f"  {video_id}: {cause}")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", metavar="NAME", help="such as textvr, see load_retrieval_dataset")
    what.add_argument("--videofolder", type=Path, metavar="DIR", help="of make_synthetic.py: SPLIT/metadata.jsonl")
    what.add_argument("--join", action="store_true", help="join the shards in --out")
    parser.add_argument("--annotations", type=Path, metavar="DIR", help="of --dataset")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="of --dataset")
    parser.add_argument("--ocr", type=Path, metavar="DIR", help="OCR that the data set ships: is used, nothing is read")
    parser.add_argument("--rewriter", metavar="MODEL", help="of M4-ViteVQA's questions: a text-generation model")
    parser.add_argument("--validation-size", type=int, default=0, help="videos of train to set apart (default: 0)")
    parser.add_argument("--skip-missing", action="store_true", help="leave out videos that are not there")
    parser.add_argument("--splits", nargs="+", help="default: all")
    parser.add_argument("--model", metavar="NAME", default="tcd-mini", help="whose processor (default: tcd-mini's)")
    parser.add_argument("--num-frames", type=int, help="frames and windows a video (default: the processor's)")
    parser.add_argument("--no-ocr", action="store_true", help="read no text")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the prepared data set")
    parser.add_argument("--num-proc", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--shard", type=int, default=0, help="this machine's share, from 0")
    parser.add_argument("--num-shards", type=int, default=1, help="how many machines share the work (default: 1)")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="of captions; else $TCD_HF_CACHE or the user's")
    args = parser.parse_args(argv)
    if args.dataset and not (args.annotations and args.videos):
        parser.error("--dataset needs --annotations and --videos")
    of_dataset = ("annotations", "videos", "ocr", "rewriter", "validation_size", "skip_missing")
    given = [f"--{name.replace('_', '-')}" for name in of_dataset if getattr(args, name)]
    if given and not args.dataset:
        parser.error(f"{', '.join(given)}: only with --dataset")
    for name in ("num_frames", "num_proc", "num_shards"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if not 0 <= args.shard < args.num_shards:
        parser.error(f"--shard must be from 0 to {args.num_shards - 1} (--num-shards less 1), got {args.shard}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
