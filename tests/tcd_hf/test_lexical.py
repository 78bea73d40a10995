import math
import random

import numpy as np
import pyarrow as pa
import pytest

from scripts.benchmarks.lexical import LexicalScorer
from tcd_hf.index import lexical
from tcd_hf.index.lexical import (
    FILLER_WORDS,
    TEXT_SCHEMA,
    LexicalStatistics,
    SegmentTexts,
    fold,
    query_spelling,
    spell,
    text_columns,
)
from tcd_hf.index.spelling import MAX_QUERY_LENGTH, capital_words, telling_words
from tcd_hf.processing.window_ocr import TextTrack, WindowCaption

GALLERY = [
    ["TESCO express", "CLUBCARD £1.30", ""],
    ["", "", ""],
    ["Gate B4", "DEPARTURES 17:27", "café Zürich"],
    ["parking 24", "no exit", "AB 12 exit"],
]
CARDS = ["CHECK IN", "CHECK OUT", "SIGN IN", "SIGN UP", "LOG IN", "LOG OUT", "WAY IN", "WAY OUT"]


def window(texts):
    tracks = [TextTrack(text, 0.9, 0.0, 1.0, (0.0, 0.0, 1.0, 1.0)) for text in texts]
    return WindowCaption(0.0, 1.0, " ".join(texts), tracks)


def rows_of(gallery):
    """Rows with windows that are given as lists of texts."""
    rows = [text_columns([window(texts) for texts in windows]) for windows in gallery]
    return pa.Table.from_pylist(rows, pa.schema(TEXT_SCHEMA))


def scores_in(query, gallery):
    rows, statistics = rows_of(gallery), LexicalStatistics()
    statistics.add(rows)
    return SegmentTexts.from_column(rows["texts"]).scores(query, statistics)


def random_gallery(num_rows, seed=0):
    """Windows of up to 8 texts of a small vocabulary, many of them repeated from window to window, some empty."""
    rng = random.Random(seed)
    words = ["gate", "b4", "17:27", "1,30", "Łódź", "the", "a", "of", "in", "in", "out", "check", "x", "ab12", "tesco"]
    words += [
        "tescoexpress",
        "ÄRGER",
        "гороД",
        "2",
        "***",
        "!",
        "绿茶",
        "茶",
        "出口",
        "出口へ",
        "カフェ",
        "हिन्दी",
        "서울",
        "𠮷野家",
    ]
    words += ["".join(rng.choices("aeinrst", k=rng.randint(1, 8))) for _ in range(40)]
    gallery = []
    for _ in range(num_rows):
        windows = [
            [" ".join(rng.choices(words, k=rng.randint(0, 4))) for _ in range(rng.randint(0, 8))] for _ in range(3)
        ]
        gallery.append([rng.choice([*windows, []]) for _ in range(rng.randint(1, 9))])
    return gallery


def is_slip(word, other):
    """Whether two words differ by one slip that leaves the first or the last two letters; short ones by a letter too
    many."""
    if word[:2] != other[:2] and word[-2:] != other[-2:]:
        return False
    shorter = {word[:place] + word[place + 1 :] for place in range(len(word))}
    swapped = {word[:place] + word[place : place + 2][::-1] + word[place + 2 :] for place in range(len(word) - 1)}
    longer = {other[:place] + other[place + 1 :] for place in range(len(other))}
    is_other_letter = len(word) == len(other) and sum(a != b for a, b in zip(word, other, strict=True)) == 1
    return word in longer or (len(word) >= 5 and (other in shorter | swapped or is_other_letter))


