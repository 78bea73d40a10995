"""Many at once: searchers and writers on one index, and visitors of its page.

    python -m scripts.benchmarks.load --seconds 60

1. Processes that search an index, while others add videos to it and remove them again.
2. Visitors of `tcd-hf serve`: each asks, and has the picture, the player and the evidence of the best hit drawn. With
   several numbers of them, and of processes of the server that search, each with each:

    python -m scripts.benchmarks.load --searchers 0 --writers 0 --visitors 1 4 16 --workers 1 2 --seconds 15

Each does one thing after the other, without a pause, so that all that is measured shares the machine's cores. What is
required: nothing fails; every search finds something; the table holds afterwards what it held before, each row once;
and the memory of no process grows by more than 10 % from a third of the time to its end. Videos are cards (see
`videos/cards.py`), read by an engine that costs next to nothing; the model is the one inside the package.

Prints Markdown; the exit status is 1 if something of that does not hold. Needs the extra `[app]` for the page.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import psutil  # comes with accelerate

from scripts.benchmarks.app import Server, serving
from scripts.benchmarks.machine import describe_machine, in_words, table, verdict
from scripts.benchmarks.processes import start_module
from scripts.benchmarks.videos.cards import Card, CardReader, write_cards

CARDS_PER_VIDEO = 3
NUM_SPARE = 4  # videos that each writer adds and removes
GROWTH = 1.1  # times the memory that a process may have at the end
FIRST_SHARE = 3  # of the time, when its memory is looked at first

Times = dict[str, list[float]]


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    if args.child:
        return run_child(args)
    machine = describe_machine("lancedb", "gradio")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_videos(folder, args)
        results = {}
        if args.searchers + args.writers:
            results["index"] = load_index(folder, args)
        for workers in args.workers if any(args.visitors) else ():
            results |= load_page(folder, args, workers)
    report = {"machine": machine, "seconds": args.seconds, **results}
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(all(result["holds"].values()) for result in results.values()) else 1


def write_videos(folder: Path, args: argparse.Namespace) -> None:
    """An index of videos, and videos beside it that are not in it."""
    (folder / "videos").mkdir()
    (folder / "spare").mkdir()
    for number in range(args.videos + NUM_SPARE * args.writers):
        place = folder / ("videos" if number < args.videos else "spare") / f"{number}.mp4"
        write_cards(
            place,
            [card_of(number * CARDS_PER_VIDEO + each) for each in range(CARDS_PER_VIDEO)],
            first=number * CARDS_PER_VIDEO,
        )
    make_index(folder, args).add(folder / "videos", workers=0)


def card_of(number: int) -> Card:
    return Card.still([f"gate {number}", f"flight TX{number}"])


def make_index(folder: Path, args: argparse.Namespace):
    """The index, made if need be."""
    from tcd_hf import VideoIndex, load_mini

    model, processor = load_mini()
    num_cards = (args.videos + NUM_SPARE * args.writers) * CARDS_PER_VIDEO
    processor.ocr_engine = CardReader({number: card_of(number).readings for number in range(num_cards)})
    processor.ocr_options = None
    return VideoIndex.create(folder / "index", model, processor, exist_ok=True, cache_dir=folder / "cache")


def queries(args: argparse.Namespace, start: int):
    """What is searched for: texts of the videos that stay."""
    num_cards = args.videos * CARDS_PER_VIDEO
    return (f"flight TX{(start + 7 * number) % num_cards}" for number in itertools.count())


# searchers and writers ------------------------------------------------------------------------------------------------
def load_index(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Searchers and writers, for so many seconds."""
    roles = ["searcher"] * args.searchers + ["writer"] * args.writers
    shares = ["--videos", args.videos, "--searchers", args.searchers, "--writers", args.writers]
    shares += ["--seconds", args.seconds]
    children = [
        start_module("scripts.benchmarks.load", "--child", folder, "--role", role, "--number", number, *shares)
        for number, role in enumerate(roles)
    ]
    try:
        for child in children:
            if child.stdout.readline() != "ready\n":
                raise RuntimeError(f"A process did not begin (status {child.wait()}).")
        (folder / "go").touch()
        outputs = [child.communicate()[0] for child in children]
    finally:
        for child in children:
            child.kill()
    results = [json.loads(output) if output else {} for output in outputs]
    times: Times = defaultdict(list)
    for result in results:
        for what, seconds in result.get("times", {}).items():
            times[what] += seconds
    memory = {
        f"{role} {number}": result["memory"]
        for number, (role, result) in enumerate(zip(roles, results, strict=True))
        if result
    }
    paths = make_index(folder, args).read(["path", "segment"]).to_pylist()
    expected = {path.as_posix() for path in (folder / "videos").resolve().iterdir()}
    holds = {
        "no error": all(child.returncode == 0 for child in children) and all(map(bool, results)),
        "each row once": len({(row["path"], row["segment"]) for row in paths}) == len(paths),
        "nothing lost": {Path(row["path"]).resolve().as_posix() for row in paths} == expected,
        "memory is flat": is_flat(memory),
    }
    return {"times": times, "memory": memory, "holds": holds}


