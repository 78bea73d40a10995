"""Evaluation of a model on a prepared data set: embeddings, ranks in every mode, files, and what must not leak."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets
from PIL import Image as PILImage

from tcd_hf.choices import EvaluationMode
from tcd_hf.data.prepared_data import PREPARED_FEATURES
from tcd_hf.data.retrieval_datasets import MOMENTS
from tcd_hf.evaluation import evaluate_checkpoint
from tcd_hf.evaluation import evaluate_model as evaluation
from tcd_hf.evaluation.embedding import embed_dataset
from tcd_hf.evaluation.evaluate_model import (
    curves_by_query_type,
    evaluate_model,
    query_types_of,
    rank,
)
from tcd_hf.evaluation.metrics import retrieval_ranks
from tcd_hf.evaluation.report import ALL_QUERIES, moments_to_markdown
from tcd_hf.model_card import read_results
from tcd_hf.reading.fingerprints import model_fingerprint
from tests.conftest import randomise_fusion
from tests.tcd_hf.conftest import NUM_FRAMES, invoke, make_tiny_model, make_tiny_processor

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "evaluate.py"
WORDS = ["tesco", "exit", "gate b4", "24", "sushi", "open", "hotel lux", "bus 9", "sale"]
NUM_CAPTIONS = (2, 1, 1, 0, 3, 1, 1)  # of each video; the fourth is a distractor


def prepared(num_captions=NUM_CAPTIONS, seed: int = 0) -> Dataset:
    """Videos of noise and of words, in the columns of a prepared data set."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, count in enumerate(num_captions):
        seen = [" ".join(rng.choice(WORDS, size=rng.integers(0, 3))) for _ in range(NUM_FRAMES)]
        pixels = rng.integers(0, 255, size=(NUM_FRAMES, 16, 16, 3), dtype=np.uint8)
        rows.append(
            {
                "video_id": f"video {seed}-{number}",
                "captions": [f"{' '.join(rng.choice(WORDS, size=4))} {number}" for _ in range(count)],
                "query_types": [("text", "visual")[number % 2]] * count,
                "frames": [PILImage.fromarray(each) for each in pixels],
                "ocr_captions": seen,
                "ocr_mask": [bool(each) for each in seen],
                "window_starts": list(range(NUM_FRAMES)),
                "window_ends": list(range(1, NUM_FRAMES + 1)),
                "duration": NUM_FRAMES,
            }
        )
    return Dataset.from_list(rows, features=PREPARED_FEATURES)


def with_moments(dataset: Dataset) -> Dataset:
    """The same, where captions have the time of a window that the number of their video names; some have none."""
    times = []
    for number, count in enumerate(NUM_CAPTIONS):
        start = number % NUM_FRAMES
        times.append([[[start, start + 1]] if number != 1 and caption < 2 else [] for caption in range(count)])
    return dataset.add_column("moments", times, feature=MOMENTS["moments"])


def make_model(**options):
    return randomise_fusion(make_tiny_model(**options))


@pytest.fixture(scope="module")
def processor():
    return make_tiny_processor()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return prepared()


class TestEmbedding:
    def test_equals_one_forward_of_everything(self, processor, dataset):
        model = make_model()
        texts, text_to_video, features = embed_dataset(model, processor, dataset, batch_size=3, progress=False)
        captions = [caption for row in dataset for caption in row["captions"]]
        assert text_to_video.tolist() == [0, 0, 1, 2, 4, 4, 4, 5, 6]
        inputs = processor(text=captions, videos=dataset["frames"][:], ocr_captions=dataset["ocr_captions"][:])
        with torch.no_grad():
            whole = model(**inputs)
        torch.testing.assert_close(texts, whole.text_embeds, atol=1e-5, rtol=0)
        for name in ("frame_embeds", "ocr_embeds", "fused_frame_embeds", "fused_ocr_embeds", "coarse_embeds"):
            torch.testing.assert_close(features[name], whole.video_features[name], atol=1e-5, rtol=0)
        assert features.ocr_mask.tolist() == dataset["ocr_mask"][:]

    def test_keeps_no_output_of_the_towers(self, processor, dataset):
        _, _, features = embed_dataset(make_model(), processor, dataset, progress=False)
        assert features.vision_model_output is None and features.ocr_model_output is None
        assert all(len(rows) == len(dataset) for rows in features.values())

    def test_equal_captions_have_equal_embeddings(self, processor, dataset):
        captions = [["a sale"], ["tesco", "exit at gate b4"], ["a sale"]]
        rows = dataset.select(range(3)).remove_columns("captions").add_column("captions", captions)
        texts, text_to_video, _ = embed_dataset(make_model(), processor, rows, batch_size=1, progress=False)
        assert text_to_video.tolist() == [0, 1, 1, 2]
        assert torch.equal(texts[0], texts[3])  # embedded once, and copied
        assert not torch.allclose(texts[0], texts[1], atol=1e-3)

    def test_in_the_dtype_of_the_model(self, processor, dataset):
        texts, _, features = embed_dataset(make_model().to(torch.bfloat16), processor, dataset, progress=False)
        assert texts.dtype == features.frame_embeds.dtype == torch.bfloat16

    def test_mistakes(self, processor, dataset):
        with pytest.raises(ValueError, match=r"call `model.eval\(\)`"):
            embed_dataset(make_model().train(), processor, dataset)
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            embed_dataset(make_model(), processor, dataset, batch_size=0)
        with pytest.raises(ValueError, match="2 videos, none of which has a caption"):
            embed_dataset(make_model(), processor, prepared((0, 0)))


