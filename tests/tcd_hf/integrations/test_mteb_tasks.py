from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("mteb")
pytest.importorskip("font_lato")
pytest.importorskip("faker")
import mteb

from tcd_hf import load_mini
from tcd_hf.integrations.mteb import TCDSearch
from tcd_hf.integrations.mteb_tasks import SyntheticSceneTextT2V

CLIPS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def task(folder):
    task = SyntheticSceneTextT2V(clips=CLIPS, folder=folder)
    task.load_data()
    return task


def test_it_has_the_form_of_mteb(task):
    data = task.dataset["default"]["test"]
    assert data["queries"].column_names == ["id", "text"] and data["corpus"].column_names == ["id", "video"]
    assert len(data["queries"]) == len(data["corpus"]) == len(data["relevant_docs"]) == CLIPS
    assert set(data["relevant_docs"]) == set(data["queries"]["id"])
    assert set(Counter(task.kinds.values())) == {"text", "visual", "both", "temporal"}
    assert task.metadata.reference is task.metadata.date is None  # it was drawn, and stands nowhere else
    told = {"reference": "https://example.org", "date": ("2026-01-01", "2026-01-01")}
    assert task.metadata.model_copy(update=told).is_filled()  # nothing else is open


def test_clips_are_drawn_once(task, folder):
    before = {path: path.stat().st_mtime_ns for path in (folder / "test").iterdir()}
    assert len(before) == CLIPS + 1
    SyntheticSceneTextT2V(clips=CLIPS, folder=folder).load_data()
    assert {path: path.stat().st_mtime_ns for path in (folder / "test").iterdir()} == before


def test_worlds_do_not_share_a_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path))
    folders = [SyntheticSceneTextT2V(clips, seed).folder for clips, seed in ((20, 0), (40, 0), (20, 1))]
    assert len(set(folders)) == 3 and all(tmp_path in folder.parents for folder in folders)


def test_hit_rates_of_kinds(task):
    """All right but the first query of kind "text"."""
    ids = list(task.kinds)
    results = {query: {query: 2.0, ids[0] if query != ids[0] else ids[1]: 1.0} for query in ids}
    texts = [name for name in ids if task.kinds[name] == "text"]
    results[texts[0]] = {texts[0]: 1.0, texts[1]: 2.0}
    rates = task.task_specific_scores({}, {}, results, "test", "default")
    assert rates == {
        "both_hit_rate_at_1": 1.0,
        "temporal_hit_rate_at_1": 1.0,
        "text_hit_rate_at_1": pytest.approx(1 - 1 / len(texts)),
        "visual_hit_rate_at_1": 1.0,
    }


def test_a_kind_that_was_not_asked_for_has_no_hit_rate(task):
    text, visual = (next(name for name, kind in task.kinds.items() if kind == wanted) for wanted in ("text", "visual"))
    rates = task.task_specific_scores({}, {}, {text: {text: 1.0, visual: 0.5}, visual: {}}, "test", "default")
    assert rates == {"text_hit_rate_at_1": 1.0, "visual_hit_rate_at_1": 0.0}


@pytest.mark.slow
def test_the_checkpoint_of_the_package(task, monkeypatch, tmp_path):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path))
    found = mteb.evaluate(TCDSearch(*load_mini()), task, cache=None).task_results[0].scores["test"][0]
    assert found["main_score"] == found["hit_rate_at_1"] > 0.5
    assert found["text_hit_rate_at_1"] > found["visual_hit_rate_at_1"]