class SlowScores:
    """The lexical score by sets of terms, one document after another."""

    def __init__(self, gallery):
        self.gallery = [[[fold(text) for text in window if fold(text)] for window in windows] for windows in gallery]
        self.shown = [
            set().union(*(self.terms(text) for window in windows for text in window)) for windows in self.gallery
        ]

    @staticmethod
    def parts(words):
        found = set()
        for word in words:
            found |= {f"_{word}_"[i : i + 3] for i in range(len(word))}
            pairs = {word[i : i + 2] for i in range(len(word) - 1)}
            found |= {pair for pair in pairs if "." not in pair and not (pair.isascii() and pair.isalpha())}
            found |= SlowScores.letters_of(word)
        return found

    @staticmethod
    def letters_of(word):
        return {c for c in word if "\u3040" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" or c == "𠮷"}

    def terms(self, text):
        return self.parts(text.split()) | {f"_{word}_" for word in text.split()}

    def idf(self, term):
        df = sum(term in shown for shown in self.shown)
        rarity = math.log(1 + (len(self.shown) - max(1, df) + 0.5) / (max(1, df) + 0.5))
        return max(0.01, rarity if df else rarity / 2)

    def score(self, query):
        words = set(fold(query).split())
        told = words - FILLER_WORDS or words
        capitals = {fold(word) for word in query.split() if word.isupper() and len(word) > 1} & told
        capitals = capitals if query != query.upper() else set()
        factor = {word: 2 if word in capitals else 1 if word in told else 0.2 for word in words}
        parts = {
            term: self.idf(term) ** 2 * max(factor[word] for word in words if term in self.parts([word]))
            for term in self.parts(words)
        }
        whole = {word: self.idf(f"_{word}_") ** 2 * factor[word] for word in words}
        self.words = words
        self.slipping = [
            word
            for word in dict.fromkeys(fold(query).split())
            if word in told and self.may_slip(word, 3 if word in capitals else 5)
        ]
        length = len(fold(query).replace(" ", ""))
        grams = {f" {word} "[i : i + 3] for word in words for i in range(len(word))}
        self.letters = dict.fromkeys((gram.replace(" ", "_") for gram in grams), length / max(1, len(grams)))
        return [[self.score_window(window, parts, whole) for window in windows] for windows in self.gallery]

    def share_of(self, word, shown):
        """Of a word of the query, in some words that are shown: with a slip less. A slip of two is the first's."""
        if word in shown or word not in self.slipping:
            return word in shown
        before = self.slipping[: self.slipping.index(word)]
        slips = [other for other in shown - self.words if is_slip(word, other)]
        return 0.7 * any(not any(is_slip(first, other) for first in before) for other in slips)

    def may_slip(self, word, shortest):
        is_firm = self.letters_of(word) or any(letter.isdigit() or letter == "." for letter in word)
        return len(word) >= shortest and not is_firm

    def score_window(self, texts, parts, whole):
        runs = [texts[i : i + length] for length in (1, 2, 3, 4) for i in range(len(texts) - length + 1)]
        best = 0.0
        for run in [*runs, texts] if parts else []:
            has = set().union(*map(self.terms, run))
            shown = set().union(*(text.split() for text in run))
            shares = [
                sum(weight for term, weight in parts.items() if term in has) / sum(parts.values()),
                sum(weight * self.share_of(word, shown) for word, weight in whole.items()) / sum(whole.values()),
            ]
            length = sum(len(text.replace(" ", "")) for text in run)
            found = sum(letters for gram, letters in self.letters.items() if gram in has)
            best = max(best, sum(shares) / 2 * min(1, self.fit(length) / self.fit(found)))
        return best

    @staticmethod
    def fit(length):
        return 1 / (1 + 1.2 * (0.25 + 0.75 * length / 48))


# --- folding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Łódź", "lodz"),
        ("ＡＢＣ ｶﾞｷﾞ", "abc ガギ"),
        ("Straße STRASSE", "strasse strasse"),
        ("Ærø, Þórður, œuvre, ĐORĐE, KADIKÖY ıi İI", "aero thordur oeuvre dorde kadikoy ii ii"),
        ("ﬁsh Ⅷ ½ ①", "fish viii 1 2 1"),
        ("£1.30 1,30 17:27.", "1.30 1.30 17.27"),
        ("1.000.000 v2.1 ... .5 5. 1..2 a.b", "1.000.000 v2.1 5 5 1 2 a b"),
        ("٣٫ ४५", "3 45"),
        ("let's LET’S o''clock 5'10\" 'quoted'", "lets lets oclock 5 10 quoted"),
        ("Wi-Fi snake_case AT&T", "wi fi snake case at t"),
        ("МОСКВА ресторан", "mockba pectopah"),
        ("ΤΑΒΕΡΝΑ", "tabepna"),
        ("ёй", "eи"),
        ("ガギ パ", "ガギ パ"),
        ("한국어 서울", "한국어 서울"),
        ("हिन्दी", "हिन्दी"),
        ("مُحَمَّد مـحمد", "محمد محمد"),
        ("soft\u00adhyphen zero\u200bwidth heart❤️", "softhyphen zerowidth heart"),
        ("a\tb\nc=d\x00e\ud800f", "a b c d e f"),
        ("!!! ***", ""),
        ("", ""),
    ],
)
def test_fold(text, folded):
    assert fold(text) == folded


