"""A checkpoint for the Hugging Face Hub: the folder that is published, and its upload.

Published are weights (safetensors), configuration, processor, tokenizer, the code of this package that
`trust_remote_code=True` needs, what sentence-transformers needs to open the folder, and a model card; nothing else that
lies in the folder of the checkpoint. A README.md there is the author's part of the card ([`make_model_card`]).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from tcd_hf.hub import check_hub
from tcd_hf.model_card import forget_folders, make_model_card, read_results

__all__ = ["check_repo_id", "export", "read_results_by_name", "upload"]

NEEDED = {
    "config.json": "model.save_pretrained",
    "processor_config.json": "processor.save_pretrained",
    "tokenizer_config.json": "processor.save_pretrained",
}
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")  # loading one may run any code
STALE = [
    "*.safetensors*",
    *(f"*{suffix}" for suffix in PICKLES),
]  # of an earlier upload: could be loaded in place of ours

# What `to_sentence_transformer(...).save_pretrained` adds, less the versions of libraries.
SENTENCE_TRANSFORMERS = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "tcd_hf.integrations.sentence_transformers.TCDModule"}
    ],
    "config_sentence_transformers.json": {
        "default_prompt_name": None,
        "model_type": "SentenceTransformer",
        "prompts": {"document": "", "query": ""},
        "similarity_fn_name": "dot",
    },
}


def export(folder: Path, output: Path, repo_id: str, results: Mapping[str, Mapping] | None = None) -> None:
    """Writes the folder that is published.

    Args:
        folder (`Path`): a saved model and processor.
        output (`Path`): a new or empty folder.
        repo_id (`str`): `"ORG/NAME"`, for the card.
        results (`Mapping[str, Mapping]`, *optional*): for the card, see [`tcd_hf.model_card.make_model_card`].

    Raises:
        ValueError: `folder` is not complete, not a TCD model or not safe, its weights do not fit its configuration, or
            `output` holds something. Nothing is written then.
    """
    check_folder(folder)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is no empty folder. Name a new one: nothing else may be published.")

    from tcd_hf import TCDModel, TCDProcessor

    model, info = TCDModel.from_pretrained(
        folder,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    wrong = {kind: sorted(info[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[kind]}
    if wrong:
        raise ValueError(
            f"The weights in {folder} do not fit its config.json: {wrong}. Save the model again with this release."
        )
    processor = TCDProcessor.from_pretrained(folder, trust_remote_code=False)
    readme = folder / "README.md"
    own_card = ModelCard.load(readme, ignore_metadata_errors=False) if readme.is_file() else None
    card = make_model_card(model.config, repo_id, results, own_card)
    forget_folders(model.config)  # of this machine: they are nobody else's business
    model.save_pretrained(output)  # copies modeling/ beside the weights
    processor.save_pretrained(output)  # copies processing/
    for name, content in SENTENCE_TRANSFORMERS.items():
        (output / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    card.save(output / "README.md")


def check_folder(folder: Path) -> None:
    """Refuses a folder that cannot be published as it is.

    Raises:
        ValueError: files are missing from a folder to be published, it is of another model, or it holds pickles.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    for name, writer in NEEDED.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no {name}. Write it with {writer}({str(folder)!r}).")
    pickles = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    if pickles:
        raise ValueError(
            f"{folder} holds pickles, which may run any code when they are loaded: {pickles}. Save the model by "
            "model.save_pretrained, which writes safetensors, into a folder of its own."
        )
    if not any((folder / f"model.safetensors{end}").is_file() for end in ("", ".index.json")):
        raise ValueError(f"{folder} holds no model.safetensors. Write it with model.save_pretrained({str(folder)!r}).")
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if model_type != "tcd":
        raise ValueError(f"{folder} holds a model of type {model_type!r}, only 'tcd' is published here.")


def upload(folder: Path, repo_id: str, private: bool = False, api: HfApi | None = None) -> str:
    """Uploads an exported folder in one commit, which takes weights of earlier ones away; makes the repository first.

    Args:
        folder (`Path`): as [`export`] wrote it.
        repo_id (`str`): `"ORG/NAME"`.
        private (`bool`, *optional*, defaults to `False`): whether a new repository is private, and an old one must be.
        api (`HfApi`, *optional*): another than the default one.

    Returns:
        `str`: where the commit can be seen.

    Raises:
        ConnectionError: the Hub does not answer.
        ValueError: the repository is public and must not be. Nothing is uploaded then.
    """
    if api is None:
        check_hub()
        api = HfApi()
    api.create_repo(repo_id, private=private or None, exist_ok=True)
    if private and not api.model_info(repo_id).private:  # an existing one stays what it is
        raise ValueError(f"{repo_id} is public. Make it private in its settings first, or name another --repo-id.")
    message = "Upload model, processor, code and card"
    commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, delete_patterns=STALE)
    return str(commit.commit_url)


def read_results_by_name(entries: Sequence[str]) -> dict[str, Mapping]:
    """Results of evaluations for the card.

    Args:
        entries (`Sequence[str]`): JSON files of [`write_results`], each as `FILE` or `NAME=FILE`; without the name of
            the data set, that of the file.

    Raises:
        ValueError: two of one name, or a file that holds no results.
    """
    results = {}
    for entry in entries:
        *name, path = entry.split("=", 1)
        name = name[0] if name else Path(path).stem
        if name in results:
            raise ValueError(f"Two files of results are named {name!r}. Name each data set: NAME=FILE.")
        results[name] = read_results(path)
    return results


def check_repo_id(repo_id: str) -> str:
    """A name of a repository on the Hub, as it was given.

    Raises:
        ValueError: it is not in the form `ORG/NAME`, or has characters that the Hub does not take.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(str(error)) from error
    if "/" not in repo_id:
        raise ValueError(f"must be ORG/NAME, got {repo_id!r}.")
    return repo_id
