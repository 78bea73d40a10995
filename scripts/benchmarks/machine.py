"""What benchmarks share: the machine they ran on, a clock for steps, and how numbers are shown."""

import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

__all__ = ["READERS", "Clock", "describe_machine", "in_words", "table", "verdict"]

PACKAGES = ("torch", "transformers", "numpy")
READERS = ("rapidocr", "onnxruntime", "scikit-learn", "bm25s", "decord2", "av")  # packages that read and search videos


def describe_machine(*packages: str) -> dict:
    """The machine as it is now, and the versions that matter.

    Args:
        packages: distributions that matter besides torch, transformers and numpy.

    Returns:
        `dict`: `processor`, its name; `vectors`, the extensions that torch uses, such as "AVX2"; `cores` that this
        process may use; `load`, the mean number of busy processes in the last minute, `None` where no system tells;
        `python`; and `versions` by package, `None` where one is not installed.
    """
    import torch  # not before it is needed: that takes seconds

    versions = {}
    for package in (*PACKAGES, *packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": _processor_name(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def in_words(machine: dict) -> str:
    """What `describe_machine` gives, in a line."""
    load = "" if machine["load"] is None else f" (load {machine['load']:.1f})"
    versions = "".join(f", {name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"{machine['processor']}, {machine['vectors']}, {machine['cores']} cores{load}; "
        f"Python {machine['python']}{versions}"
    )


class Clock:
    """Adds up seconds by step; time belongs to one step only, the innermost."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self._step, self._since = "other", time.perf_counter()

    def switch(self, step: str) -> str:
        """Begins a step; returns the one before."""
        before, now = self._step, time.perf_counter()
        self.seconds[before] += now - self._since
        self._step, self._since = step, now
        return before

    def timed(self, step: str, function: Callable) -> Callable:
        """A function whose time is that of a step."""

        def call(*args, **kwargs):
            before = self.switch(step)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch(before)

        return call


def table(rows: Sequence[Sequence], align: str = "") -> str:
    """A Markdown table.

    Args:
        rows: cells, those of the head in the first row.
        align: a letter for each column: "r" where numbers stand to the right, else "l"; all to the left by default.
    """
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in rows]
    sides = "".join("---:|" if side == "r" else "---|" for side in align or "l" * len(rows[0]))
    return "\n".join([lines[0], f"|{sides}", *lines[1:]])


def verdict(holds: bool) -> str:
    """Whether what is required holds, to be seen at once where it does not."""
    return "holds" if holds else "FAILS"
