"""Measures search among millions of segments: approximate indices of vectors, full text, opening, two stages.

    python -m scripts.benchmarks.millions --hours 1000 10000 --folder /tmp/large/tables

An hour is 120 segments of 30 s. Vectors of width 384 lie as tcd-mini's do, texts are those of
`scripts/benchmarks/retrieval` (`rows.py` says how); only what recall reads is written. Each kind of index is made in a
process of its own, one after the other, and searched with several settings: the share of the 50 exact neighbours that
it finds, of queries that are as far from all vectors as those of texts are. The index of the package (`IvfSq`) comes
last, and stays. Whole searches score candidates whose other columns are made when they are read, which is left out of
their times. How often terms occur is counted in one hour of 50. Tables are kept and continued.
Where the disk is short, vectors alone, `--parts` without a part, and then texts alone, `--dim 1 --kinds --parts text`.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from scripts.benchmarks.machine import describe_machine, in_words, table
from scripts.benchmarks.millions.rows import LargeHours
from scripts.benchmarks.millions.tables import EXACT, bytes_of, exact_neighbours, name_of, write_table
from scripts.benchmarks.millions.tasks import KINDS, ask


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--hours", type=int, nargs="+", default=[100])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="of approximate indices")
    parser.add_argument("--breadths", type=int, nargs="+", help="parts or widths to search, in place of the usual ones")
    parser.add_argument(
        "--parts", nargs="*", default=["text", "search"], choices=["text", "search"], help="none: vectors alone"
    )
    parser.add_argument("--dim", type=int, default=384, help="width of the joint space")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--workers", type=int, default=1, help="processes that make rows")
    parser.add_argument("--folder", type=Path, default=Path("millions_benchmark"), help="tables are kept here")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    report = {"machine": describe_machine("lancedb"), "sizes": {}}
    for hours in args.hours:
        report["sizes"][hours] = measure(LargeHours(hours, args.dim), args)
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(to_markdown(report))
    return 0


def measure(hours: LargeHours, args: argparse.Namespace) -> dict:
    write_table(args.folder, hours, args.workers, with_texts=bool(args.parts))
    result: dict = {"bytes": bytes_of(args.folder / f"{name_of(hours.hours)}.lance" / "data")}
    if args.kinds:
        exact_neighbours(args.folder, hours, np.stack([query.vector for query in hours.queries(args.queries)]))
    options = {"threads": args.threads, "hours": hours.hours, "dim": hours.dim, "folder": str(args.folder)}
    options["count"] = args.queries
    result["coarse"] = [ask("coarse", kind=kind, breadths=args.breadths, **options) for kind in args.kinds]
    if "text" in args.parts:
        result["text"] = ask("text", **options)
    if "search" in args.parts:
        ask("statistics", **options)
        result["search"] = ask("search", **options)
    return result


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    built = [["hours", "index", "made in, s", "s of the processor", "MB", "peak, GB", "rows then read in, s"]]
    searched = [
        ["hours", "index", "parts, or width", "compared exactly", f"recall at {EXACT}", "p50, ms", "p95", "work"]
    ]
    whole = [["hours", "by", "opened, s", "first search, s", "vectors after, s", "p50, ms", "p95", "work", "R@1"]]
    whole[0].append("peak, GB")
    for hours, result in report["sizes"].items():
        texts = [{"kind": "full text", "searches": [], **result["text"]}] if "text" in result else []
        for each in [*result["coarse"], *texts]:
            numbers = f"{each['seconds']:.0f}", f"{each['cpu_seconds']:.0f}", f"{each['bytes'] / 1e6:.0f}"
            rows_read = f"{each['rows_seconds']:.2f}" if "rows_seconds" in each else ""
            built.append([hours, each["kind"], *numbers, f"{each['peak_gb']:.1f}", rows_read])
            for one in each["searches"]:
                times = f"{one['recall']:.3f}", f"{one['p50']:.0f}", f"{one['p95']:.0f}", f"{one['work']:.0f}"
                searched.append([hours, each["kind"], one["breadth"], EXACT * one["refined"], *times])
            if "p50" in each:
                searched.append(
                    [hours, each["kind"], "", "", "", *(f"{each[key]:.0f}" for key in ("p50", "p95", "work"))]
                )
        for name, each in result.get("search", {}).items():
            loaded = f"{each['vectors_s']:.1f}" if "vectors_s" in each else ""
            times = f"{each['opened_s']:.2f}", f"{each['first_search_s']:.2f}", loaded
            numbers = (
                *(f"{each[key]:.0f}" for key in ("p50", "p95", "work")),
                f"{each['R@1']:.3f}",
                f"{each['peak_gb']:.1f}",
            )
            whole.append([hours, name, *times, *numbers])
    tables = [table(rows) for rows in (built, searched, whole) if len(rows) > 1]
    return "\n\n".join([in_words(report["machine"]), *tables])


if __name__ == "__main__":
    raise SystemExit(main())
