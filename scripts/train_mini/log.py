"""What training the checkpoint says of itself, which is kept beside the weights."""

import json
import logging
import shutil
import time
from pathlib import Path

__all__ = ["TEXT_LOGS", "Log", "copy_logs", "logger"]

TEXT_LOGS = ("text", "text_second", "text_third", "text_mean")  # of the runs of the first step, and of their mean

logger = logging.getLogger("train_mini")


class Log:
    """JSON lines, on the screen as well."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("w", encoding="utf-8")
        self.start = time.monotonic()

    def __call__(self, **entry) -> None:
        line = json.dumps({**entry, "seconds": round(time.monotonic() - self.start)})
        self.file.write(line + "\n")
        self.file.flush()
        logger.info(line)


def copy_logs(source: Path, output: Path, *steps: str) -> None:
    """Copies the logs of the steps before, where `source` has them: they belong to the checkpoint as its own log."""
    for step in steps:
        log = source / f"training_log_{step}.jsonl"
        if log.exists() and not output.samefile(source):
            shutil.copy(log, output)
