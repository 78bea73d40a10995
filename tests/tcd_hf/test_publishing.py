"""What is published works where tcd_hf is not installed, says what was measured, and holds nothing unsafe."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from tcd_hf import publishing
from tcd_hf.evaluation.report import ALL_QUERIES, write_results
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tests.conftest import assert_computed_alike, randomise_fusion
from tests.tcd_hf.conftest import invoke, make_tiny_model, make_tiny_processor

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "tcd_hf" / "checkpoints" / "tcd-mini"
RESULTS = {ALL_QUERIES: {"t2v": {"queries": 8, "R@1": 0.625, "MdR": 1.5}}}
QUERIES, CAPTIONS = ["open", "the end"], ["open", "", "the end", "open"]

# Runs in a process of its own, which cannot import the package.
LOADER = """
import sys
sys.modules["tcd_hf"] = None
import numpy as np
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor

folder = sys.argv[1]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
for each in (model, processor):
    assert type(each).__module__.startswith("transformers_modules."), type(each)
frames = np.load("frames.npy")
inputs = processor(text={queries!r}, videos=[frames], ocr_captions=[{captions!r}], fps=4.0, return_tensors="pt")
outputs = {{"logits": model(**inputs).logits_per_text.detach().contiguous()}}
save_file(outputs, "outputs.safetensors")
"""


@pytest.fixture
def hub(monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(publishing, "HfApi", no_network)
    return publishing


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a saved model, all weights random, and its processor."""
    folder = tmp_path / "checkpoint"
    randomise_fusion(make_tiny_model()).save_pretrained(folder)
    make_tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def results(tmp_path):
    write_results(RESULTS, tmp_path / "town.json")
    return tmp_path / "town.json"


class FakeApi:
    """Keeps what it is asked for, and the names of the files it is given."""

    def __init__(self, private: bool = False):
        self.private, self.asked, self.files = private, [], []

    def create_repo(self, repo_id, **options):
        self.asked.append(("create_repo", repo_id, options))

    def model_info(self, repo_id):
        return SimpleNamespace(private=self.private)

    def upload_folder(self, *, repo_id, folder_path, **options):
        self.asked.append(("upload_folder", repo_id, options))
        self.files = sorted(path.name for path in Path(folder_path).iterdir())
        return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")


def logits_elsewhere(folder: Path, frames: np.ndarray, captions: list[str], work: Path) -> torch.Tensor:
    """Logits of a published folder in a process without the package."""
    work.mkdir()
    np.save(work / "frames.npy", frames)
    (work / "load.py").write_text(LOADER.format(queries=QUERIES, captions=captions))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(work / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "load.py", str(folder)]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return load_file(work / "outputs.safetensors")["logits"]


