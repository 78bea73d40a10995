"""What a Ray cluster loses where something of it is killed: the driver, a worker or a node, at random moments.

    python -m scripts.benchmarks.ray_kills --kills 5

A cluster of three nodes on this machine (`ray.cluster_utils`) indexes videos of cards by the engine `"ray"`, each time
anew, and is hit by SIGKILL once, when so many frames are read as chance will have it:

- `driver`: the process that called `VideoIndex.add`; it is started again when it is dead.
- `worker`: any process of Ray that is at work for it, or one that decodes for such a process.
- `feed`: the one of these that hands out what there is to do.
- `node`: all processes of a node but the driver's. No other takes its place until the run is over.

What is required: the table is that of the local engine (captions bit for bit, features to rounding), and no more frames
are given to the OCR engine than by the local one and, for each kill, the segments that readers had in hand.

Prints Markdown; the exit status is 1 if something of that does not hold.
"""

import argparse
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil  # comes with accelerate

from scripts.benchmarks.costs.children import make_index
from scripts.benchmarks.costs.kills import CountingReader
from scripts.benchmarks.index import compare_tables
from scripts.benchmarks.machine import describe_machine, in_words, table, verdict
from scripts.benchmarks.processes import ROOT, start_module
from scripts.benchmarks.videos.collection import Collection, cards_of

