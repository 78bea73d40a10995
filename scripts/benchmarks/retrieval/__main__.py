"""Times search in an index and counts what recall loses, on synthetic videos.

    python -m scripts.benchmarks.retrieval --sizes 1000 10000 100000 1000000 --folder /tmp/retrieval

Videos. One centre per 20 videos, a random unit vector. A video is `n(centre + 0.7 e)`, where `n` divides by the length
and `e` is a Gaussian vector of length 1, anew at each use; its frames and its windows are `n(video + e)` each. Four
videos in five show text: three captions, each over some of the 12 windows, of 4 to 12 words out of 50,000 random
strings, the k-th with a probability in proportion to `k^-0.9`.

Queries. `n(video + 4 e)` of a random video: a cosine of 0.24 with it on average. Its text is three words of one of the
video's captions, a character of one of them misread, and two words that no caption has; of a video without text, five.

Hours (`--hours 1000`). Videos of 120 segments of 30 s, a row each; a video is a centre, and a scene of ten segments is
what a short video is above. In every window of 2.5 s four texts of 1 to 4 words come up (the most frequent words are
English filler words), most of them for a window or two, one in fifty for half a minute or so; two texts are shown
always and three in every other segment: some 55 different texts a segment. Queries, a fifth each: a text as it is
shown; with a slip in every word of more than three letters; with two words that nobody reads; within a sentence; and a
text that at least half of the segments of its video show. Their vectors are made as above.

The model is untrained, of `--dim` width, and its towers are not run: queries come as vectors. What the text tower of
CLIP ViT-B/32 takes for one query on this machine is printed beside. Tables are kept in `--folder` and continued where a
run was interrupted; above `--largest` videos only what recall reads is written, and only recall is timed.
"""

import argparse
import json
import os
from pathlib import Path

import torch

from scripts.benchmarks.machine import describe_machine
from scripts.benchmarks.retrieval.measures import measure_hours, measure_recall, measure_search, time_text_tower
from scripts.benchmarks.retrieval.report import to_markdown
from scripts.benchmarks.synthetic_rows import SyntheticHours, SyntheticVideos


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000], help="numbers of short videos")
    parser.add_argument("--hours", type=int, nargs="+", default=[], help="numbers of videos of an hour")
    parser.add_argument("--dim", type=int, default=512, help="width of the joint space")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--slow-queries", type=int, default=20, help="queries that are timed in a full search")
    parser.add_argument("--largest", type=int, default=200_000, help="above it, only recall is measured")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--workers", type=int, default=1, help="processes that make rows")
    parser.add_argument("--folder", type=Path, default=Path("retrieval_benchmark"), help="tables are kept here")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    report = {
        "machine": describe_machine("lancedb"),
        "threads": args.threads,
        "dim": args.dim,
        "queries": args.queries,
        "text_tower_ms": time_text_tower(),
        "sizes": {},
    }
    measures = [
        (f"{size:,}", measure_recall if size > args.largest else measure_search, SyntheticVideos, size)
        for size in args.sizes
    ]
    measures += [(f"{hours:,} of 1 h", measure_hours, SyntheticHours, hours) for hours in args.hours]
    for name, measure, kind, size in measures:
        report["sizes"][name] = measure(kind(size, args.dim), args)
        torch.set_num_threads(args.threads)
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(to_markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
