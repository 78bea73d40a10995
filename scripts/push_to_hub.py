"""Publishes a checkpoint on the Hugging Face Hub, or writes the folder that would be published.

    python scripts/push_to_hub.py FOLDER --repo-id ORG/NAME --results "MSR-VTT 1k-A=msrvtt.json" --dry-run OUT
    python scripts/push_to_hub.py FOLDER --repo-id ORG/NAME --results "MSR-VTT 1k-A=msrvtt.json"

FOLDER was written by `model.save_pretrained` and `processor.save_pretrained`. Published are weights (safetensors),
configuration, processor, tokenizer, the code of this package that `trust_remote_code=True` needs, what
sentence-transformers needs to open the folder, and a model card; nothing else that lies in FOLDER. A README.md there is
the author's part of the card (`tcd_hf.model_card`). Uploading asks for a login (`hf auth login`) or `HF_TOKEN`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

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


def main(argv: list[str] | None = None) -> int:
    """Exports, and uploads unless told not to; returns the exit status."""
    args = _parse(argv)
    try:
        results = _read_results(args.results)
        if args.dry_run:
            export(args.folder, args.dry_run, args.repo_id, results)
            _list_files(args.dry_run)
            return 0
        with tempfile.TemporaryDirectory() as output:
            export(args.folder, Path(output), args.repo_id, results)
            _list_files(Path(output))
            print(upload(Path(output), args.repo_id, args.private))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


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
    from tcd_hf.model_card import hub_name, make_model_card

    model, info = TCDModel.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True
    )
    wrong = {kind: sorted(info[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[kind]}
    if wrong:
        raise ValueError(
            f"The weights in {folder} do not fit its config.json: {wrong}. Save the model again with this release."
        )
    processor = TCDProcessor.from_pretrained(folder)
    readme = folder / "README.md"
    own_card = ModelCard.load(readme, ignore_metadata_errors=False) if readme.is_file() else None
    card = make_model_card(model.config, repo_id, results, own_card)
    if hub_name(model.config) is None:
        model.config.backbone_config._name_or_path = ""  # a folder of this machine is nobody else's business

    model.save_pretrained(output)  # copies modeling/ beside the weights
    processor.save_pretrained(output)  # copies processing/
    for name, content in SENTENCE_TRANSFORMERS.items():
        (output / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    card.save(output / "README.md")


def check_folder(folder: Path) -> None:
    """
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
        raise ValueError(f"{folder} holds a model of type {model_type!r}, this script publishes 'tcd'.")


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
        ValueError: the repository is public and must not be. Nothing is uploaded then.
    """
    api = api or HfApi()
    api.create_repo(repo_id, private=private or None, exist_ok=True)
    if private and not api.model_info(repo_id).private:  # an existing one stays what it is
        raise ValueError(f"{repo_id} is public. Make it private in its settings first, or name another --repo-id.")
    message = "Upload model, processor, code and card"
    commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, delete_patterns=STALE)
    return str(commit.commit_url)


def _read_results(entries: list[str]) -> dict[str, Mapping]:
    from tcd_hf.model_card import read_results

    results = {}
    for entry in entries:
        *name, path = entry.split("=", 1)
        name = name[0] if name else Path(path).stem
        if name in results:
            raise ValueError(f"Two files of results are named {name!r}. Name each data set: --results NAME=FILE.")
        results[name] = read_results(path)
    return results


def _list_files(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>13,}  {path.relative_to(folder)}")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a saved model and processor")
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="where on the Hub")
    parser.add_argument(
        "--results",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="JSON of an evaluation, and the name of its data set; without a name, that of the file",
    )
    parser.add_argument("--private", action="store_true", help="make the repository private; refuse a public one")
    parser.add_argument("--dry-run", type=Path, metavar="OUT", help="write the folder here and upload nothing")
    args = parser.parse_args(argv)
    try:
        validate_repo_id(args.repo_id)
    except HFValidationError as error:
        parser.error(f"--repo-id: {error}")
    if "/" not in args.repo_id:
        parser.error(f"--repo-id must be ORG/NAME, got {args.repo_id!r}")
    return args


if __name__ == "__main__":
    raise SystemExit(main())
