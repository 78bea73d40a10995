"""Losses and metrics of a run, on disk as JSON lines, and to trackers."""

import json
from pathlib import Path

from accelerate import Accelerator

__all__ = ["TrainingLog"]


class TrainingLog:
    """
    One line for each step, and one for each evaluation. Where a run is resumed, what was written after its checkpoint
    is taken back: the file reads as that of a run that was never stopped. Only the main process writes.

    Args:
        path (`Path`): of the file.
        accelerator (`Accelerator`): its trackers, if any, are told the same.
        step (`int`, *optional*, defaults to 0): steps that count of what is there; 0 begins anew.
    """

    def __init__(self, path: Path, accelerator: Accelerator, step: int = 0):
        self.accelerator, self.file = accelerator, None
        if accelerator.is_main_process:
            lines = _lines_until(path, step) if step else []
            path.write_text("".join(lines), encoding="utf-8")
            self.file = path.open("a", encoding="utf-8")

    def __call__(self, step: int, **entry: float) -> None:
        """Writes a line: `step` steps were made, and what there is to say."""
        if self.file:
            self.file.write(json.dumps({"step": step, **entry}) + "\n")
            self.file.flush()  # what a killed run has written is there for the one that resumes it
        self.accelerator.log(entry, step=step)

    def close(self) -> None:
        if self.file:
            self.file.close()


def _lines_until(path: Path, step: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]  # a killed run may have left half a line
    return [line for line in whole if json.loads(line)["step"] <= step]
