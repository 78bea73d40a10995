"""Processes that do one task of a part, so that its memory, its time or its death is nobody else's."""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.processes import start_module

__all__ = ["ask_child", "make_index", "peak_memory", "start_child"]


@contextmanager
def start_child(task: str, args: argparse.Namespace, **options) -> Iterator[subprocess.Popen]:
    """A process that does the task of a part, by its name; it is given one thread where time is counted."""
    variables = {"OMP_NUM_THREADS": "1"} if task in ("cpu", "decoding") else {}
    request = json.dumps({"task": task, "model": args.model, "options": options})
    child = start_module("scripts.benchmarks.costs", request, **variables)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def ask_child(task: str, args: argparse.Namespace, **options) -> dict:
    """What a task answers."""
    with start_child(task, args, **options) as child:
        output = child.stdout.read()
        if child.wait():
            raise RuntimeError(f"The part {task!r} failed with status {child.returncode}.")
    return json.loads(output.splitlines()[-1])


def make_index(args: argparse.Namespace, folder: Path, engine, exist_ok: bool = False, make=None, **options):
    """An index in a folder with a cache of its own."""
    from tcd_hf import VideoIndex, load

    model, processor = make() if make else load(args.model, device="auto")
    processor.ocr_engine, processor.ocr_options = engine, None
    options |= {"exist_ok": exist_ok, "cache_dir": folder / "cache"}
    return VideoIndex.create(folder / "index", model, processor, **options)


def peak_memory() -> int:
    """Bytes that this process has held at most."""
    try:  # not ru_maxrss, which on Linux begins with what the parent held
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