def run_child(args: argparse.Namespace) -> int:
    """A searcher or a writer."""
    index = make_index(args.child, args)
    asked = queries(args, args.number)
    index.search(next(asked))
    print("ready", flush=True)
    while not (args.child / "go").exists():
        time.sleep(0.05)
    if args.role == "searcher":
        steps: dict[str, Callable] = {"search": lambda: expect(index.search(next(asked), top_k=5))}
    else:
        first = args.videos + NUM_SPARE * (args.number - args.searchers)
        spare = [args.child / "spare" / f"{first + each}.mp4" for each in range(NUM_SPARE)]
        steps = {
            "add": lambda: expect(index.add(spare, workers=0, on_video=lambda path: None).added),
            "remove": lambda: expect(index.remove(spare)),
        }
    times, memory = repeat(steps, args.seconds, lambda: memory_of(psutil.Process()))
    print(json.dumps({"times": times, "memory": memory}))
    return 0


def repeat(steps: Mapping[str, Callable], seconds: float, memory: Callable[[], int] | None) -> tuple[Times, list[int]]:
    """Does all steps again and again for so long, in the end all; the seconds of each, and the memory on the way."""
    times: Times = {what: [] for what in steps}
    begin, seen = time.monotonic(), []
    while (passed := time.monotonic() - begin) < seconds:
        if memory and not seen and passed > seconds / FIRST_SHARE:
            seen.append(memory())
        for what, step in steps.items():
            start = time.perf_counter()
            step()
            times[what].append(time.perf_counter() - start)
    return times, [*seen, memory()] if memory else []