def test_folded_texts_are_letters_digits_points_and_spaces_and_stay_as_they_are():
    for code in [*range(0x3100), *range(0xA000, 0xD7FF, 7), *range(0xD7FF, 0x11000), *range(0x1D400, 0x1F000)]:
        folded = fold(f"a{chr(code)}b {chr(code)} 1{chr(code)}2")
        assert fold(folded) == folded
        assert not set(folded) & set("\t\n\r=_'\"-") and folded.isprintable(), hex(code)


@pytest.mark.parametrize(
    ("shown", "typed"),
    [("ŁÓDŹ", "lodz"), ("ＡＢＣ", "abc"), ("PECTOPAH", "ресторан"), ("Beyoğlu", "beyoglu"), ("ﾃﾞﾊﾟｰﾄ", "デパート")],
)
def test_what_is_folded_away_is_folded_on_both_sides(shown, typed):
    assert LexicalScorer([["something else"], [shown]]).score([typed]).tolist() == [[0.0, 1.0]]


# --- what full-text search looks in ----------------------------------------------------------------------------------


def test_tokens_of_full_text_search():
    assert spell("B4") == "_b4 b4_ b4 _b4_"
    assert spell("Zürich, ＺＵ 7") == "_zu zur uri ric ich ch_ _zurich_ zu_ _zu_ _7_"
    assert spell("GateB4") == "_ga gat ate teb eb4 b4_ b4 _gateb4_"
    assert spell("1:30") == "_1. 1.3 .30 30_ 30 _1.30_"
    assert spell("北京大") == "_北京 北京大 京大_ 北京 京大 北 京 大 _北京大_"
    assert spell("서울") == "_서울 서울_ 서울 _서울_"
    assert spell("the the") == "_th the he_ _the_"
    assert spell(" ! ") == ""


def test_filler_words_of_a_query_are_looked_for_as_whole_words_only():
    assert query_spelling("Check IN the lobby") == (spell("check lobby"), "_in_ _the_")
    assert query_spelling("parking") == (spell("parking"), "")
    assert query_spelling("The Who") == (spell("the who"), "")
    assert query_spelling("!!!") == ("", "")
    assert len(query_spelling("ab1 " * 10_000)[0].split()) == len(query_spelling("ab1 " * 10)[0].split())


def test_one_letter_of_an_unspaced_script_is_a_token_of_words_it_is_part_of():
    assert set(query_spelling("茶")[0].split()) & set(spell("绿茶").split()) == {"茶"}


# --- columns ---------------------------------------------------------------------------------------------------------


def test_columns_of_a_row():
    windows = [["Gate B4", "!!!", "EXIT"], ["gate b4", "exit"], [], [], ["Exit"], ["EXIT"]]
    columns = text_columns([window(texts) for texts in windows])
    assert columns == {"texts": "gate b4\texit\n=\n\n\nexit\n=", "term_text": spell("gate b4 exit")}
    assert text_columns([]) == {"texts": "", "term_text": ""}
    given = [WindowCaption(0, 1, "Gate B4 exit"), WindowCaption(1, 2), WindowCaption(2, 3, "all of it", [])]
    assert text_columns(given)["texts"] == "gate b4 exit\n\nall of it"


def test_windows_come_back_from_the_column():
    gallery = random_gallery(30)
    rows = rows_of(gallery)
    assert "=" in "".join(rows["texts"].to_pylist())
    texts = SegmentTexts.from_column(pa.chunked_array([rows["texts"].chunk(0)[:7], rows["texts"].chunk(0)[7:]]))
    assert len(texts) == 30
    for row, windows in enumerate(gallery):
        assert texts.windows(row) == [[fold(text) for text in window if fold(text)] for window in windows]


# --- words in capitals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("a car comes up to a STOP sign", {"stop"}),
        ("the AT&T logo, then NO-ENTRY", {"at", "t", "no", "entry"}),
        ("ÉCOLE près du café", {"ecole"}),
        ("A dog in I, b4 and B4", set()),  # words of one letter
        ("TRICK OR TREAT", set()),  # all of it: nothing is stressed
        ("Spencer Brown", set()),
        ("出口 abc", set()),
        ("", set()),
    ],
)
def test_capital_words(query, words):
    assert capital_words(query) == words


