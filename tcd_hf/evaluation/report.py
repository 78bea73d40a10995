"""Results of an evaluation, by type of query, as JSON and as a Markdown table."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tcd_hf.evaluation.metrics import summarise_ranks

__all__ = [
    "ALL_QUERIES",
    "check_results_path",
    "moments_to_markdown",
    "summarise_by_query_type",
    "to_markdown",
    "write_results",
]

ALL_QUERIES = "all queries"
DIRECTIONS = {
    "t2v": "text to video",
    "v2t": "video to text",
    "v2t_transposed": "video to text, transposed",
    "t2v_clip4clip": "text to video, as CLIP4Clip counts",
    "v2t_clip4clip": "video to text, as CLIP4Clip counts",
    "t2v_dual_softmax": "text to video, dual softmax",
    "v2t_dual_softmax": "video to text, dual softmax",
    "t2v_qb_norm": "text to video, QB-Norm",
}
LOWER_MEDIAN = ("t2v_clip4clip",)  # of two in the middle


def summarise_by_query_type(
    ranks: Mapping[str, np.ndarray], query_types: Sequence[str] | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Metrics of all queries, in every direction, and of each type of text, which always searches all videos.

    Args:
        ranks (`Mapping[str, np.ndarray]`): as [`retrieval_ranks`] or [`two_stage_ranks`] gives them, and beside them
            those of other papers, see [`evaluate_model`].
        query_types (`Sequence[str]` of length `num_texts`, *optional*): what kind of query each text is.

    Returns:
        `dict`: by type, `ALL_QUERIES` first, then in order of appearance; then by direction, `t2v` alone for a type;
        the metrics of [`summarise_ranks`], and `queries`, how many there are.

    Raises:
        ValueError: `query_types` does not fit the texts.
    """

    def summarise(ranks, direction="t2v"):
        return {"queries": int(np.isfinite(ranks).sum()), **summarise_ranks(ranks, direction in LOWER_MEDIAN)}

    results = {ALL_QUERIES: {direction: summarise(each, direction) for direction, each in ranks.items()}}
    if query_types is None:
        return results
    text_ranks, types = ranks["t2v"], np.asarray(query_types)
    if types.shape != text_ranks.shape:
        raise ValueError(
            f"query_types must name the type of each of the {len(text_ranks)} texts, got shape {types.shape}."
        )
    return results | {name: {"t2v": summarise(text_ranks[types == name])} for name in dict.fromkeys(types.tolist())}


def to_markdown(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A table of results as [`summarise_by_query_type`] gives them: a line for each type and direction."""
    rows = [(name, direction, metrics) for name, part in results.items() for direction, metrics in part.items()]
    names = [name for name in rows[0][2] if name != "queries"]
    lines = [
        " | ".join(["| queries | direction | count", *names]) + " |",
        "|---|---|" + "---:|" * (1 + len(names)),
    ]
    for name, direction, metrics in rows:
        numbers = [f"{metrics[each]:g}" if each == "MdR" else f"{metrics[each]:.3f}" for each in names]
        lines.append(" | ".join([f"| {name}", DIRECTIONS[direction], str(metrics["queries"]), *numbers]) + " |")
    return "\n".join(lines)


def moments_to_markdown(moments: Mapping[str, Mapping[str, float]]) -> str:
    """A table of metrics of moments as [`evaluate_moments`] gives them: a line for each type of query."""
    names = [name for name in next(iter(moments.values())) if name != "queries"]
    lines = [" | ".join(["| moments | count", *names]) + " |", "|---|" + "---:|" * (1 + len(names))]
    for name, metrics in moments.items():
        numbers = [f"{metrics[each]:.3f}" for each in names]
        lines.append(" | ".join([f"| {name}", str(metrics["queries"]), *numbers]) + " |")
    return "\n".join(lines)


def check_results_path(path: str | os.PathLike) -> Path:
    """Where results are to be written. Raises `ValueError` for a name that does not end in .json."""
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"A file of results must end in .json, got {str(path)!r}.")
    return path


def write_results(
    results: Mapping[str, Mapping[str, Mapping[str, float]]],
    path: str | os.PathLike,
    about: Mapping[str, str | int] | None = None,
    moments: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Writes `{"about": ..., "results": ...}` as JSON to `path`, and the same as Markdown beside it, ending in `.md`.

    Args:
        results (`Mapping`): as [`summarise_by_query_type`] gives them.
        path (`str | os.PathLike`): with the ending `.json`; its folder is made if need be.
        about (`Mapping`, *optional*): what was measured and how, such as `{"dataset": "MSR-VTT", "split": "test"}`.
        moments (`Mapping`, *optional*): as [`evaluate_moments`] gives them; the key `"moments"` of the JSON, and a
            second table.

    Raises:
        ValueError: another ending.
    """
    path = check_results_path(path)
    about = dict(about or {})
    kept = {"about": about, "results": results, **({"moments": moments} if moments else {})}
    written = json.dumps(kept, ensure_ascii=False, indent=2)
    facts = [f"- {name.replace('_', ' ')}: {value}\n" for name, value in about.items()]
    tables = [to_markdown(results), *([moments_to_markdown(moments)] if moments else [])]
    table = "".join([*facts, "\n" if facts else "", "\n\n".join(tables), "\n"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table, encoding="utf-8")
