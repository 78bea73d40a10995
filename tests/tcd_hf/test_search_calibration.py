"""What a search score is fitted on, and the fit itself, by numbers worked out by hand."""

import json
import random

import numpy as np
import pytest

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("scipy")

from scripts.search_calibration.forms import FORMS, fit_logistic, folded_shares, judge, meaning_line, shown_scores
from scripts.search_calibration.material import Collection, Material, Pool, collections, halves
from scripts.search_calibration.misspelling import misspell
from scripts.search_calibration.reliability import Bin, calibration_error, plot_reliability, reliability


def test_slips_are_the_same_for_the_same_seed_and_spare_short_words():
    query = "the TESCO express at 24 Elm Rd"
    slips = {misspell(query, random.Random(seed)) for seed in range(30)}
    assert len(slips) > 10 and query not in slips
    assert misspell(query, random.Random(3)) == misspell(query, random.Random(3))
    for slip in slips:
        assert slip.startswith("the ") and slip.endswith(" at 24 Elm Rd")
        first, second = slip.removeprefix("the ").removesuffix(" at 24 Elm Rd").split()
        assert first != "TESCO" and first[0] == "T" and second[0] == "e"  # a name in capitals comes first


def test_what_has_no_long_word_stays():
    slips = [misspell("gate B4", random.Random(seed)) for seed in range(9)]
    assert all(slip[0] == "g" and slip[1:-3] != "ate" and slip.endswith(" B4") for slip in slips)
    assert {misspell("B4 at 17:27 by bus", random.Random(seed)) for seed in range(9)} == {"B4 at 17:27 by bus"}


