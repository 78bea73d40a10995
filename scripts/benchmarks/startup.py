"""Times what every use begins with, in this checkout and in another one: a search, the page, one training step.

    python -m scripts.benchmarks.startup --before CHECKOUT

- search: `tcd-hf search "platform 9" --index DIR`, from the start of Python to its end;
- serve: `tcd-hf serve --index DIR`, until it answers, and its processor time until then;
- step: one training step of tcd-mini on made-up pairs, after one that does not count.

The index is of the clips of `tcd-hf demo`; each checkout makes its own, by its own code. Each time is of a new process
and the median of several, the checkouts taking turns. Processor time may be more than what passed: on several cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from scripts.benchmarks.app import serving
from scripts.benchmarks.machine import describe_machine, in_words, table, verdict
from scripts.benchmarks.processes import ROOT

COMMAND = [sys.executable, "-c", "from tcd_hf.cli.main import app; app()"]
STEP = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"  # finds no module beside the file
QUERY = "platform 9"
ALLOWED = 1.05  # times as long as before


class Times(NamedTuple):
    """Seconds of one run: those that passed, and those of the processor."""

    wall: float
    cpu: float


class Checkout(NamedTuple):
    """A source tree, and an index that its code made."""

    root: Path
    index: Path

    @property
    def environment(self) -> dict[str, str]:
        """In which `import tcd_hf` gets the package of this tree."""
        path = os.pathsep.join([str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "PYTHONPATH": path}


def main(argv: list[str] | None = None) -> int:
    """Prints the times; returns the exit status."""
    args = _parse(argv)
    trees = {"before": args.before, "after": ROOT} if args.before else {"after": ROOT}
    machine = describe_machine("lancedb", "gradio")  # its load before this adds to it
    with tempfile.TemporaryDirectory() as folder:
        checkouts = prepare(trees, Path(folder), set(args.parts))
        times = {part: take_turns(PARTS[part], checkouts, args.rounds) for part in args.parts}
    report = {"machine": machine, "rounds": args.rounds, "seconds": times}
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def prepare(trees: Mapping[str, Path], folder: Path, parts: set[str]) -> dict[str, Checkout]:
    """The checkouts with their indexes, which are made where a part needs one."""
    checkouts = {name: Checkout(root, folder / f"{name}.index") for name, root in trees.items()}
    if parts != {"step"}:
        from tcd_hf.demo import render_demo_clips

        render_demo_clips(folder / "clips")
        for name, checkout in checkouts.items():
            arguments = ["index", folder / "clips", "--index", checkout.index, "--cache-dir", folder / f"{name}.cache"]
            run([*COMMAND, *map(str, arguments)], checkout)
    return checkouts


def take_turns(
    measure: Callable[[Checkout], Times], checkouts: Mapping[str, Checkout], rounds: int
) -> dict[str, list[Times]]:
    """Times of so many runs of each checkout, one after the other: what else a machine does slows all down."""
    times: dict[str, list[Times]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            times[name].append(measure(checkout))
    return times


# parts ---------------------------------------------------------------------------------------------------------------
def time_search(checkout: Checkout) -> Times:
    """A search in the index, all of its process."""
    before, begin = os.times(), time.perf_counter()
    run([*COMMAND, "search", QUERY, "--index", str(checkout.index)], checkout)
    after, seconds = os.times(), time.perf_counter() - begin
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Times(seconds, spent)


def time_serve(checkout: Checkout) -> Times:
    """The page of the index, until it answers."""
    with tempfile.TemporaryDirectory() as cache, serving(str(checkout.index), cache, checkout.environment) as server:
        return Times(server.seconds, server.cpu_seconds)


def time_step(checkout: Checkout) -> Times:
    """A training step, without what comes before."""
    output = run([sys.executable, "-c", STEP, str(Path(__file__).with_name("training_step.py"))], checkout)
    return Times(*json.loads(output.splitlines()[-1]))


PARTS = {"search": time_search, "serve": time_serve, "step": time_step}


def run(command: list[str], checkout: Checkout) -> str:
    """What a command prints, run by the code of a checkout; from the root of the file system, where no module lies.

    Raises:
        SystemExit: it has failed; its errors are on stderr.
    """
    done = subprocess.run(command, env=checkout.environment, cwd=os.path.sep, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} has ended with status {done.returncode} in {checkout.root}.")
    return done.stdout


# report --------------------------------------------------------------------------------------------------------------
def to_markdown(report: Mapping) -> str:
    """The medians as a table, and whether nothing has become slower than is allowed."""
    rows = [
        ["seconds", *(f"{name}: {kind}" for name in ("before", "after") for kind in ("wall", "CPU")), "wall", "CPU"]
    ]
    for part, times in report["seconds"].items():
        medians = {name: Times(*map(median, zip(*runs, strict=True))) for name, runs in times.items()}
        before, after = medians.get("before"), medians["after"]
        cells = [f"{seconds:.2f}" for seconds in (*(before or ()), *after)]
        if before is None:
            cells = ["", "", *cells, "", ""]
        else:
            cells += [f"{new / old - 1:+.0%}" for new, old in zip(after, before, strict=True)]
            cells[-2] += f", {verdict(after.wall <= ALLOWED * before.wall)}"
        rows.append([part, *cells])
    return f"{in_words(report['machine'])}. Medians of {report['rounds']}.\n\n{table(rows, align='lrrrrrr')}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="root of another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each that count (default: 5)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to time (default: all)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {args.rounds}")
    if args.before and not (args.before / "tcd_hf" / "__init__.py").is_file():
        parser.error(f"{args.before} is no checkout: there is no {args.before / 'tcd_hf'}")
    args.before = args.before and args.before.resolve()
    return args


if __name__ == "__main__":
    raise SystemExit(main())
