"""What was measured, as Markdown."""

from scripts.benchmarks.machine import in_words, table


def to_markdown(report: dict) -> str:
    """The report as Markdown."""
    tower = report["text_tower_ms"]
    times = [["videos", "search", "p50", "p95", "work of all threads, p50"]]
    found = [["videos", "search", "R@1", "R@10", "same first hit as full", "moment"]]
    builds = [["videos", "bytes a row", "of which text index", "writing, ms a row", "text index, s", "statistics, s"]]
    builds[0] += ["first search, s", "peak RSS so far, GiB"]
    steps = []
    for size, result in report["sizes"].items():
        for name, each in result["latency"].items():
            times.append([size, name, *(f"{each[key]:.1f}" for key in ("p50", "p95", "work"))])
        for name, each in result["recall"].items():
            shares = [f"{each[key]:.3f}" if key in each else "" for key in ("R@1", "R@10", "same first hit", "moment")]
            found.append([size, name, *shares])
        build = result["build"]
        numbers = [
            f"{build['row_bytes'] + build['text_index_bytes']:,.0f}",
            f"{build['text_index_bytes']:,.0f}",
            f"{build.get('write_ms', float('nan')):.2f}",
            f"{build['text_index_s']:.1f}",
            f"{build['statistics_s']:.1f}" if "statistics_s" in build else "",
            f"{build['first_search_s']:.2f}",
            f"{result['peak_rss_gib']:.2f}",
        ]
        builds.append([size, *numbers])
        if "stages" in result:
            medians = ", ".join(f"{name} {value:.1f}" for name, value in result["stages"].items())
            steps.append(f"Steps of a two-stage search in {size} videos, median ms: {medians}.")
    return "\n\n".join(
        [
            f"{in_words(report['machine'])}; {report['threads']} threads, D = {report['dim']}, {report['queries']} "
            "queries, top_k 10, recall_k 50.",
            f"Milliseconds per query, without its embedding (text tower of CLIP ViT-B/32: p50 {tower['p50']:.1f}).",
            table(times, align="rlrrr"),
            table(found, align="rlrrrr"),
            table(builds, align="r" * 8),
            *steps,
        ]
    )
