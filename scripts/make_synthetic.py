"""Makes the synthetic scene-text benchmark: mp4 files and a metadata.jsonl for each split, or the prepared data set.

    python scripts/make_synthetic.py --out world --clips 1000 --splits test
    python scripts/make_synthetic.py --out prepared --clips 2000 --splits train --prepared

`load_dataset("videofolder", data_dir="world")` reads the folder; `caption` is the query, `kind` its kind, `negatives`
the clips that nearly answer it. The same seed gives the same clips; files differ at most in how the encoder rounds.

With `--prepared` no video is encoded and no text read: frames are painted at the size of the model's images, captions
have the errors that an OCR engine was seen to make, and `load_from_disk("prepared")` gives what `scripts/prepare.py`
makes of videos. Splits that the folder holds already stay. `--text-pairs` adds rows to train on with the queries and
captions of `tcd_hf.data.text_pairs` over bare backgrounds: texts of all kinds, with which frames are no help.

`--clips-per-video 8` makes long videos, of clips one after another. Each has the captions of all its clips, and
`moments` says when each of them is shown: scripts/evaluate.py then measures moments, too.

Needs the extras `[train-mini]` (words) and `[synthetic]` (fonts).
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from tcd_hf.data.synthetic import make_clip
from tcd_hf.data.synthetic_queries import SPLITS
from tcd_hf.data.synthetic_scene import Scene
from tcd_hf.data.synthetic_videos import make_video

if TYPE_CHECKING:
    from tcd_hf import TCDProcessor

VIDEO_SIZE = 384  # pixels


def main(argv: list[str] | None = None) -> int:
    """Writes the clips; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the benchmark, made if need be")
    parser.add_argument("--seed", type=int, default=0, help="of the world (default: 0)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["test"], help="default: test")
    parser.add_argument("--clips", type=int, default=1000, help="of each split; 20 are one group of each kind")
    parser.add_argument(
        "--clips-per-video", type=int, default=1, metavar="N", help="join so many, with their times (default: 1)"
    )
    parser.add_argument(
        "--size", type=int, help=f"side of the frames, an even number of pixels (default: {VIDEO_SIZE})"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make clips (default: 1)")
    parser.add_argument("--prepared", action="store_true", help="write the prepared data set, no videos")
    parser.add_argument("--text-pairs", type=int, default=0, help="with --prepared: rows of text pairs as well")
    parser.add_argument("--model", help="with --prepared: whose processor (default: of the package's checkpoint)")
    args = parser.parse_args(argv)
    for name in ("clips", "clips_per_video", "size", "workers"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if args.clips % args.clips_per_video:
        parser.error(f"--clips must be a multiple of --clips-per-video, {args.clips_per_video}, got {args.clips}")
    if args.size and args.size % 2:
        parser.error(f"--size must be even, got {args.size}")
    if args.prepared and args.size:
        parser.error("--size is for videos: prepared frames have the size of the model's images")
    if not args.prepared and (args.model or args.text_pairs):
        parser.error("--model and --text-pairs are for --prepared: videos know no model")
    if args.text_pairs < 0 or (args.text_pairs and args.splits != ["train"]):
        parser.error("--text-pairs must be 0 or more, and is for the train split alone")
    if args.text_pairs and args.clips_per_video > 1:
        parser.error("--text-pairs have no times: leave out --clips-per-video")
    make_splits = prepare_splits if args.prepared else write_splits
    if args.workers == 1:
        make_splits(args, map)
    else:
        with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
            make_splits(args, partial(pool.map, chunksize=20))
    return 0


def write_splits(args: argparse.Namespace, mapper: Callable) -> None:
    """Writes all clips as videos; `mapper` is `map` or does the same elsewhere."""
    for split in args.splits:
        folder = args.out / split
        folder.mkdir(parents=True, exist_ok=True)
        num_videos, size = args.clips // args.clips_per_video, args.size or VIDEO_SIZE
        if args.clips_per_video > 1:
            write = partial(write_video, folder, args.seed, split, size, args.clips_per_video)
        else:
            write = partial(write_clip, folder, args.seed, split, size)
        rows = tqdm(mapper(write, range(num_videos)), split, num_videos)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for of_video in rows for row in of_video]
        (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")


def write_clip(folder: Path, seed: int, split: str, size: int, number: int) -> list[dict]:
    """Writes one clip and returns its line of metadata.jsonl."""
    clip = make_clip(seed, split, number)
    path = clip.write(folder / f"{number:06d}.mp4", size)
    return [{"file_name": path.name, **clip.to_dict()}]


def write_video(folder: Path, seed: int, split: str, size: int, num_clips: int, number: int) -> list[dict]:
    """Writes one long video and returns its lines of metadata.jsonl, one for each caption."""
    video = make_video(seed, split, number, num_clips)
    path = video.write(folder / f"{number:06d}.mp4", size)
    return [
        {"file_name": path.name, "caption": caption, "kind": kind, "moments": moments, "duration": video.duration}
        for caption, kind, moments in zip(video.captions, video.kinds, video.moments, strict=True)
    ]


def prepare_splits(args: argparse.Namespace, mapper: Callable) -> None:
    """Writes all clips as prepared rows."""
    from datasets import Dataset, Features, Value
    from datasets.arrow_writer import ArrowWriter

    from tcd_hf.data.prepared_data import PREPARED_FEATURES, describe_preparation, image_size, save_split
    from tcd_hf.data.retrieval_datasets import MOMENTS
    from tcd_hf.loading import load_processor

    processor = load_processor(args.model or "tcd-mini")
    side = max(image_size(processor))
    args.out.mkdir(parents=True, exist_ok=True)
    for split in args.splits:
        num_videos, features = args.clips // args.clips_per_video, {**PREPARED_FEATURES, "group": Value("string")}
        if args.clips_per_video > 1:
            prepare = partial(prepare_long_video, processor, side, args.seed, split, args.clips_per_video)
            features |= MOMENTS
        else:
            prepare = partial(prepare_clip, processor, side, args.seed, split)
        with tempfile.TemporaryDirectory(dir=args.out, ignore_cleanup_errors=True) as folder:
            rows = str(Path(folder, "rows.arrow"))
            with ArrowWriter(path=rows, features=Features(features), writer_batch_size=64) as writer:
                for row in tqdm(mapper(prepare, range(num_videos)), split, num_videos):
                    writer.write(row)
                for row in tqdm(text_pair_rows(processor, side, args.seed, args.text_pairs), total=args.text_pairs):
                    writer.write(row)
                writer.finalize()
            made = Dataset.from_file(rows)
            made.info.description = describe_preparation(processor)
            save_split(made, args.out, split)
            del made  # files that are in use cannot be deleted everywhere


def prepare_clip(processor: "TCDProcessor", side: int, seed: int, split: str, number: int) -> dict:
    """One clip as a prepared row."""
    from tcd_hf.data.prepared_data import prepare_video

    clip = make_clip(seed, split, number)
    texts = clip.captions(processor.num_frames, processor.window_scale, processor.ocr_fps)
    captions = processor.captioner.caption_texts(texts, clip.duration)
    return {
        "video_id": f"{split}-{number:06d}",
        "captions": [clip.query],
        "query_types": [clip.kind],
        "group": f"{split}-{min(number, *clip.negatives):06d}",
        **prepare_video(processor, clip.frames(processor.num_frames, side), captions),
    }


def prepare_long_video(
    processor: "TCDProcessor", side: int, seed: int, split: str, num_clips: int, number: int
) -> dict:
    """One long video as a prepared row."""
    from tcd_hf.data.prepared_data import prepare_video

    video = make_video(seed, split, number, num_clips)
    read = video.readings(processor.num_frames, processor.window_scale, processor.ocr_fps)
    captions = processor.captioner.caption_texts([" ".join(texts) for texts in read], video.duration)
    return {
        "video_id": f"{split}-{number:06d}",
        "captions": video.captions,
        "query_types": video.kinds,
        "group": None,
        "moments": video.moments,
        **prepare_video(processor, video.frames(processor.num_frames, side), captions),
    }


def text_pair_rows(processor: "TCDProcessor", side: int, seed: int, count: int) -> Iterator[dict]:
    """Text pairs as prepared rows: the caption in a run of windows, with a stray one now and then elsewhere."""
    from tcd_hf.data.prepared_data import prepare_video
    from tcd_hf.data.text_pairs import TextPairGenerator

    pairs, rng, windows = TextPairGenerator(seed), random.Random(f"{seed} text pairs"), processor.num_frames
    for number, pair in enumerate(pairs.take(count)):
        clip = make_clip(seed, "train", rng.randrange(1 << 20))
        bare = replace(clip, scene=Scene(clip.scene.background, (), ()))
        texts = [*pairs.take_strays(1), *[""] * (windows - 1)]
        rng.shuffle(texts)
        start = rng.randrange(windows)
        for window in range(start, rng.randrange(start, windows) + 1):
            texts[window] = pair.caption
        yield {
            "video_id": f"pair-{number:06d}",
            "captions": [pair.query],
            "query_types": ["text pair"],
            "group": f"pairs-{pair.group:06d}",
            **prepare_video(
                processor, bare.frames(windows, side), processor.captioner.caption_texts(texts, clip.duration)
            ),
        }


if __name__ == "__main__":
    raise SystemExit(main())
