"""Processes that benchmarks start, to kill them or to measure them alone."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "start_module"]

ROOT = Path(__file__).resolve().parents[2]


def start_module(module: str, *arguments, **variables: str) -> subprocess.Popen:
    """Starts `python -m module` of this checkout, from wherever this process runs; its output can be read as text.

    Args:
        module: full name, such as `scripts.benchmarks.index`.
        arguments: of its command line.
        variables: of its environment, beside those of this process.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