class TestDryRun:
    @pytest.mark.parametrize("which", ["tiny", pytest.param("tcd-mini", marks=pytest.mark.slow)])
    def test_works_without_the_package(self, hub, checkpoint, results, tmp_path, which):
        folder, output = MINI if which == "tcd-mini" else checkpoint, tmp_path / "out"
        arguments = [str(folder), "--repo-id", f"org/{which}", "--results", str(results), "--dry-run", str(output)]
        assert invoke("push", *arguments).exit_code == 0

        frames = np.random.default_rng(0).integers(0, 256, (8, 20, 24, 3), dtype=np.uint8)
        model, processor = TCDModel.from_pretrained(folder), TCDProcessor.from_pretrained(folder)
        captions = CAPTIONS * (processor.num_frames // len(CAPTIONS))
        inputs = processor(text=QUERIES, videos=[frames], ocr_captions=[captions], fps=4.0, return_tensors="pt")
        with torch.no_grad():
            expected = model(**inputs).logits_per_text
        assert len(expected.unique()) == len(QUERIES)
        found = logits_elsewhere(output, frames, captions, tmp_path / "elsewhere")
        assert_computed_alike(found, expected, rtol=1e-4 if which == "tcd-mini" else 1e-5)  # a scale of 100

    def test_files(self, hub, checkpoint, tmp_path):
        for name in ("training_log.jsonl", "modeling_tcd.py", "other.safetensors"):
            (checkpoint / name).write_text("not to be published")
        output = tmp_path / "out"
        done = invoke("push", checkpoint, "--repo-id", "org/name", "--dry-run", output)
        assert done.exit_code == 0, done.stderr
        sources = {path.name for folder in ("modeling", "processing") for path in (ROOT / folder).glob("*.py")}
        published = {path.name for path in output.iterdir()}
        assert published <= sources | {
            "README.md",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        assert {"modeling_tcd.py", "processing_tcd.py", "README.md", "tokenizer.json"} <= published
        assert (output / "modeling_tcd.py").read_text() == (ROOT / "modeling" / "modeling_tcd.py").read_text()
        before, after = (load_file(each / "model.safetensors") for each in (checkpoint, output))
        assert before.keys() == after.keys()
        assert all(after[name].equal(before[name]) and after[name].dtype == before[name].dtype for name in before)
        listed = {line.split()[-1] for line in done.stdout.splitlines()}
        assert published == listed

    def test_opens_by_sentence_transformers(self, hub, checkpoint, tmp_path):
        library = pytest.importorskip("sentence_transformers", reason="needs the extra tcd-hf[sentence-transformers]")
        from tcd_hf.integrations.sentence_transformers import to_sentence_transformer

        model, processor = TCDModel.from_pretrained(checkpoint), TCDProcessor.from_pretrained(checkpoint)
        own = to_sentence_transformer(model, processor)
        own.save_pretrained(str(tmp_path / "own"), create_model_card=False)
        output = tmp_path / "out"
        hub.export(checkpoint, output, "org/name")
        for name in hub.SENTENCE_TRANSFORMERS:
            expected = json.loads((tmp_path / "own" / name).read_text())
            if isinstance(expected, dict):
                del expected["__version__"]
            assert json.loads((output / name).read_text()) == expected

        opened = library.SentenceTransformer(str(output), trust_remote_code=True, device="cpu")
        frames = np.random.default_rng(0).integers(0, 256, (8, 20, 24, 3), dtype=np.uint8)
        vectors = opened.encode([*QUERIES, {"video": frames}])
        np.testing.assert_allclose(vectors, own.encode([*QUERIES, {"video": frames}]), atol=1e-5)
        assert opened.similarity_fn_name == "dot"
        assert len(np.unique(vectors.round(4), axis=0)) == 3

    def test_card(self, hub, checkpoint, results, tmp_path):
        output = tmp_path / "out"
        files = [str(results), f"Village, test={results}"]
        done = invoke("push", checkpoint, "--repo-id", "org/n", "--results", *files, "--dry-run", output)
        assert done.exit_code == 0, done.stderr
        card = ModelCard.load(output / "README.md", ignore_metadata_errors=False)
        values = {(each.dataset_name, each.metric_type): each.metric_value for each in card.data.eval_results}
        assert values == {
            (name, metric): value
            for name in ("town", "Village, test")
            for metric, value in (("recall_at_1", 0.625), ("median_rank", 1.5))
        }
        assert "| all queries | text to video | 8 | 0.625 | 1.5 |" in card.text

    def test_the_authors_card_is_kept(self, hub, checkpoint, tmp_path):
        (checkpoint / "README.md").write_text("---\nlicense: mit\n---\n\n# Mine\n\nTrained by me.\n")
        hub.export(checkpoint, tmp_path / "out", "org/name")
        card = ModelCard.load(tmp_path / "out" / "README.md")
        assert card.data.license == "mit"
        assert card.text.strip().startswith("# Mine\n\nTrained by me.")

    @pytest.mark.parametrize(("name", "published"), [("/home/me/clip", ""), ("org/clip", "org/clip")])
    def test_no_local_path_is_published(self, hub, checkpoint, tmp_path, name, published):
        config = json.loads((checkpoint / "config.json").read_text())
        config["backbone_config"]["_name_or_path"] = name
        (checkpoint / "config.json").write_text(json.dumps(config))
        hub.export(checkpoint, tmp_path / "out", "org/name")
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["backbone_config"]["_name_or_path"] == published
        assert (ModelCard.load(tmp_path / "out" / "README.md").data.base_model or "") == published
        assert not any(b"/home/me" in path.read_bytes() for path in (tmp_path / "out").iterdir())


def lose_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


class TestRefusal:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda folder: (folder / "config.json").unlink(), "no config.json. Write it with model.save"),
            (
                lambda folder: (folder / "processor_config.json").unlink(),
                "no processor_config.json. Write it with proc",
            ),
            (lambda folder: (folder / "tokenizer_config.json").unlink(), "no tokenizer_config.json"),
            (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors. Write it with model.save"),
            (lambda folder: (folder / "pytorch_model.bin").touch(), r"holds pickles.*pytorch_model.bin"),
            (lambda folder: ((folder / "a").mkdir(), (folder / "a" / "rng.PKL").touch()), r"holds pickles.*rng.PKL"),
            (lambda folder: change_config(folder, model_type="clip"), "of type 'clip'"),
            (lose_a_weight, "do not fit its config.json.*missing_keys"),
            (lambda folder: change_config(folder, num_frames=7), "do not fit its config.json.*mismatched_keys"),
            (lambda folder: change_config(folder, use_distillation=False), "do not fit its config.json.*unexpected_k"),
            (shutil.rmtree, "There is no folder"),
        ],
    )
    def test_of_a_folder(self, hub, checkpoint, tmp_path, spoil, message):
        spoil(checkpoint)
        with pytest.raises(ValueError, match=message):
            hub.export(checkpoint, tmp_path / "out", "org/name")
        assert not (tmp_path / "out").exists()

    def test_of_an_output_that_holds_something(self, hub, checkpoint, tmp_path):
        output = tmp_path / "out"
        output.mkdir()
        (output / "secret.txt").touch()
        with pytest.raises(ValueError, match="no empty folder"):
            hub.export(checkpoint, output, "org/name")
        assert [path.name for path in output.iterdir()] == ["secret.txt"]
        (output / "secret.txt").unlink()
        hub.export(checkpoint, output, "org/name")
        assert (output / "model.safetensors").is_file()

    def test_is_told_without_a_traceback(self, hub, tmp_path):
        refused = invoke("push", tmp_path / "none", "--repo-id", "org/name", "--dry-run", tmp_path / "out")
        assert refused.exit_code == 1 and refused.stderr.startswith("error: There is no folder")

    @pytest.mark.parametrize("files", [["town.json", "other/town.json"], ["A=town.json", "A=town.json"]])
    def test_of_two_results_of_one_name(self, hub, results, checkpoint, tmp_path, monkeypatch, files):
        monkeypatch.chdir(tmp_path)
        write_results(RESULTS, "other/town.json")
        arguments = [str(checkpoint), "--repo-id", "org/name", "--results", *files, "--dry-run", "out"]
        refused = invoke("push", *arguments)
        assert refused.exit_code == 1 and "Two files of results are named" in refused.stderr
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("repo_id", ["name", "a/b/c", "org/na me"])
    def test_of_a_name(self, hub, repo_id):
        refused = invoke("push", "folder", "--repo-id", repo_id)
        assert refused.exit_code == 2 and "--repo-id" in refused.stderr


