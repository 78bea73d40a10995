import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tcd_hf.evaluation import text_video_retrieval
from tcd_hf.evaluation.metrics import compute_retrieval_metrics

evaluate = pytest.importorskip("evaluate")

TEXT_TO_VIDEO = np.array([3, 0, 0, 5, 1, 3, 6, 0, 5, 1, 2])
SIMILARITY = np.random.default_rng(0).integers(0, 9, size=(11, 7)) / 7  # ties, and sevenths that float32 cannot hold


@pytest.fixture
def metric(tmp_path):
    return evaluate.load(text_video_retrieval.__file__, cache_dir=str(tmp_path))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gives_the_same_numbers(metric, dtype):
    similarity = SIMILARITY.astype(dtype)
    expected = compute_retrieval_metrics(similarity, TEXT_TO_VIDEO)
    assert 0 < expected["t2v_R@5"] < 1
    assert metric.compute(predictions=similarity, references=TEXT_TO_VIDEO) == expected
    assert metric.compute(predictions=similarity.tolist(), references=TEXT_TO_VIDEO.tolist()) == expected


def test_scores_that_differ_in_the_last_place_are_no_ties(metric):
    similarity = np.array([[0.5, np.nextafter(0.5, 1)], [0.0, 1.0]])
    assert metric.compute(predictions=similarity, references=[0, 1])["t2v_MnR"] == 1.5


def test_batches_of_texts(metric):
    for start in range(0, len(SIMILARITY), 4):
        rows = slice(start, start + 4)
        metric.add_batch(predictions=SIMILARITY[rows], references=TEXT_TO_VIDEO[rows])
    assert metric.compute() == compute_retrieval_metrics(SIMILARITY, TEXT_TO_VIDEO)


def test_mistakes(metric):
    with pytest.raises(ValueError, match="from 2 to 3 scores a text"):
        metric.compute(predictions=[[0.1, 0.2], [0.1, 0.2, 0.3]], references=[0, 1])


def test_nan(metric):
    with pytest.raises(ValueError, match="NaN, first at text 1, video 0"):
        metric.compute(predictions=[[0.1, 0.2], [np.nan, 0.2]], references=[0, 1])


@pytest.mark.slow
def test_loads_in_a_new_process_from_anywhere(tmp_path):
    code = (
        "import evaluate, sys\n"
        "metric = evaluate.load(sys.argv[1])\n"
        "print(metric.compute(predictions=[[.9, .1], [.8, .2]], references=[0, 1])['t2v_MnR'])\n"
    )
    path = str(Path(text_video_retrieval.__file__))
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    command = [sys.executable, "-c", code, path]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "1.5", result.stderr
