"""What a run leaves on disk, and where it is: log, checkpoint, and the best model so far."""

import dataclasses
import json
import logging
import os
import platform
import subprocess  # nosec B404 # git alone is run
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from datasets import Dataset

from tcd_hf.training.checkpointing import load_checkpoint, remove_unfinished, replace_folder, save_checkpoint
from tcd_hf.training.processes import make_equal
from tcd_hf.training.recipe import TrainingRecipe, write_recipe
from tcd_hf.training.validation import validate
from tcd_hf.version import __version__

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["Run", "TrainingLog", "git_revision", "provenance"]

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "safetensors", "numpy")  # that a model stands on

# What a resumed run may change: where things are and how the work is shared out, but nothing that its losses depend on.
# (Dropout in the towers, of which CLIP has none by default, is drawn for each chunk: with it they do depend on the size
# of the chunks and on the number of processes.)
FREE_TO_CHANGE = {
    *("model", "data", "output", "resume", "save_every", "report_to"),
    *("num_processes", "num_workers", "chunk_size", "gradient_checkpointing"),
}


class Run:
    """
    A run under way: `step` updates were made, and `best` are the validation metrics of the model that was kept.

    Args:
        model ([`TCDModel`]), processor ([`TCDProcessor`]): what is trained.
        optimizer (`torch.optim.AdamW`): see [`make_optimizer`].
        recipe ([`TrainingRecipe`])
        accelerator (`Accelerator`)
    """

    def __init__(
        self,
        model: "TCDModel",
        processor: "TCDProcessor",
        optimizer: torch.optim.Optimizer,
        recipe: TrainingRecipe,
        accelerator: Accelerator,
    ):
        self.model, self.processor, self.optimizer = model, processor, optimizer
        self.recipe, self.accelerator = recipe, accelerator
        self.output = Path(recipe.output)
        self.checkpoint = self.output / "checkpoint.safetensors"
        self.step, self.best = 0, {}

    def start(self, num_videos: int) -> None:
        """Begins a run, or goes on with the one that was stopped; starts the log and the trackers."""
        values = dataclasses.asdict(self.recipe)
        self.identity = {name: value for name, value in values.items() if name not in FREE_TO_CHANGE}
        self.identity["videos to train on"] = num_videos
        self.output.mkdir(parents=True, exist_ok=True)
        if self.accelerator.is_main_process:
            remove_unfinished(self.checkpoint)
        if self.checkpoint.exists():
            self._resume()
        self._check_step()
        make_equal(self.model)  # from here on no process reads what the main one may be replacing
        self.log = TrainingLog(self.output / "training_log.jsonl", self.accelerator, self.step)
        plain = {name: value if isinstance(value, (int, float)) else str(value) for name, value in values.items()}
        self.accelerator.init_trackers("tcd-hf", config=plain)

    def _resume(self) -> None:
        if not self.recipe.resume:
            raise ValueError(
                f"{self.output} holds a run already. Give --resume to continue it, or another --output to start anew."
            )
        progress = load_checkpoint(self.checkpoint, self.model, self.optimizer)
        before = progress["identity"]
        changed = {
            name: (before.get(name), value) for name, value in self.identity.items() if before.get(name) != value
        }
        if changed:
            lines = [f"{name}: {old!r} then, {new!r} now" for name, (old, new) in changed.items()]
            raise ValueError(
                f"The run in {self.output} cannot go on, because its recipe has changed: {'; '.join(lines)}. "
                "Give what it was started with, or another --output to start anew."
            )
        self.step, self.best = progress["step"], progress["best"]
        logger.info("Resumed %s after step %d.", self.output, self.step)

    def _check_step(self) -> None:
        """Processes that do not see the checkpoint would begin anew, without moments, beside those that go on."""
        gathered: Any = self.accelerator.gather(torch.tensor([self.step], device=self.accelerator.device))
        steps = gathered.tolist()
        if len(set(steps)) > 1:
            raise ValueError(
                f"Processes would go on after different steps, {steps}: not all of them see the checkpoint in "
                f"{self.output}. Give an --output on a disk that all machines share."
            )

    def evaluate(self, dataset: Dataset, batch_size: int) -> None:
        """Logs the metrics of a split, and keeps the model if it is better than all before."""
        metrics = validate(self.model, self.processor, dataset, self.accelerator, batch_size)
        if metrics is None:
            return
        self.log(self.step, **{f"validation/{name}": value for name, value in metrics.items()})
        logger.info("Step %d: validation R@1 %.3f", self.step, metrics["t2v_R@1"])
        order = ("t2v_R@1", "t2v_MRR")
        if not self.best or [metrics[name] for name in order] > [self.best[name] for name in order]:
            self.best = metrics
            self._keep()

    def _keep(self) -> None:
        def write(folder: Path):
            self.model.save_pretrained(folder)
            self.processor.save_pretrained(folder)
            write_recipe(self.recipe, folder / "recipe.yaml")
            about = {"step": self.step, "validation": self.best, **provenance()}
            (folder / "provenance.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

        replace_folder(self.output / "best", write)

    def save(self) -> None:
        """Replaces the checkpoint by the present state."""
        if self.accelerator.is_main_process:
            progress = {"step": self.step, "best": self.best, "identity": self.identity}
            save_checkpoint(self.checkpoint, self.model, self.optimizer, progress)

    def end(self) -> dict[str, float]:
        """Ends log and trackers; the metrics of `best`, in the main process."""
        if self.accelerator.is_main_process and not self.best:
            self._keep()  # without a validation split the last is the best
        self.log.close()
        for tracker in self.accelerator.trackers:
            tracker.finish()
        return self.best if self.accelerator.is_main_process else {}


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
            beside = path.with_name(f".{path.name}.part")
            beside.write_text("".join(lines), encoding="utf-8")
            os.replace(beside, path)  # at one stroke: a run that is killed here keeps its log
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


def provenance() -> dict:
    """
    Where a trained model comes from: the code, and the versions of what it stands on.

    Returns:
        `dict` with `tcd_hf`, the version of this package; `git_revision` of its source, with `-dirty` where files
        differ from it, or `None` where it is part of no repository; `python`, and `packages` with their versions.
    """
    return {
        "tcd_hf": __version__,
        "git_revision": git_revision(Path(__file__).resolve()),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def git_revision(file: Path) -> str | None:
    """
    Revision of the repository that tracks a file. `None` where none does, as for a package installed inside another
    project's repository, or there is no git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # nosec B603 # git, without a shell
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        return git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
