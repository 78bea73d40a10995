import math
import re
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from tcd_hf.index import lexical
from tcd_hf.index.lexical import (
    TERM_SCHEMA,
    LexicalScorer,
    LexicalStatistics,
    TermCounts,
    VideoTerms,
    cosines,
    query_terms,
    spell,
    term_columns,
)

GALLERY = [
    ["TESCO express", "CLUBCARD £1.30", ""],
    ["", "", ""],
    ["Gate B4", "DEPARTURES 17:27", "café Zürich"],
    ["parking 24", "no exit", "AB 12 exit"],
]


def pairs_in(word):
    pairs = [word[i : i + 2] for i in range(len(word) - 1)]
    return [pair for pair in pairs if re.fullmatch(r"[^\W_]{2}", pair) and not re.fullmatch("[a-z]{2}", pair)]


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
            counts.update(pairs_in(word))
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
    np.testing.assert_allclose(scores, expected.max(axis=2), atol=1e-6)


@pytest.mark.parametrize(
    ("query", "video"),
    [
        ("tesco shop", 0),  # case
        ("TESC0 EXPRES", 0),  # an OCR slip, or a typing one
        ("B4", 2),  # two characters
        ("24", 3),
        ("12", 3),
        ("£1.30", 0),
        ("cafe zurich", 2),  # accents
        ("ＴＥＳＣＯ", 0),  # full-width letters
    ],
)
def test_finds_the_video_that_shows_the_text(query, video):
    assert LexicalScorer(GALLERY).score([query])[0].argmax() == video


def test_the_caption_itself_scores_one_and_no_text_scores_zero():
    scores = LexicalScorer(GALLERY).score(["gate b4"])
    assert scores[0, 2] == pytest.approx(1.0)
    assert scores[0, 1] == 0.0
    assert scores.dtype == np.float32
    assert scores.max() <= 1.0


def test_filler_of_a_query_does_not_count_unless_there_is_nothing_else():
    scorer = LexicalScorer([["the end of the day"], ["parking"], ["The Who"]])
    assert scorer.score(["the parking of the"])[0].tolist() == [0.0, pytest.approx(1.0), 0.0]
    assert scorer.score(["the who"])[0].argmax() == 2


def test_word_weight_goes_from_characters_to_words():
    captions = [["parking"], ["park"]]
    characters, both, words = (LexicalScorer(captions, weight).score(["parkin"])[0] for weight in (0, 0.5, 1))
    assert words.tolist() == [0.0, 0.0]
    assert characters[0] > characters[1] > 0
    np.testing.assert_allclose(both, (characters + words) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="got 2"):
        LexicalScorer(captions, 2)


def test_words_that_no_caption_has_lower_the_score():
    scorer = LexicalScorer(GALLERY)
    short, long = scorer.score(["parking", "parking behind a yellow lighthouse"])[:, 3]
    assert 0 < long < 0.7 * short


@pytest.mark.parametrize("captions", [[], [[], []], [["", ""], ["  "]]])
def test_a_gallery_without_text_scores_zero(captions):
    scores = LexicalScorer(captions).score(["TESCO", "24"])
    assert scores.shape == (2, len(captions))
    assert not scores.any()


def test_videos_may_have_different_numbers_of_windows():
    scorer = LexicalScorer([["one"], ["two", "three", "one"]])
    scores = scorer.score(["three", "one"])
    np.testing.assert_allclose(scores, [[0, 1], [1, 1]], atol=1e-6)


@pytest.mark.parametrize("block_elements", [1, 13, 30])
def test_any_block_size_gives_the_same_scores(monkeypatch, block_elements):
    queries = ["tesco", "gate", "exit 24", "", "zurich"]
    expected = LexicalScorer(GALLERY).score(queries)
    monkeypatch.setattr(lexical, "BLOCK_ELEMENTS", block_elements)
    np.testing.assert_array_equal(LexicalScorer(GALLERY).score(queries), expected)


def test_no_queries():
    assert LexicalScorer(GALLERY).score([]).shape == (0, 4)


def rows_of(gallery):
    return pa.Table.from_pylist([term_columns(windows) for windows in gallery], pa.schema(TERM_SCHEMA))


def random_gallery(num_videos, seed=0):
    """Captions of 0 to 8 words of a small vocabulary, many of them repeated from window to window, some empty."""
    rng = np.random.default_rng(seed)
    words = [
        "tesco",
        "express",
        "gate",
        "b4",
        "17:27",
        "£1.30",
        "ab12cde",
        "zürich",
        "CAFÉ",
        "出口",
        "a",
        "of",
        "2",
        "***",
    ]
    words += ["".join(rng.choice(list("aeimnorst"), rng.integers(1, 12))) for _ in range(60)]
    gallery = []
    for _ in range(num_videos):
        texts = [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(rng.integers(1, 5))]
        gallery.append(rng.choice([*texts, "", " "], rng.integers(1, 13)).tolist())
    return gallery