KINDS = ("driver", "worker", "node", "feed")
NODES, CPUS_PER_NODE = 3, 2
SECONDS_PER_FRAME = 0.2  # that the OCR engine takes
SECONDS_PER_COMMIT = 3.0  # in the place of two minutes
LIMIT_SECONDS = 900.0  # of a run
STEP_SECONDS = 0.05


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    args = _parse(argv)
    if args.child:
        run_child(**json.loads(args.child))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = {"machine": describe_machine("ray", "lancedb"), **measure(args, Path(folder))}
    print(to_markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(run["holds"] for run in report["runs"]) else 1


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Indexes by the local engine, and by Ray with a kill each time."""
    videos = [cards_of(minutes, args.seed + number).videos[0] for number, minutes in enumerate(args.minutes)]
    collection = Collection(videos, []).moving()
    paths = list(map(str, collection.write(folder / "videos")))
    (folder / "reader.pickle").write_bytes(pickle.dumps(collection.reader()))
    options = {"paths": paths, "reader": str(folder / "reader.pickle"), "model": args.model}
    options |= {"readers": args.readers, "patience": args.patience}

    with start_run(folder / "local", ray=False, **options) as run:
        run.wait()
        counts = [0, *(int(line.split()[1]) for line in run.lines if line.startswith("read "))]
    whole, most = frames_read(folder / "local"), max(b - a for a, b in pairwise(counts))
    generator, runs = random.Random(args.seed), []
    with three_nodes() as cluster:
        for number in range(args.kills):
            for kind in args.kinds:
                of_run = folder / f"{kind}-{number}"
                found = kill_once(kind, cluster, of_run, generator, generator.randrange(whole), options)
                found["frames"], found["allowed"] = frames_read(of_run), whole + args.readers * most
                found["comparison"] = compare_tables(folder / "local" / "index", of_run / "index")
                found["holds"] = found["comparison"]["equal"] and found["frames"] <= found["allowed"]
                print(json.dumps({"run": number, **found}), file=sys.stderr, flush=True)
                runs.append(found)
    about = {"segments": len(counts) - 1, "readers": args.readers, "frames": whole, "frames_of_a_segment": most}
    return {**about, "runs": runs}


def kill_once(
    kind: str, cluster: Any, folder: Path, generator: random.Random, moment: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Indexes with Ray and kills something when so many frames are read; what was killed, and what was there then."""
    begin = time.monotonic()
    with start_run(folder, address=cluster.address, **options) as run:
        while frames_read(folder) <= moment and run.is_alive():
            time.sleep(STEP_SECONDS)
        lines = [line for line in run.lines if line.startswith("committed ")]
        committed = int(lines[-1].split()[1]) if lines else 0
        victim = KILLS[kind](run, cluster, generator)
        if kind == "driver":
            with start_run(folder, address=cluster.address, **options) as again:
                again.wait()
        else:
            run.wait()
    while len(cluster.worker_nodes) < NODES - 1:
        cluster.add_node(num_cpus=CPUS_PER_NODE)
    seconds = round(time.monotonic() - begin, 1)
    return {"kind": kind, "victim": victim, "moment": moment, "rows_committed": committed, "seconds": seconds}


def kill_driver(run: "Run", cluster: Any, generator: random.Random) -> str:
    """Kills the process that adds."""
    run.kill()
    return "driver"


def kill_worker(run: "Run", cluster: Any, generator: random.Random) -> str:
    """Kills a process that works for it, and tells which."""
    return _kill_one(cluster, generator)


def kill_feed(run: "Run", cluster: Any, generator: random.Random) -> str:
    """Kills the process that hands out what there is to do."""
    return _kill_one(cluster, generator, "_feed")


def _kill_one(cluster: Any, generator: random.Random, part: str = "") -> str:
    """Kills a process of those with such a part in their names, and tells which."""
    found = []
    for node in [cluster.head_node, *cluster.worker_nodes]:
        for process in _raylet(node).children(recursive=True):
            try:
                found += [(name, process) for name in [_name_of(process)] if name and part in name]
            except psutil.Error:  # it is gone
                continue
    if not found:  # it was quicker
        return "none"
    name, process = generator.choice(sorted(found, key=lambda pair: (pair[0], pair[1].pid)))
    process.kill()
    return name


def kill_node(run: "Run", cluster: Any, generator: random.Random) -> str:
    """Kills all of a node."""
    nodes = sorted(cluster.worker_nodes, key=lambda node: _raylet(node).pid)  # a set, without the driver's
    cluster.remove_node(generator.choice(nodes), allow_graceful=False)
    return "node"


KILLS: dict[str, Callable[["Run", Any, random.Random], str]] = {
    "driver": kill_driver,
    "worker": kill_worker,
    "node": kill_node,
    "feed": kill_feed,
}


def _raylet(node: Any) -> psutil.Process:
    """What starts all others of a node."""
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def _name_of(process: psutil.Process) -> str:
    """What a process works at; empty for one of Ray's own that waits, or with which a whole node dies."""
    command = process.cmdline()
    name = command[0].removeprefix("ray::") if command and command[0].startswith("ray::") else ""
    if name and "IDLE" not in name and not name.endswith("Agent"):
        return name
    return "decoder" if any(word.endswith("reading/worker.py") for word in command) else ""


class Run:
    """A process that indexes, and the lines that it prints."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.lines = process, []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def is_alive(self) -> bool:
        """Whether it works."""
        return self.process.poll() is None

    def wait(self) -> None:
        """Waits until it is done. Raises `RuntimeError` if it fails."""
        if status := self.process.wait(LIMIT_SECONDS):
            raise RuntimeError(f"Indexing failed with status {status}.")
        self._listener.join()

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)


@contextmanager
def start_run(folder: Path, address: str = "", ray: bool = True, **options) -> Iterator[Run]:
    """A process that indexes videos into a folder; it is ended if it is not done."""
    folder.mkdir(parents=True, exist_ok=True)
    request = json.dumps({"folder": str(folder), "ray": ray, **options})
    variables = {"RAY_ADDRESS": address, "OMP_NUM_THREADS": "1"} if address else {"OMP_NUM_THREADS": "1"}
    run = Run(start_module("scripts.benchmarks.ray_kills", "--child", request, **variables))
    try:
        yield run
    finally:
        run.kill()


def run_child(
    folder: str, ray: bool, paths: list[str], reader: str, model: str, readers: int, patience: float | None
) -> None:
    """Indexes videos, or goes on with it; prints the frames read so far and the rows that are committed."""
    from tcd_hf.index import ingest, ray_pools

    ingest.SECONDS_PER_COMMIT = SECONDS_PER_COMMIT
    ray_pools.NO_PROGRESS_SECONDS = patience or ray_pools.NO_PROGRESS_SECONDS
    calls = Path(folder) / "calls"
    calls.touch()
    engine = CountingReader(pickle.loads(Path(reader).read_bytes()), calls, SECONDS_PER_FRAME if ray else 0.0)
    index = make_index(argparse.Namespace(model=model), Path(folder), engine, exist_ok=True)

    def tell(progress) -> None:
        print("read", calls.stat().st_size, flush=True)
        print("committed", len(index.read(["segment"])), flush=True)

    options: dict[str, Any] = {"engine": "ray", "workers": readers} if ray else {"workers": 0}
    report = index.add(paths, on_video=lambda path: None, on_progress=tell, **options)
    if report.skipped:
        raise RuntimeError(f"Skipped: {report.skipped}")


def frames_read(folder: Path) -> int:
    """How many frames the OCR engine was given, by all runs."""
    calls = folder / "calls"
    return calls.stat().st_size if calls.exists() else 0


@contextmanager
def three_nodes() -> Iterator[Any]:
    """A cluster on this machine, which other processes can join."""
    # Other programs go not before its workers, and the memory that they take ends none.
    variables = {"RAY_worker_niceness": "0", "RAY_memory_monitor_refresh_ms": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ.update({**variables, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])})
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS_PER_NODE, "include_dashboard": False})
    try:
        for _ in range(NODES - 1):
            cluster.add_node(num_cpus=CPUS_PER_NODE)
        yield cluster
    finally:
        cluster.shutdown()


def to_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    rows: list[list] = [
        ["killed", "when so many frames were read", "rows committed then", "frames read in all", "allowed", "s", "all"]
    ]
    for run in report["runs"]:
        victim = run["kind"] if run["victim"] == run["kind"] else f"{run['kind']} ({run['victim']})"
        names = ("moment", "rows_committed", "frames", "allowed", "seconds")
        rows.append([victim, *(run[name] for name in names), verdict(run["holds"])])
    about = (
        f"{report['segments']} segments, {NODES} nodes of {CPUS_PER_NODE} CPUs, {report['readers']} readers. Without a "
        f"kill, the local engine reads {report['frames']} frames, {report['frames_of_a_segment']} of a segment at most."
    )
    return f"{in_words(report['machine'])}\n\n{about}\n\n{table(rows, 'lrrrrrl')}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=5, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what to kill")
    parser.add_argument("--minutes", type=float, nargs="+", default=[4, 1, 1, 1, 1], help="lengths of the videos")
    parser.add_argument("--readers", type=int, default=3, help="6 leave no place for those of a node that is killed")
    parser.add_argument("--patience", type=float, help="seconds without news until all begin anew")
    parser.add_argument("--model", default="tcd-mini", help="checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of the videos and of the moments")
    parser.add_argument("--json", type=Path, help="where to keep the numbers")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
