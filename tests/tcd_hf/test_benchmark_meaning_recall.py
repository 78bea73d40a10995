"""Recall of meaning by hand, and a small run."""

import pytest
import torch

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def script():
    from scripts.benchmarks import meaning_recall

    return meaning_recall


def test_recall_of_both_ways_by_hand(script, monkeypatch):
    monkeypatch.setattr(script, "NAMED", 2)
    directions = torch.eye(4)
    gallery = script.Gallery(
        coarse=directions[[0, 1, 2]],
        windows=directions[[0, 3, 1, 2]],
        segment_of=torch.tensor([0, 1, 1, 2]),  # the second segment's mean has lost what its first window says
        queries={"meaning": torch.tensor([[0.6, 0.0, 0.5, 0.61]]), "spelling": directions[[2, 0]]},
        targets={"meaning": torch.tensor([1]), "spelling": torch.tensor([2, 0])},
    )
    report = script.measure(gallery)
    assert report["recall"]["one vector a segment"] == {"meaning": 0.0, "spelling": 1.0}
    assert report["recall"]["a vector for each different caption"] == {"meaning": 1.0, "spelling": 1.0}
    assert report["recall"]["both, as a search does"] == {"meaning": 1.0, "spelling": 1.0}
    assert report["vectors"] == {"one vector a segment": 3, "a vector for each different caption": 4}
    costs = report["costs"]["a vector for each different caption"]
    assert costs["megabytes"] == pytest.approx(4 * 4 * 2 / 1e6) and costs["milliseconds"] > 0
    text = script.to_markdown({"machine": script.describe_machine(), "segments": 3, **report})
    tables = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(tables)) == 1 and "| one vector a segment | 0.000 | 1.000 | 3 |" in text


@pytest.mark.slow
def test_a_small_run(script, capsys):
    assert script.main(["--segments", "400", "--captions", "40"]) == 0
    assert "400 segments" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--segments must be at least"):
        script.main(["--segments", "3", "--captions", "40"])
