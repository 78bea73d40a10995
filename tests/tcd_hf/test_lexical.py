import math
import re
import unicodedata
from collections import Counter

import numpy as np
import pytest

from tcd_hf.index import lexical
from tcd_hf.index.lexical import LexicalScorer

GALLERY = [
    ["TESCO express", "CLUBCARD £1.30", ""],
    ["", "", ""],
    ["Gate B4", "DEPARTURES 17:27", "café Zürich"],
    ["parking 24", "no exit", "AB 12 exit"],
]


def slow_cosines(queries, gallery):
    """Mean of the TF-IDF cosines of character n-grams and of words, by counting: `(num_queries, num_windows)`."""

    def plain(text):
        return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))

    def words(text):
        return Counter(re.findall(r"\w+", plain(text)))

    def ngrams(text):
        words = [f" {word} " for word in plain(text).split()]
        counts = Counter()
        for word in words:
            lengths = [n for n in (3, 4, 5) if n < len(word)]
            counts.update(word[i : i + n] for n in lengths for i in range(len(word) - n + 1))
            if len(word) <= 5:
                counts[word] += 1
        return counts

    def cosines(terms):
        frequency = Counter(term for windows in gallery for term in terms(" ".join(windows)))

        def vector(counts):
            weights = {
                term: (1 + math.log(count)) * (math.log((1 + len(gallery)) / (1 + frequency[term])) + 1)
                for term, count in counts.items()
            }
            norm = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
            return {term: weight / norm for term, weight in weights.items()}

        vectors = [vector(terms(window)) for windows in gallery for window in windows]
        return np.array(
            [[sum(w * other.get(t, 0) for t, w in vector(terms(q)).items()) for other in vectors] for q in queries]
        )

    return (cosines(ngrams) + cosines(words)) / 2


def test_scores_equal_cosines_counted_by_hand_over_every_window():
    queries = ["the store TESCO express", "departures at 17:27", "somebody swims"]
    telling = ["store TESCO express", "departures 17:27", "somebody swims"]
    expected = slow_cosines(telling, GALLERY).reshape(3, 4, 3)

    scores = LexicalScorer(GALLERY).score(queries)
    np.testing.assert_allclose(scores.similarity, expected.max(axis=2), atol=1e-6)
    np.testing.assert_array_equal(scores.best_window, expected.argmax(axis=2))
    for query, video in [(0, 0), (1, 2), (2, 3)]:
        window_scores = LexicalScorer(GALLERY).window_scores(queries[query], video)
        np.testing.assert_allclose(window_scores, expected[query, video], atol=1e-6)


@pytest.mark.parametrize(
    ("query", "video", "window"),
    [
        ("tesco shop", 0, 0),  # case
        ("TESC0 EXPRES", 0, 0),  # an OCR slip, or a typing one
        ("B4", 2, 0),  # two characters
        ("24", 3, 0),
        ("12", 3, 2),
        ("£1.30", 0, 1),
        ("cafe zurich", 2, 2),  # accents
        ("ＴＥＳＣＯ", 0, 0),  # full-width letters
    ],
)
def test_finds_the_window_that_shows_the_text(query, video, window):
    scores = LexicalScorer(GALLERY).score([query])
    assert scores.similarity[0].argmax() == video
    assert scores.best_window[0, video] == window


def test_the_caption_itself_scores_one_and_no_text_scores_zero():
    scores = LexicalScorer(GALLERY).score(["gate b4"])
    assert scores.similarity[0, 2] == pytest.approx(1.0)
    assert scores.similarity[0, 1] == 0.0
    assert scores.similarity.dtype == np.float32
    assert scores.similarity.max() <= 1.0


def test_filler_of_a_query_does_not_count_unless_there_is_nothing_else():
    scorer = LexicalScorer([["the end of the day"], ["parking"], ["The Who"]])
    assert scorer.score(["the parking of the"]).similarity[0].tolist() == [0.0, pytest.approx(1.0), 0.0]
    assert scorer.score(["the who"]).similarity[0].argmax() == 2


def test_word_weight_goes_from_characters_to_words():
    captions = [["parking"], ["park"]]
    characters, both, words = (
        LexicalScorer(captions, weight).score(["parkin"]).similarity[0] for weight in (0, 0.5, 1)
    )
    assert words.tolist() == [0.0, 0.0]
    assert characters[0] > characters[1] > 0
    np.testing.assert_allclose(both, (characters + words) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="got 2"):
        LexicalScorer(captions, 2)


def test_words_that_no_caption_has_lower_the_score():
    scorer = LexicalScorer(GALLERY)
    short, long = scorer.score(["parking", "parking behind a yellow lighthouse"]).similarity[:, 3]
    assert 0 < long < 0.7 * short


@pytest.mark.parametrize("captions", [[], [[], []], [["", ""], ["  "]]])
def test_a_gallery_without_text_scores_zero(captions):
    scorer = LexicalScorer(captions)
    scores = scorer.score(["TESCO", "24"])
    assert scores.similarity.shape == scores.best_window.shape == (2, len(captions))
    assert not scores.similarity.any()
    if captions:
        assert not scorer.window_scores("TESCO", 0).any()


def test_videos_may_have_different_numbers_of_windows():
    scorer = LexicalScorer([["one"], ["two", "three", "one"]])
    scores = scorer.score(["three", "one"])
    assert scores.similarity[0].tolist() == [0.0, pytest.approx(1.0)]
    assert scores.best_window.tolist() == [[0, 1], [0, 2]]
    assert scorer.window_scores("one", 0).tolist() == [pytest.approx(1.0), 0.0, 0.0]


@pytest.mark.parametrize("block_elements", [1, 13, 30])
def test_any_block_size_gives_the_same_scores(monkeypatch, block_elements):
    queries = ["tesco", "gate", "exit 24", "", "zurich"]
    expected = LexicalScorer(GALLERY).score(queries)
    monkeypatch.setattr(lexical, "BLOCK_ELEMENTS", block_elements)
    scores = LexicalScorer(GALLERY).score(queries)
    np.testing.assert_array_equal(scores.similarity, expected.similarity)
    np.testing.assert_array_equal(scores.best_window, expected.best_window)


def test_no_queries_and_wrong_video():
    scorer = LexicalScorer(GALLERY)
    assert scorer.score([]).similarity.shape == (0, 4)
    with pytest.raises(ValueError, match=r"0\.\.3.*4"):
        scorer.window_scores("x", 4)
