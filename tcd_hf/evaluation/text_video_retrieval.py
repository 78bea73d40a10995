"""
The metrics of tcd_hf for `evaluate`, offline:

```python
>>> import evaluate
>>> from tcd_hf.evaluation import text_video_retrieval

>>> metric = evaluate.load(text_video_retrieval.__file__)
>>> metric.compute(predictions=similarity, references=text_to_video)["t2v_R@1"]
```

`evaluate` copies its inputs to disk and back: `compute_retrieval_metrics` gives the same numbers at once.
"""

import datasets
import evaluate

from tcd_hf.evaluation.metrics import compute_retrieval_metrics

__all__ = ["TextVideoRetrieval"]


class TextVideoRetrieval(evaluate.Metric):
    """Text-to-video and video-to-text retrieval metrics, see [`compute_retrieval_metrics`]. One text is one example."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="",
            inputs_description=(
                "\nFor every text, in any number of batches:\n"
                "    predictions (`num_videos` floats): its scores with all videos.\n"
                "    references (int): the column of the video that it describes.\n"
                "Returns: `R@1`, `R@5`, `R@10`, `R@50`, `MdR`, `MnR`, `MRR`, each with the prefix `t2v_` or `v2t_`.\n"
            ),
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[list[float]], references: list[int]) -> dict[str, float]:
        lengths = sorted({len(scores) for scores in predictions})
        if len(lengths) > 1:
            raise ValueError(
                f"Every text needs a score for every video, but predictions hold from {lengths[0]} to {lengths[-1]} "
                "scores a text."
            )
        return compute_retrieval_metrics(predictions, references)