class TestUpload:
    def test_by_the_command(self, hub, checkpoint, tmp_path, monkeypatch):
        hub.export(checkpoint, tmp_path / "out", "org/name")
        api = FakeApi()
        monkeypatch.setattr(hub, "HfApi", lambda: api)
        monkeypatch.setattr(hub, "check_hub", lambda: None)
        done = invoke("push", checkpoint, "--repo-id", "org/name")
        assert done.exit_code == 0, done.stderr
        created, uploaded = api.asked
        assert created == ("create_repo", "org/name", {"private": None, "exist_ok": True})
        assert uploaded[:2] == ("upload_folder", "org/name")
        assert {"*.safetensors*", "*.bin"} <= set(uploaded[2]["delete_patterns"])
        assert api.files == sorted(path.name for path in (tmp_path / "out").iterdir())
        assert done.stdout.endswith("https://huggingface.co/org/name/commit/1\n")

    def test_private(self, hub, tmp_path):
        api = FakeApi(private=True)
        hub.upload(tmp_path, "org/name", private=True, api=api)
        assert [each[0] for each in api.asked] == ["create_repo", "upload_folder"]
        assert api.asked[0][2]["private"] is True

    def test_nothing_private_goes_to_a_public_repository(self, hub, tmp_path):
        api = FakeApi(private=False)
        with pytest.raises(ValueError, match="org/name is public"):
            hub.upload(tmp_path, "org/name", private=True, api=api)
        assert [each[0] for each in api.asked] == ["create_repo"]

    def test_nothing_is_uploaded_of_a_bad_folder(self, hub, checkpoint, monkeypatch):
        api = FakeApi()
        monkeypatch.setattr(hub, "HfApi", lambda: api)
        (checkpoint / "model.bin").touch()
        assert invoke("push", str(checkpoint), "--repo-id", "org/name").exit_code == 1
        assert api.asked == []