class TestRanks:
    @pytest.mark.parametrize("options", [{}, {"text_condition": "before"}, {"interaction": "tib"}], ids=str)
    def test_of_each_mode(self, processor, dataset, options):
        model = make_model(**options)
        embeddings = texts, text_to_video, features = embed_dataset(model, processor, dataset, progress=False)
        with torch.no_grad():
            fine = model.score(texts, features, "reference").similarity.numpy()
            coarse = (model.get_coarse_queries(texts) @ features.coarse_embeds.T).numpy()
        for mode, scores in (("full", fine), ("coarse", coarse)):
            expected = retrieval_ranks(scores, text_to_video)
            for direction, ranks in rank(model, *embeddings, mode).items():
                np.testing.assert_array_equal(ranks, expected[direction])
        np.testing.assert_array_equal(
            rank(model, *embeddings, "two-stage", top_k=len(texts))["t2v"], retrieval_ranks(fine, text_to_video)["t2v"]
        )
        # One candidate each: reranking has nothing to choose from.
        np.testing.assert_array_equal(
            rank(model, *embeddings, "two-stage", top_k=1)["t2v"], retrieval_ranks(coarse, text_to_video)["t2v"]
        )
        assert not np.array_equal(
            retrieval_ranks(fine, text_to_video)["t2v"], rank(model, *embeddings, "coarse")["t2v"]
        )

    @pytest.mark.parametrize("options", [{}, {"text_condition": "before"}, {"interaction": "tib"}], ids=str)
    def test_blocks_of_texts(self, processor, dataset, options, monkeypatch):
        model = make_model(**options)
        embeddings = embed_dataset(model, processor, dataset, progress=False)
        expected, score, sizes = rank(model, *embeddings), model.score, []

        def counted(text_embeds, *args):
            sizes.append(len(text_embeds))
            return score(text_embeds, *args)

        monkeypatch.setattr(model, "score", counted)
        monkeypatch.setattr(evaluation, "TEXTS_AT_ONCE", 4)
        ranks = rank(model, *embeddings)
        assert sizes == [4, 4, 1]
        for direction in expected:
            np.testing.assert_array_equal(ranks[direction], expected[direction])

    def test_unknown_mode(self, processor, dataset):
        with pytest.raises(ValueError, match=r"one of 'full', 'two-stage', 'coarse', got 'fine'"):
            evaluate_model(None, processor, dataset, mode="fine")

    def test_data_of_another_model(self, processor, dataset):
        of_three = dataset.map(lambda row: {"frames": row["frames"][:3]})
        with pytest.raises(ValueError, match="with 3 or 4 frames a video, but the model takes 4"):
            evaluate_model(make_model(), processor, of_three, progress=False)

    def test_by_query_type(self, processor, dataset):
        results, ranks, moments = evaluate_model(make_model(), processor, dataset, progress=False)
        assert list(results) == [ALL_QUERIES, "text", "visual"]
        assert results["text"]["t2v"]["queries"] == 2 + 1 + 3 + 1
        assert results["visual"]["t2v"]["queries"] == 2
        assert results[ALL_QUERIES]["v2t"]["queries"] == 6
        assert moments is None
        assert results["visual"]["t2v"]["MnR"] == ranks["t2v"][[2, 7]].mean()
        curves = curves_by_query_type(ranks, query_types_of(dataset))
        assert list(curves) == ["text to video", "video to text", "text to video, text", "text to video, visual"]
        np.testing.assert_array_equal(curves["text to video, visual"], ranks["t2v"][[2, 7]])

    def test_moments_where_captions_have_times(self, processor, dataset):
        moments = evaluate_model(make_model(), processor, with_moments(dataset), progress=False).moments
        counts = {name: metrics["queries"] for name, metrics in moments.items()}
        assert counts == {ALL_QUERIES: 7, "text": 6, "visual": 1}
        assert 0 < moments[ALL_QUERIES]["R@1@0.3"] < moments[ALL_QUERIES]["R@5@0.3"] == 1

    def test_query_types(self, dataset):
        assert query_types_of(dataset.remove_columns("query_types")) is None
        of_none = dataset.map(lambda row: {"query_types": [None] * len(row["captions"])})
        assert query_types_of(of_none) is None
        of_some = of_none.map(
            lambda row, i: {"query_types": ["sign"] if i == 1 else row["query_types"]}, with_indices=True
        )
        assert query_types_of(of_some) == ["other", "other", "sign", *["other"] * 6]