def test_a_word_in_capitals_decides_between_texts_with_one_word_of_the_query_each():
    gallery = [["junction"], ["stop"]]
    lower, upper = LexicalScorer(gallery).score(["a stop at a junction", "a STOP at a junction"])
    assert lower[0] > lower[1] and upper[1] > upper[0]


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    # Three rows: idf(df=1) = ln(1 + 2.5 / 1.5), half of it for "b4", which no row has; idf(2) = ln(1 + 1.5 / 2.5).
    # "gate" has 4 grams and is 1 word, "b4" has 2 and a pair and is 1.
    unshown, usual = (math.log(8 / 3) / 2) ** 2, math.log(1.6) ** 2
    words, parts = usual / (usual + unshown), 4 * usual / (4 * usual + 3 * unshown)
    gallery = [[["GATE"], ["gate two three four five"], []], [["exit"]], [["gate"]]]
    first, second, _ = scores_in("gate b4", gallery)
    # 4 letters of the query are found: 4 are not too many, of 20 the factor is (1 + 1.2 * 0.3125) / (1 + 1.2 * 0.5625).
    expected = np.array([1, 1.375 / 1.675, 0]) * (words + parts) / 2
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    assert expected[0] == pytest.approx(0.51462, abs=1e-5)
    assert second.tolist() == [0.0] and first.dtype == second.dtype == np.float32


def test_filler_counts_a_fifth():
    # In a gallery of one row all terms are equally rare. "in" has 2 grams, "exit" 4.
    (scores,) = scores_in("in exit", [[["exit"], ["in"], ["exit in"], ["in exit"]]])
    filler = (0.2 / 1.2 + 0.4 / 4.4) / 2
    np.testing.assert_allclose(scores, [1 - filler, filler, 1, 1], rtol=1e-6)
    assert scores_in("the", [[["the"], ["then"]]])[0][0] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_slow_ones_over_random_texts(seed):
    gallery = random_gallery(25, seed)
    slow, rows, statistics = SlowScores(gallery), rows_of(gallery), LexicalStatistics()
    statistics.add(rows)
    chosen = random.Random(seed).sample(range(25), 12)
    texts = SegmentTexts.from_column(rows["texts"].take(chosen))
    queries = [
        "gate b4",
        "check in",
        "the of",
        "茶",
        "绿茶 17.27",
        "lodz tesco",
        "a",
        "!!!",
        "",
        "tesco express in 1.30",
    ]
    queries += ["हिन्दी", "город", "ab12x rents", "出口", "서울 𠮷野", "x x x x", *gallery[0][0], "zzz qqq"]
    queries += [
        "a GATE in tesco",
        "TESCO IN 1.30",
        "the SIGN of tesco",
        "ГОРОД tesco",
        "a TSA or SAT",
        "tesco tesca express",
    ]
    for query in queries:
        expected = slow.score(query)
        for row, scores in zip(chosen, texts.scores(query, statistics), strict=True):
            np.testing.assert_allclose(scores, expected[row], atol=1e-6, err_msg=query)


def test_letters_that_share_their_last_bits_are_told_apart():
    # The first pass takes characters by their last 8 bits.
    assert ord("扡") & 0xFF == ord("a") and ord("丠") & 0xFF == ord(" ")
    gallery = [["扡扢扣"], ["abc"], ["丠扡扢扣"], ["扡丠"]]
    scores = LexicalScorer(gallery).score(["abc", "扡扢扣", "丠"])
    assert scores[0].tolist() == [0, 1, 0, 0] and scores[1].argmax() == 0
    assert scores[2, :2].tolist() == [0, 0] and scores[2, 2:].min() > 0


@pytest.mark.parametrize("extra", [0, 40])
def test_each_small_word_finds_its_own_card(extra):
    others = [f"headline {i} about something" for i in range(extra)]
    gallery = [[[*others[:17], card, *others[17:]]] for card in CARDS]
    rows, statistics = rows_of(gallery), LexicalStatistics()
    statistics.add(rows)
    texts = SegmentTexts.from_column(rows["texts"])
    for pattern in ("{}", "a photo with the words {} over a door", "a hotel in which {} is written on cards"):
        for place, card in enumerate(CARDS):
            scores = np.array([row.max() for row in texts.scores(pattern.format(card.lower()), statistics)])
            assert scores.argmax() == place and (scores == scores.max()).sum() == 1, (pattern, card)


