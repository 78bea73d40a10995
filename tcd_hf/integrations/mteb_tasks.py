"""A task for mteb that anyone can run without a download: videos of the synthetic world, found by their scene text.

Real benchmarks of text-video retrieval hold little text, and their videos are not free to pass on. Here clips are drawn
from a seed (`tcd_hf.data.synthetic`; ours): objects that move before photograph-like backgrounds, and signs. A query
asks for a text, for what is seen, for both, or for their order, and has neighbours that nearly answer it.
"""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset, Video

try:
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
    from mteb.abstasks.task_metadata import TaskMetadata
except ImportError as error:
    raise ImportError("This needs mteb 2.26 or later, and Python 3.11: pip install 'tcd-hf[mteb]'") from error

from tcd_hf.data.synthesis import write_synthetic_videos
from tcd_hf.reading.cache import default_cache_dir

__all__ = ["SyntheticSceneTextT2V"]

SPLIT = "test"
SIZE = 384  # pixels


class SyntheticSceneTextT2V(AbsTaskRetrieval):
    """Text-to-video retrieval in the test split of the synthetic world, in mteb's form. Needs the extras
    `[synthetic,train-mini]`.

    Its main score is `hit_rate_at_1`, R@1; beside it stand `text_hit_rate_at_1`, `visual_...`, `both_...` and
    `temporal_...`, those of each kind of query. Clips are drawn once, into `folder`, and kept.

    Args:
        clips (`int`, *optional*, defaults to 1000): to draw; 20 are one group of each kind of query. With another
            number, or another seed, results are of another world: compare what was run with the same.
        seed (`int`, *optional*, defaults to 0): of the world.
        folder (`Path`, *optional*): where clips are kept; in the cache of tcd-hf by default.

    Example:

    ```python
    >>> import mteb
    >>> from tcd_hf import load_mini
    >>> from tcd_hf.integrations.mteb import TCDSearch
    >>> from tcd_hf.integrations.mteb_tasks import SyntheticSceneTextT2V

    >>> mteb.evaluate(TCDSearch(*load_mini()), SyntheticSceneTextT2V())
    ```"""

    metadata = TaskMetadata(
        name="SyntheticSceneTextT2V",
        description="Finds drawn video clips by the text, the moving shapes, or the order of both that they show.",
        type="Any2AnyRetrieval",
        category="t2v",
        modalities=["text", "video"],
        dataset={"path": "tcd-hf/synthetic-scene-text", "revision": "1"},
        eval_splits=[SPLIT],
        eval_langs=["eng-Latn"],
        main_score="hit_rate_at_1",
        reference=None,
        date=None,
        domains=["Scene", "Constructed"],
        task_subtypes=[],
        license="apache-2.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )

    def __init__(self, clips: int = 1000, seed: int = 0, folder: Path | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.clips, self.world_seed = clips, seed
        self.folder = Path(folder or default_cache_dir() / "synthetic-scene-text" / f"seed-{seed}-clips-{clips}")

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Draws what is not drawn yet, by `num_proc` processes."""
        if self.data_loaded:
            return
        described = self.folder / SPLIT / "metadata.jsonl"  # written last
        if not described.exists():
            write_synthetic_videos(
                self.folder, [SPLIT], self.clips, size=SIZE, seed=self.world_seed, workers=num_proc or 1
            )
        rows = [json.loads(line) for line in described.read_text(encoding="utf-8").splitlines()]
        ids = [Path(row["file_name"]).stem for row in rows]
        videos = [str(described.parent / row["file_name"]) for row in rows]
        self.kinds = {name: row["kind"] for name, row in zip(ids, rows, strict=True)}
        self.dataset = {
            "default": {
                SPLIT: RetrievalSplitData(
                    queries=Dataset.from_dict({"id": ids, "text": [row["caption"] for row in rows]}),
                    corpus=Dataset.from_dict({"id": ids, "video": videos}).cast_column("video", Video()),
                    relevant_docs={name: {name: 1} for name in ids},
                    top_ranked=None,
                )
            }
        }
        self.data_loaded = True

    def task_specific_scores(
        self, scores: dict, qrels: dict, results: dict[str, dict[str, float]], hf_split: str, hf_subset: str
    ) -> dict[str, float]:
        """The hit rate of each kind of query that the results have."""
        found: dict[str, list[bool]] = {}
        for query, of in results.items():
            found.setdefault(self.kinds[query], []).append(max(of, key=of.__getitem__, default=None) == query)
        return {f"{kind}_hit_rate_at_1": sum(hits) / len(hits) for kind, hits in sorted(found.items())}
