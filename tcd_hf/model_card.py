"""The model card of a published checkpoint, its results taken from files that an evaluation wrote."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from tcd_hf.evaluation.report import ALL_QUERIES, DIRECTIONS, to_markdown
from tcd_hf.modeling.configuration_tcd import TCDConfig

__all__ = ["forget_folders", "hub_names", "make_model_card", "read_results"]

# The Hub has no task of finding a video by a sentence: its `text-to-video` generates, its `video-text-to-text` answers,
# its `visual-document-retrieval` searches pages. What this model gives are embeddings of texts and of videos.
PIPELINE_TAG = "feature-extraction"
TAGS = ["text-video-retrieval", "video-retrieval"]
READING_TAGS = ["scene-text", "ocr"]
LICENSE = "apache-2.0"
METRIC_TYPES = {"MdR": "median_rank", "MnR": "mean_rank", "MRR": "mean_reciprocal_rank"}  # R@k: recall_at_k

WITH_TEXT = """\
Finds the video a sentence describes, reading the text that appears *in* the video. The scene text of each time window
becomes a caption, and captions and frames explain each other (TCD)."""
FRAMES_ALONE = "Finds the video a sentence describes by what its frames show. It does not read the text in them."
COARSE_TO_FINE = " One coarse vector per video is for recall, finer scores are for ranking (EERCF)."

USAGE = """\
## How to use

```bash
pip install "transformers>=5.13,<6" torch torchvision decord2 av rapidocr onnxruntime rapidfuzz
```

```python
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained("{repo_id}", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("{repo_id}", trust_remote_code=True)

inputs = processor(text=["the store TESCO express"], videos=["a.mp4", "b.mp4"], return_tensors="pt")
similarity = model(**inputs).logits_per_text  # (texts, videos)
```

`trust_remote_code=True` runs the Python files of this repository: read them, and name a `revision`. With the package
tcd-hf, after `import tcd_hf`, its own code runs instead, and
`tcd-hf search "the store TESCO express" --videos my_clips/ --model {repo_id}` searches a folder of clips."""

LIMITS = """\
## Limits

- Sampled frames are all it sees: what shows between them is missed.
- Sentences, and captions of scene text, are cut at the length that the text tower takes.
- It shares the biases of the data its towers were trained on. Texts in videos name people, plates and addresses: mind
  the law, and those filmed, before searching recordings of them."""
READING_LIMIT = """
- It reads what its OCR engine reads. Handwriting, strong motion blur, and scripts the engine does not know are lost."""
NOT_MEASURED = "It was published without a measurement: nothing is known of how well it finds anything."

CITATION = """\
## Citation