def test_a_name_wins_over_its_parts_in_one_text_and_in_several():
    gallery = [["South Spencer"], ["Spencer Brown"], ["Brown", "Spencer"]]
    assert LexicalScorer(gallery).score(["Spencer Brown"])[0].argmax() == 1
    (apart, together, scattered) = scores_in(
        "Spencer Brown", [[["x y", "Spencer", "Brown"]], [["Spencer Brown"]], [["Spencer", *"abcdefg", "Brown"]]]
    )
    assert apart == together == 1.0 and scattered < 1


def test_a_sign_is_found_among_forty_other_texts():
    news = [f"headline {i} about something" for i in range(40)]
    busy, partial = scores_in("gate b4", [[[*news[:20], "GATE B4", *news[20:]]], [["gate b5"]]])
    assert busy[0] == 1.0 and 0 < partial[0] < 1


def test_runs_do_not_reach_into_other_windows():
    near, far = scores_in("red fox", [[["red", "fox"]], [["red"], ["fox"]]])
    assert near.tolist() == [1.0] and far.max() < 1


@pytest.mark.parametrize(
    ("query", "video"),
    [
        ("tesco shop", 0),  # case
        ("TESC0 EXPRES", 0),  # an OCR slip, or a typing one
        ("tescoexpress", 0),  # a lost space
        ("B4", 2),  # two characters
        ("24", 3),
        ("12", 3),
        ("£1.30", 0),
        ("1,30", 0),
        ("17.27", 2),
        ("cafe zurich", 2),  # accents
        ("ＴＥＳＣＯ", 0),  # full-width letters
    ],
)
def test_finds_the_video_that_shows_the_text(query, video):
    assert LexicalScorer(GALLERY).score([query])[0].argmax() == video


def test_one_letter_finds_the_word_it_is_part_of():
    assert LexicalScorer([["红酒"], ["绿茶"], [""]]).score(["茶"])[0].argmax() == 1


def test_words_that_no_caption_has_lower_the_score():
    short, long = LexicalScorer(GALLERY).score(["parking 24", "parking 24 behind a yellow lighthouse"])[:, 3]
    assert 0 < long < 0.7 * short


@pytest.mark.parametrize("query", ["", " ", "!!!", "❤️ ***", "\x00"])
def test_a_query_without_letters_scores_zero(query):
    assert not LexicalScorer(GALLERY).score([query]).any()


def test_a_query_of_any_length_is_scored_by_its_beginning():
    texts = ["".join(chr(0x4E00 + i) for i in range(MAX_QUERY_LENGTH)), "gate b4"]
    long = texts[0] + "".join(chr(0x6000 + i) for i in range(5000))
    assert LexicalScorer([[text] for text in texts]).score([long]).tolist() == [[1.0, 0.0]]


def test_equal_rows_score_exactly_equal_whatever_is_scored_with_them():
    gallery = random_gallery(60, seed=5)
    rows, statistics = rows_of(gallery), LexicalStatistics()
    statistics.add(rows)
    queries = ["tesco gate rents in the check 17:27 绿茶", "strain sane nears the inn", "x a of the"]
    for query in queries:
        together = SegmentTexts.from_column(rows["texts"]).scores(query, statistics)
        again = SegmentTexts.from_column(pa.concat_tables([rows, rows])["texts"]).scores(query, statistics)
        assert any(scores.any() for scores in together)
        for row, scores in enumerate(together):
            alone = SegmentTexts.from_column(rows["texts"].slice(row, 1)).scores(query, statistics)[0]
            for other in (alone, again[row], again[row + 60]):
                np.testing.assert_array_equal(scores, other)


@pytest.mark.parametrize("captions", [[], [[], []], [["", ""], ["  "]], [["***"]]])
def test_a_gallery_without_text_scores_zero(captions):
    scores = LexicalScorer(captions).score(["TESCO", "24"])
    assert scores.shape == (2, len(captions)) and scores.dtype == np.float32
    assert not scores.any()


def test_no_rows_and_no_queries():
    assert SegmentTexts([]).scores("gate", LexicalStatistics()) == []
    assert LexicalScorer(GALLERY).score([]).shape == (0, 4)