@pytest.fixture
def drawn():
    """Collections in which one of the videos, or none, answers a query, by a law of two parts; a third says nothing."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(4):
        parts = {name: rng.random((300, 20)) for name in ("text_ocr", "lexical", "text_video")}
        odds = np.exp(2 * parts["text_ocr"] + 5 * parts["lexical"])
        shares = np.cumsum(odds / (odds.sum(axis=1, keepdims=True) + 400), axis=1)  # what is left has no answer
        place = (rng.random((300, 1)) > shares).sum(axis=1)
        right = place[:, None] == np.arange(20)
        made.append(Collection(parts, right, np.array(["spelling"] * 150 + ["meaning"] * 150)))
    return made


def test_the_fit_finds_the_law(drawn):
    found = fit_logistic(drawn, ("text_ocr", "lexical", "text_video"))
    assert list(found) == ["bias", "text_ocr", "lexical", "text_video"]
    assert found["lexical"] / found["text_ocr"] == pytest.approx(2.5, rel=0.3)
    assert found["lexical"] == pytest.approx(5, rel=0.2) and found["bias"] < 0
    assert found["text_video"] < 0.1 * found["lexical"]


def test_a_part_that_speaks_against_the_answer_counts_nothing(drawn):
    against = [each._replace(parts={"lexical": 1 - each.parts["lexical"]}) for each in drawn]
    assert fit_logistic(against, ("lexical",))["lexical"] == pytest.approx(0, abs=1e-6)


def test_visual_queries_are_not_fitted_on(drawn):
    visual = drawn[0]._replace(right=~drawn[0].right, kinds=np.array(["visual"] * 300))
    assert fit_logistic([*drawn, visual], ("lexical",)) == pytest.approx(fit_logistic(drawn, ("lexical",)))


def test_a_fitted_score_is_reliable(drawn):
    names = ("text_ocr", "lexical")
    law = fit_logistic(drawn, names)
    scores, right = shown_scores(
        drawn, lambda parts: 1 / (1 + np.exp(-law["bias"] - sum(law[name] * parts[name] for name in names)))
    )
    assert len(scores) == 4 * 300 * 10
    assert calibration_error(reliability(scores, right)) < 0.05


def test_the_line_from_which_a_caption_means_it():
    cosines = np.array([[0.1, 0.0], [0.2, 0.1], [0.3, 0.0], [0.5, 0.1], [0.6, 0.2], [0.7, 0.0]])
    right = np.zeros((6, 2), bool)
    right[3:, 0] = True
    right[2, 0], right[3, 0] = True, False  # not told apart
    each = Collection({"text_window": cosines}, right, np.array(["meaning"] * 6))
    assert meaning_line([each]) == pytest.approx(0.4, abs=0.02)


def test_a_model_that_understands_nothing_has_no_such_line():
    cosines = np.array([[0.1], [0.2], [0.3], [0.5], [0.6], [0.7]])
    kinds = np.array(["meaning"] * 6)
    for right in (np.zeros((6, 1), bool), np.array([[True], [True], [False], [True], [False], [False]])):
        assert meaning_line([Collection({"text_window": cosines}, right, kinds)]) is None


def test_ranks_by_hand():
    right = np.array([[True, False, False], [False, False, True], [False, False, False]])
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.3], [0.9, 0.9, 0.9]])
    each = Collection({"x": scores}, right, np.array(["spelling", "spelling", "meaning"]))
    recall = judge([each], lambda parts: parts["x"])
    assert recall["spelling"] == (0.5, 1.0, 1.0)
    assert np.isnan(recall["meaning"][0])  # no such query has an answer


def test_right_answers_that_are_folded_by_hand():
    right = np.array([[True, False], [True, False], [True, False], [False, True]])
    scores = np.array([[0.5, 0.1], [0.05, 0.01], [0.2, 0.9], [0.02, 0.04]])
    kinds = np.array(["spelling", "spelling", "spelling", "meaning"])
    shares = folded_shares([Collection({"x": scores}, right, kinds)], lambda parts: parts["x"])
    assert shares["spelling"] == 0.5  # the third is not shown first
    assert shares["meaning"] == 1.0 and np.isnan(shares["visual"])


def test_reliability_by_hand():
    bins = reliability(np.array([0.01, 0.01, 0.55, 0.6, 1.0]), np.array([False, True, True, False, True]))
    assert bins == [Bin(0, 0.02, 2, 0.01, 0.5), Bin(0.5, 0.65, 2, 0.575, 0.5), Bin(0.9, 1, 1, 1.0, 1.0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.49 + 2 * 0.075 + 0) / 5)


def test_the_picture_is_written(tmp_path):
    plot_reliability([Bin(0, 0.5, 3, 0.2, 0.1), Bin(0.5, 1, 2, 0.8, 0.9)], tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").stat().st_size > 1000


@pytest.fixture
def material():
    windows = [["way out", ""], ["TESCO express", ""], ["gate B4", "gate B4"], ["CLUBCARD", ""]]
    queries = ["the way out", "a supermarket", "gate B4", "the tesco store"]
    pool = Pool(
        queries,
        np.array(["spelling", "meaning", "spelling", "spelling"]),
        np.array([0, 1, 2, 3]),
        windows,
        np.array([0, 1, 2, 3]),
    )
    return Material(pool, {"text_ocr": np.arange(16.0).reshape(4, 4)})


def test_collections_hold_queries_with_and_without_an_answer(material):
    for each in collections(material, 5, sizes=(2,)):
        assert each.right.shape == (4, 2)
        assert each.right.sum(axis=1).tolist() == [1, 1, 0, 0]
        assert each.parts["lexical"].shape == each.parts["text_ocr"].shape == (4, 2)
        # spelling is scored in the collection, the model's parts are picked out of all
        assert set(np.diff(each.parts["text_ocr"][0]).tolist()) <= {1.0, 2.0, 3.0}


def test_halves_share_nothing_and_keep_siblings_together(material):
    first, second = halves(material)
    assert [first.pool.windows, second.pool.windows] == [material.pool.windows[:2], material.pool.windows[2:]]
    assert first.pool.queries == ["the way out", "a supermarket"] and second.pool.targets.tolist() == [0, 1]
    np.testing.assert_allclose(second.parts["text_ocr"], [[10, 11], [14, 15]])


def test_every_form_scores(drawn):
    parts = ("similarity", "text_hybrid", "text_window")
    full = [each._replace(parts={**each.parts, **dict.fromkeys(parts, each.parts["text_ocr"])}) for each in drawn]
    for fit in FORMS.values():
        assert fit(full)(full[0].parts).shape == (300, 20)


@pytest.mark.slow
def test_a_checkpoint_is_fitted_and_measured(tmp_path, capsys):
    pytest.importorskip("font_lato")
    from scripts.benchmarks.fusion import main as measure
    from scripts.search_calibration.fit import main as fit
    from tcd_hf import TCDConfig, load_mini

    for part in load_mini():
        part.save_pretrained(tmp_path)
    small = ["--model", str(tmp_path), "--text-pairs", "20", "--clips", "20"]
    assert fit(small) == 0
    config = TCDConfig.from_pretrained(tmp_path)
    assert config.search_calibration == json.loads(capsys.readouterr().out)["search_calibration"]
    assert config.search_calibration["lexical"] > 0
    assert measure([*small, "--collections", "2"]) == 0
    assert "the checkpoint's own calibration" in capsys.readouterr().out