def expect(found):
    """What was found, if anything was."""
    if not found:
        raise RuntimeError("Nothing was found, or nothing done, where something was to be.")
    return found


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process in memory, with those it has started."""
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def is_flat(memory: Mapping[str, Sequence[int]]) -> bool:
    return all(sizes[-1] <= GROWTH * sizes[0] for sizes in memory.values())


# visitors -------------------------------------------------------------------------------------------------------------
def load_page(folder: Path, args: argparse.Namespace, workers: int) -> dict[str, Any]:
    """Visitors of the page of one server, for so many seconds: each number of them in turn."""
    options = ["--workers", str(workers)]
    with serving(str(folder / "index"), str(folder / f"page cache {workers}"), options=options) as server:
        wait_until_ready(server.url)
        return {
            f"page, {workers} searching, {visitors} visiting": load_server(server, args, visitors)
            for visitors in args.visitors
            if visitors
        }


def load_server(server: Server, args: argparse.Namespace, visitors: int) -> dict[str, Any]:
    """Visitors of a server, for so many seconds."""
    process = psutil.Process(server.pid)
    with ThreadPoolExecutor(visitors) as threads:
        watches = [lambda: memory_of(process)] + [None] * (visitors - 1)
        jobs = [
            threads.submit(repeat, visit(server.url, queries(args, 5 * number)), args.seconds, watch)
            for number, watch in enumerate(watches)
        ]
    errors = [repr(job.exception()) for job in jobs if job.exception()]
    done = [job.result() for job in jobs if not job.exception()]
    times: Times = defaultdict(list)
    for seconds, _ in done:
        for what, each in seconds.items():
            times[what] += each
    memory = {"server": next((sizes for _, sizes in done if sizes), [])}
    holds = {"no error": not errors, "memory is flat": bool(memory["server"]) and is_flat(memory)}
    return {"times": times, "memory": memory, "holds": holds, "errors": errors}


def wait_until_ready(url: str) -> None:
    """Returns when the first search is done, and with it what is loaded for it."""
    while True:
        try:
            urlopen(f"{url}/healthz").close()
            return
        except HTTPError:
            time.sleep(0.1)


def visit(url: str, asked) -> dict[str, Callable]:
    """What a visitor does, again and again."""
    from gradio_client import Client

    client, seen = Client(url, verbose=False), {}

    def search() -> None:
        query = next(asked)
        hit = expect(client.predict(query, api_name="/search"))[0]
        seen.update(query=query, start=hit["start"], clip=clip_id(hit["video"]))

    def show(what: str, *names: str) -> None:
        options = urlencode({name: seen["start" if name == "t" else name] for name in names})
        expect(fetch(f"{url}/{what}/{seen['clip']}?{options}"))

    return {
        "search": search,
        "picture": lambda: show("thumbnail", "t"),
        "player": lambda: show("clip", "query"),
        "evidence": lambda: show("evidence", "query", "start"),
    }


def clip_id(path: str) -> str:
    from tcd_hf.index.schema import video_id

    return video_id(path)


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=120) as response:
        return response.read()


# report ---------------------------------------------------------------------------------------------------------------
def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    rows = [["milliseconds", "n", "p50", "p95", "max"]]
    memory, verdicts = [], []
    for part, result in report.items():
        if not isinstance(result, Mapping) or "times" not in result:  # of the run as a whole
            continue
        for what, seconds in result["times"].items():
            values = np.percentile(seconds, [50, 95, 100]) * 1000
            rows.append([f"{part}: {what}", len(seconds), *(f"{value:.0f}" for value in values)])
        memory += [
            f"{part}: {name} {sizes[0] / 1e6:.0f} and {sizes[-1] / 1e6:.0f}"
            for name, sizes in result["memory"].items()
            if sizes
        ]
        verdicts += [f"{part}: {name} {verdict(holds)}" for name, holds in result["holds"].items()]
        verdicts += [f"{part}: {error}" for error in result.get("errors", [])]
    return "\n\n".join(
        [
            f"{in_words(report['machine'])}; {report['seconds']:g} s each.",
            table(rows, align="lrrrr"),
            f"MB after a third of the time and at the end: {'; '.join(memory)}.",
            f"{'; '.join(verdicts)}.",
        ]
    )


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long each part goes on (default: 60)")
    parser.add_argument("--searchers", type=int, default=4, help="processes that search (default: 4)")
    parser.add_argument("--writers", type=int, default=2, help="processes that add and remove (default: 2)")
    parser.add_argument("--visitors", type=int, nargs="+", default=[8], help="of the page, at once (default: 8)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="of its server, that search (default: 1)")
    parser.add_argument("--videos", type=int, default=60, help="in the index (default: 60)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    for option, kind in (("--child", Path), ("--role", str), ("--number", int)):
        parser.add_argument(option, type=kind, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    least_of = {"seconds": 0.1, "searchers": 0, "writers": 0, "visitors": 0, "workers": 1, "videos": 1}
    for option, least in least_of.items():
        for value in np.atleast_1d(getattr(args, option)):
            if value < least:
                parser.error(f"--{option} must be at least {least}, got {value}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