def test_scorer_takes_the_best_window_of_strings_or_tracks(monkeypatch):
    monkeypatch.setattr(lexical, "ROWS_PER_BLOCK", 3)  # several blocks
    gallery = random_gallery(10, seed=3)
    queries = ["tesco gate", "茶", "the 17:27"]
    tracked = LexicalScorer([[window(texts) for texts in windows] for windows in gallery]).score(queries)
    for row, query in enumerate(queries):
        expected = [scores.max() for scores in scores_in(query, gallery)]
        np.testing.assert_array_equal(tracked[row], np.array(expected, np.float32))
    strings = [[" ".join(texts) for texts in windows] for windows in gallery]
    joined = [[[text] for text in windows] for windows in strings]
    expected = [[scores.max() for scores in scores_in(query, joined)] for query in queries]
    np.testing.assert_array_equal(LexicalScorer(strings).score(queries), np.array(expected, np.float32))


# --- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_count_rows_add_up_and_go_down():
    rows = rows_of(random_gallery(30))
    whole, summed = LexicalStatistics(), LexicalStatistics()
    whole.add(rows)
    summed.add(rows.slice(0, 11))
    for batch in rows.slice(11).combine_chunks().to_batches(max_chunksize=4):
        summed.add(batch)
    assert whole.num_rows == summed.num_rows == 30
    np.testing.assert_array_equal(summed.document_frequency, whole.document_frequency)
    tokens = ["_tesco_", "tes", "茶", "_in_", "never"]
    shown = np.array([sum(token in text.split() for text in rows["term_text"].to_pylist()) for token in tokens])
    assert shown[:4].all() and not shown[4]
    shown[4] = 1  # half as rare as what one row has
    expected = np.log(1 + (30 - shown + 0.5) / (shown + 0.5)) * [1, 1, 1, 1, 0.5]
    np.testing.assert_allclose(whole.idf(tokens), expected.clip(0.01))
    assert whole.idf(tokens).dtype == np.float64 and whole.idf([]).shape == (0,)

    part, other = LexicalStatistics(), LexicalStatistics()
    part.add(rows.slice(20))
    other.add(rows.slice(0, 20))
    merged = LexicalStatistics.merged([part, other])
    assert (merged.num_rows, part.num_rows) == (30, 10)
    np.testing.assert_array_equal(merged.document_frequency, whole.document_frequency)
    whole.subtract(rows.slice(0, 20))
    assert whole.num_rows == 10
    np.testing.assert_array_equal(whole.document_frequency, part.document_frequency)
    whole.subtract(rows.slice(20))
    assert whole.num_rows == 0 and not whole.document_frequency.any()


def test_what_every_row_shows_still_has_a_weight():
    statistics = LexicalStatistics()
    statistics.add(pa.table({"term_text": ["_a_"] * 1000}))
    assert statistics.idf(["_a_"]).tolist() == [0.01]


def test_more_rows_than_are_counted_at_once(monkeypatch):
    rows = rows_of(random_gallery(30))
    whole, blocks = LexicalStatistics(), LexicalStatistics()
    whole.add(rows)
    monkeypatch.setattr(lexical, "ROWS_PER_BLOCK", 7)
    blocks.add(rows)
    np.testing.assert_array_equal(blocks.document_frequency, whole.document_frequency)


def test_statistics_survive_a_table(tmp_path):
    import lancedb

    statistics = LexicalStatistics()
    statistics.add(rows_of(random_gallery(30)))
    lancedb.connect(tmp_path).create_table("statistics", statistics.to_table())
    again = LexicalStatistics.from_table(lancedb.connect(tmp_path).open_table("statistics").to_arrow())
    assert again.num_rows == 30
    np.testing.assert_array_equal(again.document_frequency, statistics.document_frequency)
    empty = LexicalStatistics.from_table(LexicalStatistics().to_table())
    assert empty.num_rows == 0 and not empty.document_frequency.any()


def test_terms_are_numbered_the_same_in_every_process_and_release():
    statistics = LexicalStatistics()
    statistics.add(pa.table({"term_text": ["_gate_ 茶"]}))
    assert np.flatnonzero(statistics.document_frequency).tolist() == [301556, 1323953]


def test_small_phrases_find_their_own_text():
    gallery = [[["Sign in"]], [["STOP"]], [["Sign up"]], [["log in"]]]

    def best(query):
        return int(np.argmax([scores.max() for scores in scores_in(query, gallery)]))

    assert best("a STOP sign at a junction") == 1
    assert [best(query) for query in ("sign in", "sign up", "the sign", "log in")] == [0, 2, 0, 3]
    assert telling_words(["a", "sign", "stop"]) == ["sign", "stop"] and telling_words(["a"]) == ["a"]