```bibtex
@inproceedings{tcd2026,
  title     = {Temporal Calibrating and Distilling for Scene-Text Aware Text-Video Retrieval},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year      = {2026},
  doi       = {10.1609/aaai.v40i16.38335}
}

@inproceedings{eercf2024,
  title     = {Towards Efficient and Effective Text-to-Video Retrieval with Coarse-to-Fine Visual Representation \
Learning},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year      = {2024},
  doi       = {10.1609/aaai.v38i6.28327}
}
```"""

Results = Mapping[str, Mapping[str, Mapping[str, float]]]


def make_model_card(
    config: TCDConfig, repo_id: str, results: Mapping[str, Results] | None = None, own_card: ModelCard | None = None
) -> ModelCard:
    """The card of a checkpoint: metadata with a `model-index`, how to use it, results, limits, citation.

    It holds no figure but those of `results`, and what the author wrote.

    Args:
        config ([`TCDConfig`]): of the checkpoint.
        repo_id (`str`): `"ORG/NAME"` on the Hub.
        results (`Mapping[str, Mapping]`, *optional*): by name of the data set, results as [`read_results`] gives them.
        own_card (`ModelCard`, *optional*): the author's. Its text stands in place of the introduction and the limits;
            its metadata is kept (licence, base model, languages, tags, ...), except for results, task and library.

    Returns:
        `huggingface_hub.ModelCard`
    """
    results = results or {}
    name, bases = repo_id.split("/")[-1], hub_names(config)
    kept = own_card.data.to_dict() if own_card else {}
    kept.pop("model-index", None)
    tags = [*TAGS, *(READING_TAGS if config.reads_ocr else []), *kept.get("tags", [])]
    data = {
        "license": LICENSE,
        "base_model": bases[0] if len(bases) == 1 else bases or None,
        **kept,
        "library_name": "transformers",
        "pipeline_tag": PIPELINE_TAG,
        "tags": list(dict.fromkeys(tags)),
    }
    if results:
        data |= {
            "model_name": name,
            "eval_results": [each for pair in results.items() for each in _eval_results(*pair)],
        }
    metadata = ModelCardData(**data)

    usage = USAGE.format(repo_id=repo_id)
    if own_card:
        sections = [own_card.text.strip(), usage, *_results_section(results), CITATION]
    else:
        measured = _results_section(results) or [NOT_MEASURED]
        limits = LIMITS + (READING_LIMIT if config.reads_ocr else "")
        sections = [_introduction(config, name), usage, *measured, limits, CITATION]
    return ModelCard("\n\n".join([f"---\n{metadata.to_yaml()}\n---", *sections]) + "\n")


def read_results(path: str | Path) -> Results:
    """Results of a JSON file that [`tcd_hf.evaluation.report.write_results`] wrote.

    Args:
        path (`str` or `Path`): of the file.

    Returns:
        `dict`: by type of query, then direction, then metric, a finite number.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be read.
    """

    def refuse(cause: str) -> NoReturn:
        raise ValueError(
            f"{path} does not hold results as tcd_hf.evaluation.report.write_results writes them: {cause}. "
            "Give the JSON file of an evaluation."
        )

    try:
        written = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=lambda name: refuse(f"a {name}"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        refuse(f"no JSON ({error})")
    results = written.get("results") if isinstance(written, dict) else None
    if not isinstance(results, dict) or ALL_QUERIES not in results:
        refuse(f"no entry {ALL_QUERIES!r}")
    for kind, part in results.items():
        if not isinstance(part, dict) or not part or not part.keys() <= DIRECTIONS.keys():
            refuse(f"{kind!r} must have directions among {list(DIRECTIONS)}")
        for direction, metrics in part.items():
            numbers = isinstance(metrics, dict) and all(type(value) in (int, float) for value in metrics.values())
            if not numbers or "queries" not in metrics:
                refuse(f"{kind!r}, {direction!r} must hold numbers, the count 'queries' among them")
    return results


def hub_names(config: TCDConfig) -> list[str]:
    """The Hub's names, `"org/name"`, of the backbone that a model started from, or of its towers where these were two
    models; without local folders."""
    return list(dict.fromkeys(part._name_or_path for part in _origins(config) if _is_hub_name(part._name_or_path)))


def forget_folders(config: TCDConfig) -> None:
    """Takes out of a configuration, in place, what folders of this machine its backbone came from."""
    for part in _origins(config):
        if not _is_hub_name(part._name_or_path):
            part._name_or_path = ""


def _origins(config: TCDConfig) -> list[Any]:
    """The configurations that may tell where weights came from."""
    backbone = config.backbone_config
    return [
        backbone,
        *(getattr(backbone, part) for part in ("text_config", "vision_config") if hasattr(backbone, part)),
    ]


def _is_hub_name(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name and not Path(name).exists()


def _eval_results(dataset: str, results: Results) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=PIPELINE_TAG,
            task_name="text-video retrieval",
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=METRIC_TYPES.get(metric) or metric.replace("R@", "recall_at_"),
            metric_name=f"{metric}, {DIRECTIONS[direction]}, {kind}",
            metric_value=value,
        )
        for kind, part in results.items()
        for direction, metrics in part.items()
        for metric, value in metrics.items()
        if metric != "queries"
    ]


def _introduction(config: TCDConfig, name: str) -> str:
    what = WITH_TEXT if config.reads_ocr else FRAMES_ALONE
    if config.interaction == "tib":
        what += COARSE_TO_FINE
    bases = " and ".join(f"[{base}](https://huggingface.co/{base})" for base in hub_names(config))
    started = f"\n\nIt started from {bases}." if bases else ""
    return f"# {name}\n\n{what}{started}"


def _results_section(results: Mapping[str, Results]) -> list[str]:
    """At most one section. Shares are in [0, 1], ranks count from 1."""
    if not results:
        return []
    tables = [f"### {dataset}\n\n{to_markdown(each)}" for dataset, each in results.items()]
    return ["\n\n".join(["## Results", *tables])]