@pytest.mark.parametrize("word_weight", [0, 0.5, 0.8, 1])
def test_stored_terms_score_as_the_pipeline_of_sklearn(word_weight):
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.pipeline import FeatureUnion, make_pipeline

    def tfidf(**analysis):
        options = {"strip_accents": "unicode", "n_features": 1 << 20, "alternate_sign": False, "norm": None}
        return make_pipeline(HashingVectorizer(**analysis, **options), TfidfTransformer(sublinear_tf=True))

    analyze = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), strip_accents="unicode").build_analyzer()
    plain = HashingVectorizer(strip_accents="unicode").build_preprocessor()
    pipelines = [
        (
            "characters",
            tfidf(analyzer=lambda text: [*analyze(text), *(p for w in plain(text).split() for p in pairs_in(w))]),
        ),
        ("words", tfidf(token_pattern=r"(?u)\b\w+\b")),
    ]
    weights = {"characters": (1 - word_weight) ** 0.5, "words": word_weight**0.5}
    pipeline = FeatureUnion(pipelines, transformer_weights=weights)
    gallery = random_gallery(60)
    pipeline.fit([" ".join(windows) for windows in gallery])
    queries = ["tesc0 exprss", "gate b4 b4 b4", "zurich", "never seen before", "出口 2", "***", "."]
    expected = [(pipeline.transform(queries) @ pipeline.transform(windows).T).toarray() for windows in gallery]

    rows, statistics = rows_of(gallery), LexicalStatistics()
    statistics.add(rows)
    chosen = np.random.default_rng(1).permutation(60)[:40]
    terms = VideoTerms.from_rows(rows.take(chosen))
    scores = cosines(query_terms(queries), terms.captions, statistics, word_weight)
    assert scores.dtype == np.float32 and scores.max() > 0.4
    best = terms.best(scores)
    for place, video in enumerate(chosen):
        np.testing.assert_allclose(scores[:, terms.windows[place]], expected[video], atol=1e-6)
        np.testing.assert_allclose(best[:, place], expected[video].max(axis=1), atol=1e-6)


def test_terms_survive_slices_chunks_and_batches_of_rows():
    gallery = random_gallery(20)
    rows = rows_of(gallery)
    whole = VideoTerms.from_rows(rows)
    pieces = [
        VideoTerms.from_rows(rows.slice(5, 10)),
        VideoTerms.from_rows(rows.slice(5, 10).combine_chunks().to_batches()[0]),
        VideoTerms.from_rows(pa.concat_tables([rows.slice(5, 3), rows.slice(8, 7)])),
    ]
    begin, end = whole.captions.starts[whole.starts[[5, 15]]]
    for piece in pieces:
        np.testing.assert_array_equal(piece.captions.ids, whole.captions.ids[begin:end])
        np.testing.assert_array_equal(piece.captions.counts, whole.captions.counts[begin:end])
        np.testing.assert_array_equal(piece.starts, whole.starts[5:16] - whole.starts[5])
        for windows, expected in zip(piece.windows, whole.windows[5:15], strict=True):
            np.testing.assert_array_equal(windows, expected - whole.starts[5])


def test_equal_captions_are_stored_once():
    once, often = term_columns(["gate b4", ""]), term_columns(["gate b4", "gate b4", "", "gate b4", ""])
    assert [each.tolist() for each in once["terms"]] == [each.tolist() for each in often["terms"]]
    assert len(often["terms"]) == 2 and len(often["terms"][0]) and not len(often["terms"][1])
    assert often["term_windows"].tolist() == [0, 0, 1, 0, 1]
    nothing = term_columns([])
    assert [each.tolist() for each in nothing["terms"]] == [[]]
    assert not len(nothing["term_windows"]) and nothing["term_text"] == ""


def test_a_count_beyond_what_is_stored_is_the_largest_stored():
    rows = pa.Table.from_pylist([term_columns(["a " * 70_000])], pa.schema(TERM_SCHEMA))
    assert VideoTerms.from_rows(rows).captions.counts.max() == 2_047


def test_what_full_text_search_looks_in():
    assert spell("B4") == "_b4 b4_ b4 _b4_"
    assert spell("Zürich, ＺＵ 7") == "_zu zur uri ric ich ch, h,_ zu_ _7_ _zurich_ _zu_"
    assert spell("GateB4") == "_ga gat ate teb eb4 b4_ b4 _gateb4_"
    assert spell("北京大学") == "_北京 北京大 京大学 大学_ 北京 京大 大学 _北京大学_"
    assert spell("  ") == ""


def test_statistics_count_videos_and_add_up():
    gallery = random_gallery(30)
    whole, summed = LexicalStatistics(), LexicalStatistics()
    whole.add(rows_of(gallery))
    summed.add(rows_of(gallery[:11]))
    assert summed.idf.shape == (lexical.NUM_TERMS,)
    for batch in rows_of(gallery[11:]).to_batches(max_chunksize=4):
        summed.add(batch)
    assert whole.num_videos == summed.num_videos == 30
    np.testing.assert_array_equal(summed.document_frequency, whole.document_frequency)
    np.testing.assert_array_equal(summed.idf, whole.idf)
    (b4,) = {*TermCounts.of(["b4"]).ids} & {*range(lexical.NUM_BUCKETS, lexical.NUM_TERMS)}
    shown = sum("b4" in " ".join(windows).split() for windows in gallery)
    assert whole.document_frequency[b4] == shown > 0
    assert whole.idf[b4] == pytest.approx(math.log(31 / (1 + shown)) + 1)


def test_statistics_survive_a_table(tmp_path):
    import lancedb

    statistics = LexicalStatistics()
    statistics.add(rows_of(random_gallery(30)))
    lancedb.connect(tmp_path).create_table("statistics", statistics.to_table())
    again = LexicalStatistics.from_table(lancedb.connect(tmp_path).open_table("statistics").to_arrow())
    assert again.num_videos == 30
    np.testing.assert_array_equal(again.document_frequency, statistics.document_frequency)
    empty = LexicalStatistics.from_table(LexicalStatistics().to_table())
    assert empty.num_videos == 0 and not empty.document_frequency.any()
