"""A checkpoint measured on a prepared data set, and what is written of it."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset

from tcd_hf.choices import EvaluationMode, ScoreNormalisation
from tcd_hf.evaluation.evaluate_model import Evaluation, curves_by_query_type, evaluate_model, query_types_of
from tcd_hf.evaluation.rank_plot import plot_ranks
from tcd_hf.evaluation.report import check_results_path, write_results
from tcd_hf.loading import load
from tcd_hf.reading.fingerprints import model_fingerprint, model_name

__all__ = ["evaluate_checkpoint"]


def evaluate_checkpoint(
    model: str | os.PathLike,
    data: str | os.PathLike,
    split: str = "test",
    mode: EvaluationMode = "full",
    top_k: int = 50,
    batch_size: int = 32,
    *,
    out: str | os.PathLike | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
    also: Sequence[ScoreNormalisation] = (),
    bank_split: str = "train",
) -> Evaluation:
    """Loads a model and a split of a prepared data set, and measures by [`evaluate_model`].

    Processes that `accelerate launch` started share the videos and captions among them; the first writes.

    Args:
        model (`str | os.PathLike`): see [`tcd_hf.load`].
        data (`str | os.PathLike`): folder that [`prepare_splits`] wrote.
        split (`str`, *optional*, defaults to `"test"`): of it.
        mode, top_k, batch_size, progress, also: see [`evaluate_model`].
        bank_split (`str`, *optional*, defaults to `"train"`): whose captions are the query bank of `"qb-norm"`.
        out (`str | os.PathLike`, *optional*): a file `NAME.json` to write the results to, and which model and data they
            are of, see [`write_results`]; a table is put beside it, `NAME.md`, and where Matplotlib is installed a plot
            of the ranks, `NAME.png`.
        device (`str | torch.device`, *optional*, defaults to `"auto"`): see [`tcd_hf.load`].

    Returns:
        [`Evaluation`]

    Raises:
        ValueError: no such split, `out` with another ending; or see [`evaluate_model`] and [`tcd_hf.load`].
    """
    if out is not None:
        check_results_path(out)  # before hours of embedding
    dataset = _load_split(Path(data), split)
    bank = _load_split(Path(data), bank_split)["captions"] if "qb-norm" in also else []
    query_bank = [caption for of_video in bank for caption in of_video]
    accelerator = Accelerator() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None
    loaded, processor = load(model, device=accelerator.device if accelerator else device)
    is_first = accelerator is None or accelerator.is_main_process
    options = mode, top_k, batch_size, progress and is_first, also, query_bank, accelerator
    evaluation = evaluate_model(loaded, processor, dataset, *options)
    if out is not None and is_first:
        about = {
            "dataset": Path(data).resolve().name,
            "split": split,
            "mode": mode,
            **({"top_k": top_k} if mode == "two-stage" else {}),
            "num_texts": len(evaluation.ranks["t2v"]),
            "num_videos": len(dataset),
            "model": model_name(loaded),
            "model_fingerprint": model_fingerprint(loaded),
        }
        write_results(evaluation.results, Path(out), about, evaluation.moments)
        curves = curves_by_query_type(evaluation.ranks, query_types_of(dataset))
        try:
            plot_ranks(curves, Path(out).with_suffix(".png"), f"{about['dataset']}, {split}, {mode}")
        except ImportError as error:
            warnings.warn(f"There is no plot: {error}", stacklevel=2)
    return evaluation


def _load_split(folder: Path, split: str) -> Dataset:
    if not (folder / split / "dataset_info.json").is_file():
        splits = sorted(path.parent.name for path in folder.glob("[!.]*/dataset_info.json"))
        raise ValueError(
            f"{folder} holds no prepared split {split!r}, but {splits}. Name the folder that `tcd-hf prepare` wrote."
        )
    return Dataset.load_from_disk(folder / split)
