"""Captions beside models that do not read: scores by hand, and the whole with small models."""

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from torch.nn.functional import normalize

from scripts.benchmarks.plug_and_play import caption_scores, frame_scores, main, measure
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.training_data import make_split, save_start

AXES = {"exit": [1.0, 0.0], "way out": [0.6, 0.8], "platform": [0.0, 1.0]}


def encode(texts):
    return torch.tensor([AXES[text] for text in texts])


def test_a_query_is_compared_with_the_nearest_caption():
    captions = [["platform", "", "exit", "exit"], ["", "", "", ""], ["", "platform", "", ""]]
    scores = caption_scores(["exit", "way out"], captions, encode)
    assert scores.tolist() == [pytest.approx([1.0, 0.0, 0.0]), pytest.approx([0.8, 0.0, 0.8])]
    assert caption_scores(["exit"], [["", ""]], encode).tolist() == [[0.0]]


def test_frames_are_averaged():
    frames = [torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]])]
    (scores,) = frame_scores(torch.tensor([[1.0, 0.0]]), frames).tolist()
    assert scores == pytest.approx([0.5**0.5, 1.0])


class Letters:
    """Stands for a `SentenceTransformer`: a text is how often it has each letter."""

    def encode(self, texts, normalize_embeddings, show_progress_bar):
        counts = np.array([[text.count(letter) for letter in "abcdefgh"] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True).clip(1e-9)


def test_scores_of_a_model_that_reads_what_it_reads_alone():
    rows, model, processor = make_split(6), make_tiny_model(), make_tiny_processor()
    scores = measure(rows, model.backbone, processor, Letters())
    queries = [text for of_video in rows["captions"] for text in of_video]
    assert len(scores) == 4 and {each.shape for each in scores.values()} == {(len(queries), 6)}
    frames, with_captions, alone, both = scores.values()
    inputs = processor(text=queries, videos=list(rows["frames"]), ocr_captions=list(rows["ocr_captions"]))
    with torch.inference_mode():
        output = model(**inputs)
    pooled = normalize(output.video_features.frame_embeds.mean(1), dim=-1)
    assert torch.allclose(frames, output.text_embeds @ pooled.T, atol=1e-5)
    has_text = torch.tensor([any(texts) for texts in rows["ocr_captions"]])
    assert torch.allclose(with_captions[:, ~has_text], frames[:, ~has_text] / 2, atol=1e-5)
    assert torch.allclose(both, (frames + alone) / 2, atol=1e-5)
    assert not alone[:, ~has_text].any() and alone[:, has_text].any(dim=0).all()


def test_the_table(tmp_path, capsys):
    DatasetDict({"test": make_split(6)}).save_to_disk(tmp_path / "data")
    assert main(["--data", str(tmp_path / "data"), "--model", save_start(tmp_path / "model")]) == 0
    printed = capsys.readouterr().out
    assert "12 queries, 6 videos" in printed and "| frames, mean pooling |" in printed