class TestLeaks:
    """What else is in the gallery, in which order and in which batch, must not change a rank but by being ranked."""

    OPTIONS = pytest.mark.parametrize("options", [{}, {"interaction": "tib"}], ids=str)
    EVERY_MODE = pytest.mark.parametrize("mode", get_args(EvaluationMode))

    @staticmethod
    def ranks(model, processor, dataset, mode, batch_size=32):
        return evaluate_model(model, processor, dataset, mode, 3, batch_size, progress=False).ranks

    @OPTIONS
    @EVERY_MODE
    def test_shuffled_gallery(self, processor, dataset, options, mode):
        model = make_model(**options)
        expected = self.ranks(model, processor, dataset, mode)
        assert len(set(expected["t2v"])) > 2
        starts = np.cumsum([0, *NUM_CAPTIONS])
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(dataset))
            texts = np.concatenate([np.arange(starts[video], starts[video + 1]) for video in order])
            shuffled = self.ranks(model, processor, dataset.select(order), mode)
            np.testing.assert_array_equal(shuffled["t2v"], expected["t2v"][texts])
            np.testing.assert_array_equal(shuffled["v2t"], expected["v2t"][order])

    @OPTIONS
    @EVERY_MODE
    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_batch_size(self, processor, dataset, options, mode, batch_size):
        model = make_model(**options)
        expected = self.ranks(model, processor, dataset, mode)
        ranks = self.ranks(model, processor, dataset, mode, batch_size)
        assert ranks.keys() == expected.keys()
        for direction in expected:
            np.testing.assert_array_equal(ranks[direction], expected[direction])

    @EVERY_MODE
    def test_distractors_only_push_back(self, processor, dataset, mode):
        """Video to text they change nothing. Text to video, a rank grows by the distractors that score higher."""
        model, distractors = make_model(), prepared((0,) * 5, seed=1)
        together = concatenate_datasets([dataset, distractors])
        before, after = (self.ranks(model, processor, each, mode) for each in (dataset, together))
        np.testing.assert_array_equal(after["v2t"][: len(dataset)], before["v2t"])
        assert np.isnan(after["v2t"][len(dataset) :]).all()
        assert (after["t2v"] >= before["t2v"]).all() and (after["t2v"] <= before["t2v"] + 5).all()
        if mode == "full":
            texts, text_to_video, features = embed_dataset(model, processor, together, progress=False)
            with torch.no_grad():
                scores = model.score(texts, features).similarity.numpy()
            own = scores[np.arange(len(scores)), text_to_video]
            higher = (scores[:, len(dataset) :] > own[:, None]).sum(axis=1)
            assert higher.any()
            np.testing.assert_array_equal(after["t2v"], before["t2v"] + higher)


