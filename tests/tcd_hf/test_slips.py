"""Words with a slip in them: what is found against the plain definition, and what it counts."""

import random

import numpy as np
import pytest

from tcd_hf.index.slips import find_slips
from tcd_hf.index.spelling import slipping_words
from tests.tcd_hf.test_lexical import is_slip, scores_in


def found_in(text: str, word: str) -> set[str]:
    """The words of a text that are taken for another."""
    characters = np.array([ord(letter) for letter in f" {text} "], np.uint32)
    spaces = np.flatnonzero(characters == ord(" "))
    begins = np.array([place for place in spaces[:-1] if text[place : place + 2] == word[:2]], int)
    ends = np.array([place for place in spaces[1:] if text[place - 3 : place - 1] == word[-2:]], int)
    starts = find_slips(characters, word, begins, ends)
    assert (np.diff(starts) > 0).all()
    return {text[start:].split(" ")[0] for start in starts}


def test_a_letter_too_many_too_few_another_or_two_that_changed_places():
    text = "tesco tescco teco texco tecso tsco escot ttesco tesc tescos texxco te sco desco"
    assert found_in(text, "tesco") == {
        "tesco",
        "tescco",
        "teco",
        "texco",
        "tecso",
        "tsco",
        "ttesco",
        "tesc",
        "tescos",
        "desco",
    }
    assert found_in("bbic b bc bbc abc b bcc", "bbc") == {"bbic", "bbc"}  # of a short word one too many
    assert found_in("stop shop stopp sto stpo", "stop") == {"stop", "stopp"}


@pytest.mark.parametrize("length", range(3, 9))
def test_they_are_found_as_defined(length):
    rng = random.Random(length)
    words = ["".join(rng.choices("ab", k=rng.randint(1, length + 2))) for _ in range(300)]
    for word in {each for each in words if len(each) == length}:
        expected = {other for other in words if other == word or is_slip(word, other)}
        assert found_in(" ".join(words), word) == expected, word


def test_numbers_scripts_without_spaces_and_short_words_have_none_but_names():
    words = ["ab", "abc", "store", "gr2145", "11.30", "город", "हिन्दी", "東京都渋谷区", "where"]
    assert slipping_words(words, ()) == ["store", "город", "हिन्दी"]
    assert slipping_words(words, {"ab", "abc"}) == ["abc", "store", "город", "हिन्दी"]


def test_a_word_that_is_shown_counts_for_one_word_of_the_query():
    (scores,) = scores_in("house horse", [[["horse"], ["house"], ["hose"], ["horses"]]])
    assert scores[0] == scores[1] > max(scores[2:])
    (scores,) = scores_in("store stores", [[["store"], ["stored"], ["storex"]]])
    assert scores[0] > max(scores[1:])  # which are slips of both


def test_a_short_name_is_found_with_a_letter_too_many_alone():
    (scores,) = scores_in("the BBC logo", [[["bbic"], ["bbd"], ["bc"], ["bbc"]]])
    (quiet,) = scores_in("the bbc logo", [[["bbic"], ["bbd"], ["bc"], ["bbc"]]])
    assert scores[3] > scores[0] > 1.5 * quiet[0] and scores[0] > 2 * max(scores[1:3])


def test_a_word_with_a_slip_counts_less():
    """In a gallery of one row all terms are equally rare; "tescco" has 4 of the 5 grams of "tesco"."""
    (scores,) = scores_in("tesco", [[["tesco"], ["tescco"], ["tescoxx"], ["tecso"]]])
    found, length = 5 * 4 / 5, 6
    fit = (1 + 1.2 * (0.25 + 0.75 * found / 48)) / (1 + 1.2 * (0.25 + 0.75 * length / 48))
    np.testing.assert_allclose(scores[:2], [1, (0.7 + 4 / 5) / 2 * fit], rtol=1e-6)
    assert scores[0] > scores[1] > scores[3] > 0.3 and scores[2] < 0.4


def test_fillers_and_numbers_count_as_they_are():
    (scores,) = scores_in("gr21 from shop", [[["shop"], ["form shop"], ["gr27 shop"], ["gr21 shop"]]])
    assert scores[1] < scores[0] * 1.05 and scores[3] > scores[2]


def test_letters_of_other_scripts_are_looked_for_among_latin_ones():
    (scores,) = scores_in("ГОРОДЖ tesco", [[["tesco"], ["gate"]]])
    assert scores[0] > scores[1] == 0