class TestCommand:
    @pytest.fixture
    def folders(self, tmp_path, processor, dataset):
        model = make_model()
        model.save_pretrained(tmp_path / "model")
        processor.save_pretrained(tmp_path / "model")
        DatasetDict({"validation": prepared(seed=2), "test": dataset}).save_to_disk(tmp_path / "town")
        return ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "town")]

    @pytest.mark.parametrize("mode", get_args(EvaluationMode))
    def test_writes_results(self, tmp_path, processor, dataset, folders, mode):
        out = tmp_path / "new" / "results.json"
        done = invoke("evaluate", *folders, "--mode", mode, "--top-k", "3", "--out", out)
        assert done.exit_code == 0, done.stderr
        model = make_model()
        expected = evaluate_model(model, processor, dataset, mode, top_k=3, progress=False).results
        about = json.loads(out.read_text())["about"]
        assert about.pop("model").endswith("model")
        assert about == {
            "dataset": "town",
            "split": "test",
            "mode": mode,
            **({"top_k": 3} if mode == "two-stage" else {}),
            "num_texts": 9,
            "num_videos": 7,
            "model_fingerprint": model_fingerprint(model),
        }
        assert read_results(out) == expected
        table = out.with_suffix(".md").read_text()
        assert "- dataset: town\n" in table and "| visual | text to video | 2 |" in table
        assert "| visual | text to video | 2 |" in done.stdout

    def test_writes_moments(self, tmp_path, processor, dataset, folders):
        timed, out = with_moments(dataset), tmp_path / "results.json"
        DatasetDict({"test": timed}).save_to_disk(tmp_path / "timed")
        done = invoke("evaluate", *folders, "--data", tmp_path / "timed", "--out", out)
        assert done.exit_code == 0, done.stderr
        expected = evaluate_model(make_model(), processor, timed, progress=False)
        assert json.loads(out.read_text())["moments"] == expected.moments
        assert read_results(out) == expected.results
        table = moments_to_markdown(expected.moments)
        assert "| moments | count | R@1@0.3 | R@1@0.5 |" in table and "\n| visual | 1 | " in table
        assert out.with_suffix(".md").read_text().endswith(f"\n\n{table}\n")
        assert done.stdout.endswith(f"\n\n{table}\n")

    @pytest.mark.slow
    def test_as_a_command(self, tmp_path, folders):
        """Its folder comes first among those that modules are looked for in, and the library `evaluate` after it."""
        command = [sys.executable, str(SCRIPT), *folders, "--out", str(tmp_path / "results.json")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert read_results(tmp_path / "results.json")

    @pytest.mark.slow
    def test_several_processes_give_what_one_gives(self, tmp_path, processor, folders):
        data = concatenate_datasets([prepared(seed=3), prepared(seed=4)])  # 14 videos, 18 captions: 7 and 9 each
        DatasetDict({"test": data}).save_to_disk(tmp_path / "shared")
        options = [*folders, "--data", str(tmp_path / "shared"), "--batch-size", "3", "--dual-softmax"]
        alone, two = tmp_path / "alone.json", tmp_path / "two.json"
        done = invoke("evaluate", *options, "--out", alone)
        assert done.exit_code == 0, done.stderr
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
        command += ["--main_process_port", "0", "-m", "tcd_hf", "evaluate", *options, "--out", str(two)]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(two.read_text()) == json.loads(alone.read_text())
        assert done.stdout.count("| all queries | text to video |") == 1

    def test_plot(self, tmp_path, folders):
        pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")
        assert invoke("evaluate", *folders, "--out", str(tmp_path / "results.json")).exit_code == 0
        assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")

    def test_without_matplotlib(self, tmp_path, folders, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        done = invoke("evaluate", *folders, "--out", tmp_path / "results.json")
        assert done.exit_code == 0 and 'pip install "tcd-hf[plot]"' in done.stderr
        assert not (tmp_path / "results.png").exists() and (tmp_path / "results.json").exists()

    def test_what_other_papers_report_is_beside_ours(self, tmp_path, processor, dataset, folders):
        data, out = tmp_path / "town", tmp_path / "results.json"
        DatasetDict({"train": prepared(seed=2), "test": dataset}).save_to_disk(data)
        done = invoke("evaluate", *folders, "--dual-softmax", "--qb-norm", "--out", out)
        assert done.exit_code == 0, done.stderr
        plain = evaluate_model(make_model(), processor, dataset, progress=False).results[ALL_QUERIES]
        found = read_results(out)[ALL_QUERIES]
        assert list(plain) == ["t2v", "v2t", "t2v_clip4clip", "v2t_clip4clip"]
        assert {name: found[name] for name in plain} == plain
        assert list(found)[4:] == ["t2v_dual_softmax", "v2t_dual_softmax", "t2v_qb_norm"]
        assert "| all queries | video to text, dual softmax | 6 |" in done.stdout
        for options, message in (
            (["--mode", "two-stage", "--qb-norm"], "need the scores of all pairs"),
            (["--qb-norm", "--bank-split", "bank"], "no prepared split 'bank'"),
        ):
            refused = invoke("evaluate", *folders, *options, "--out", out)
            assert refused.exit_code == 1 and message in refused.stderr

    def test_another_split(self, tmp_path, folders):
        out = str(tmp_path / "results.json")
        assert invoke("evaluate", *folders, "--split", "validation", "--out", out).exit_code == 0
        assert json.loads(Path(out).read_text())["about"]["split"] == "validation"
        refused = invoke("evaluate", *folders, "--split", "train", "--out", out)
        assert refused.exit_code == 1 and "no prepared split 'train', but ['test', 'validation']" in refused.stderr

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--top-k", "0"], "--top-k"),
            (["--batch-size", "0"], "--batch-size"),
        ],
    )
    def test_mistakes(self, options, message):
        refused = invoke("evaluate", "--data", "town", "--out", "results.json", *options)
        assert refused.exit_code == 2 and message in refused.stderr

    def test_another_ending_is_refused_before_anything_is_loaded(self):
        refused = invoke("evaluate", "--data", "town", "--out", "results.md")
        assert refused.exit_code == 1
        assert refused.stderr == "error: A file of results must end in .json, got 'results.md'.\n"

    def test_library_refuses_before_it_loads(self, tmp_path, folders):
        with pytest.raises(ValueError, match=r"must end in .json, got 'results.md'"):
            evaluate_checkpoint("nowhere", folders[3], out="results.md")
