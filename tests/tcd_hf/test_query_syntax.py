import random
import warnings
from dataclasses import replace

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import FTS

from tcd_hf.index.lexical import SegmentTexts, fold, text_columns
from tcd_hf.index.query_syntax import (
    MAX_QUERY_LENGTH,
    Alternative,
    Query,
    allowed_windows,
    as_phrase,
    parse_query,
    phrase_pattern,
    sql_filter_for,
)
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption


def parse(text: str) -> Query:
    return parse_query(text, syntax="query")


def shows(phrase: str, *texts: str) -> bool:
    """Whether a window with these texts may answer a query for the phrase."""
    return allowed_windows(parse(f'"{phrase}"'), [[fold(text) for text in texts]]).item()


@pytest.mark.parametrize("syntax", ["plain", "query"])
def test_a_query_is_cut_with_a_warning(syntax):
    longest = "way out " * (MAX_QUERY_LENGTH // 8)
    with pytest.warns(UserWarning, match=r"Only the first 1,000 of 1,200,000 characters of a query"):
        cut = parse_query(longest + "x" * (1_200_000 - MAX_QUERY_LENGTH), syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cut == parse_query(longest, syntax)


class TestParsing:
    @pytest.mark.parametrize(
        "text",
        [
            "a red car",
            "SALE -50%",  # a digit follows
            "Wi-Fi multi-state",  # no space before
            "the range 3 - 4 -- or so",
            "5 – 6 –word",  # dashes
            "TRICK OR TREAT",  # all capitals
            "OR TREAT or trick OR",  # at the ends
            "this OR OR that",
            'a 12" disc and a 10" disc',  # quotes after a digit are inches
            'he said "hello',  # unclosed
            '-"hello there',
            "rock 'n' roll",
            "2 * (3 + 4): why? title:x^2 AND /re/ [a TO b] ~",  # no other language
            "!!!",
        ],
    )
    def test_what_is_no_operator_is_text(self, text):
        assert parse(text) == Query(text, (Alternative(text),))
        assert parse(text).is_plain

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('"check in" desk', Alternative("check in desk", ("check in",))),
            ("the “Way  Out” and „Ausgang“ or «sortie» »Tür«", ("the Way Out and Ausgang or sortie Tür", 4)),
            ("找“绿茶”吧", Alternative("找 绿茶 吧", ("绿茶",))),
            ('a "" b', Alternative("a b")),  # nothing stands in it
            ('a "?!" b', Alternative("a ?! b")),  # nothing to compare
            ('("way out"), please', Alternative("( way out please", ("way out",))),
            ('"exit" "exit"', Alternative("exit exit", ("exit",))),
            ('"12" disc"', Alternative('12 disc"', ("12",))),
        ],
    )
    def test_phrases(self, text, expected):
        found = parse(text).alternatives[0]
        assert (found.text, len(found.phrases)) == expected if isinstance(expected[1], int) else found == expected

    @pytest.mark.parametrize(
        ("text", "left", "excluded"),
        [
            ("street -night", "street", ("night",)),
            ("-night street", "street", ("night",)),
            ('street -"no exit" -night', "street", ("no exit", "night")),
            ("x -Wi-Fi, y", "x y", ("Wi-Fi",)),
            ("x -“no exit”!", "x", ("no exit",)),
            ("茶 -红", "茶", ("红",)),
            ("x -night -night", "x", ("night",)),
            ('x -"" -"!"', "x", ()),
            ("TRICK OR TREAT -candy", "TRICK OR TREAT", ("candy",)),
        ],
    )
    def test_exclusions(self, text, left, excluded):
        assert parse(text) == Query(left, (Alternative(left),), excluded)

    @pytest.mark.parametrize(
        ("text", "texts"),
        [
            ("cat OR dog", ["cat", "dog"]),
            ("a cat OR dog runs", ["a cat runs", "a dog runs"]),
            ("a OR b OR c", ["a", "b", "c"]),
            ("a OR b x OR y", ["a x", "a y", "b x", "b y"]),
            ("a OR a", ["a"]),
            ("绿茶 OR 红茶", ["绿茶", "红茶"]),  # no capitals and no small letters
            ('"CHECK IN" OR EXIT', ["CHECK IN", "EXIT"]),  # who quotes writes operators
            ("a OR -b c", ["a OR c"]),  # beside an exclusion
            ('a OR ""', ["a OR"]),
        ],
    )
    def test_alternatives(self, text, texts):
        assert [alternative.text for alternative in parse(text).alternatives] == texts

    def test_an_alternative_requires_its_own_phrases(self):
        query = parse('"gate a" OR B open "now"')
        assert query == Query(
            "gate a B open now",
            (Alternative("gate a open now", ("gate a", "now")), Alternative("B open now", ("now",))),
        )
        assert query.phrases == ("gate a", "now")
        assert not query.is_plain

    def test_as_json(self):
        assert parse('"gate a" OR b -night').to_dict() == {
            "text": ["gate a", "b"],
            "phrases": ["gate a"],
            "excluded": ["night"],
        }

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("entry >> exit", ["entry", "exit"]),
            ('"way in" >> exit -no OR out', ['"way in"', "exit -no OR out"]),
            ("a >>\tb\n>> c", ["a", "b", "c"]),
            ("找“绿茶” >> 红茶", ["找“绿茶”", "红茶"]),
            ('12" >> 10"', ['12"', '10"']),  # inches
            ('he said "a >> b', ['he said "a', "b"]),  # unclosed
            ("TRICK OR TREAT >> a OR b", ["TRICK OR TREAT", "a OR b"]),
        ],
    )
    def test_one_after_the_other(self, text, parts):
        query = parse(text)
        assert query.parts == tuple(map(parse, parts))
        assert query.parts[0] == replace(query, then=()) and query.parts[1:] == query.then
        assert not query.is_plain

    @pytest.mark.parametrize(
        "text", ["a>>b", "a >>b", "a>> b", "a >>> b", "a > > b", '"a >> b"', "the “a >> b” sign", "1 >>= 2", "a » b"]
    )
    def test_only_by_itself(self, text):
        assert parse(text).then == () and len(parse(text).parts) == 1

    @pytest.mark.parametrize("text", [">> a", "a >>", ">>", "a >> >> b", " >> a >> b"])
    def test_nothing_on_one_side(self, text):
        with pytest.raises(ValueError, match="has a '>>' with nothing on one side: say what comes first"):
            parse(text)

    def test_parts_that_cannot_be_asked_for(self):
        with pytest.raises(ValueError, match="' -b' only says what to leave out"):
            parse("a >> -b")
        with pytest.raises(ValueError, match="' \"\"' is empty"):
            parse('a >> ""')
        assert len(parse(" >> ".join("abcdefgh")).parts) == 8
        for text in (" >> ".join("abcdefghi"), "a OR b OR c OR d OR e >> f OR g OR h OR i"):
            with pytest.raises(ValueError, match="9 alternatives, at most 8 are possible: use fewer parts or OR"):
                parse(text)

    def test_parts_as_json(self):
        first = {"text": ["a"], "phrases": [], "excluded": ["x"]}
        then = {"text": ["b", "c"], "phrases": ["c"], "excluded": []}
        assert parse('a -x >> b OR "c"').to_dict() == {**first, "then": [then]}

    def test_plain_text_is_taken_as_it_is(self):
        for text in (' "a" OR  b -c ', "", "-c", "a >> b", ">>"):
            query = parse_query(text)
            assert query == Query(text, (Alternative(text),))
            assert query.is_plain

    @pytest.mark.parametrize("text", ["", " \t\n", '""', ' "" “” '])
    def test_an_empty_query(self, text):
        with pytest.raises(ValueError, match="is empty: say what"):
            parse(text)

    @pytest.mark.parametrize("text", ["-night", '-night -"no exit"', '"" -night'])
    def test_a_query_of_exclusions_alone(self, text):
        with pytest.raises(ValueError, match=r"night.* only says what to leave out: name also"):
            parse(text)

    def test_too_many_alternatives(self):
        assert len(parse("a OR b c OR d e OR f").alternatives) == 8
        with pytest.raises(ValueError, match="9 alternatives, at most 8"):
            parse("a OR b OR c d OR e OR f")

    def test_an_unknown_syntax(self):
        with pytest.raises(ValueError, match="'plain', 'query', got 'lucene'"):
            parse_query("a", syntax="lucene")

    def test_any_text_can_be_parsed(self):
        pieces = [*"aBé茶5.('-\"“”»\\\t  ", "OR", "--", " ", " >> ", ">>"]
        generator = random.Random(0)
        for _ in range(5000):
            text = "".join(generator.choices(pieces, k=generator.randrange(12)))
            try:
                query = parse(text)
            except ValueError as error:
                assert any(part in str(error) for part in ("is empty", "leave out", "on one side"))
                continue
            assert query.alternatives and all(alternative.text.strip() for alternative in query.alternatives)
            allowed_windows(query, [["a"], []])
            sql_filter_for(query)
            if not set(text) & set('"“”»-') and "OR" not in text and not query.then:
                assert query.alternatives == (Alternative(" ".join(text.split())),)


class TestPhrases:
    @pytest.mark.parametrize(
        ("phrase", "texts"),
        [
            ("check in", ["CHECK IN"]),
            ("check in", ["Please check-in here"]),
            ("check in", ["CHECKIN"]),
            ("checkin", ["CHECK IN"]),
            ("check in", ["open", "CHECK", "IN", "now"]),  # two texts on top of each other
            ("check in", ["to CHECK", "IN here"]),
            ("lodz", ["Łódź"]),
            ("abc", ["ＡＢＣ"]),
            ("let's go", ["LETS GO!"]),
            ("1.30", ["for £1,30"]),
            ("茶", ["绿茶"]),
            ("绿茶", ["喝绿茶吧"]),
            ("tv", ["大TV店"]),  # Han stands between
            ("24小时", ["营业 24 小时"]),
        ],
    )
    def test_stands_there(self, phrase, texts):
        assert shows(phrase, *texts)

    @pytest.mark.parametrize(
        ("phrase", "texts"),
        [
            ("art", ["START"]),
            ("star", ["START"]),
            ("check in", ["CHECK OUT"]),
            ("check in", ["IN CHECK"]),
            ("check in", ["CHECK", "here", "IN"]),  # no neighbours
            ("check in", ["CHECK INN"]),
            ("check in", ["CHECK the IN"]),
            ("1.30", ["1.50", "130", "11.30", "1.305"]),
            ("绿茶", ["红茶", "绿", "红茶"]),
            ("tv", ["TVs"]),
            ("exit", []),
            ("exit", ["", ""]),
        ],
    )
    def test_does_not(self, phrase, texts):
        assert not shows(phrase, *texts)

    def test_a_pattern_stays_in_its_window(self):
        assert phrase_pattern("ab") == phrase_pattern("A-b")
        windows = [["check"], ["in"]]
        assert not allowed_windows(parse('"check in"'), windows).any()

    def test_nothing_to_compare_is_no_phrase(self):
        with pytest.raises(ValueError, match=r"letter or digit, got '\?!'"):
            phrase_pattern("?!")


class TestAllowedWindows:
    windows = (["gate a", "open"], ["gate b", "open"], ["night", "gate a", "open"], [])

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("gate", [[1, 1, 1, 1]]),
            ('"gate a"', [[1, 0, 1, 0]]),
            ('"gate a" -night', [[1, 0, 0, 0]]),
            ('"open" "gate a"', [[1, 0, 1, 0]]),
            ("gate -night -b", [[1, 0, 0, 1]]),
            ('"gate a" OR "gate b" -night', [[1, 0, 0, 0], [0, 1, 0, 0]]),
            ('"gate a" OR picture', [[1, 0, 1, 0], [1, 1, 1, 1]]),
        ],
    )
    def test_by_hand(self, text, expected):
        allowed = allowed_windows(parse(text), self.windows)
        np.testing.assert_array_equal(allowed, np.array(expected, bool))

    def test_no_windows(self):
        assert allowed_windows(parse('"a" OR b'), []).shape == (2, 0)


def column_of(windows: list[list[str]]) -> str:
    """Texts as a row of an index keeps them."""
    tracks = [[TextTrack(text, 0.9, 0.0, 1.0, (0.0, 0.0, 1.0, 1.0)) for text in texts] for texts in windows]
    return text_columns([WindowCaption(0.0, 1.0, tracks=found) for found in tracks])["texts"]


@pytest.fixture(scope="module")
def rows() -> list[list[list[str]]]:
    """Of each of some rows the folded texts of its windows."""
    generator = random.Random(1)
    words = ["check", "in", "checkin", "start", "art", "oneill", "1.30", "绿茶", "茶", "tv店", "大tv", "कमला", "कमल"]
    rows = []
    for _ in range(300):
        texts = [" ".join(generator.choices(words, k=generator.randint(1, 2))) for _ in range(4)]
        windows = [generator.choices(texts, k=generator.randrange(4)) for _ in range(2)]
        rows.append(generator.choices(windows, k=3))
    texts = SegmentTexts([column_of(windows) for windows in rows])
    assert [texts.windows(row) for row in range(len(rows))] == rows  # they are folded already
    return rows


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory):
    columns = {
        "number": list(range(len(rows))),
        "texts": [column_of(windows) for windows in rows],
        "term_text": ["same"] * len(rows),
        "vector": pa.array([[1.0, 0.0]] * len(rows), pa.list_(pa.float32(), 2)),
    }
    table = lancedb.connect(tmp_path_factory.mktemp("lance")).create_table("rows", pa.table(columns))
    table.create_index("term_text", config=FTS(base_tokenizer="whitespace", stem=False, remove_stop_words=False))
    return table


class TestFilter:
    def found(self, table, condition: str) -> list[int]:
        return sorted(table.search().where(condition).limit(None).to_arrow()["number"].to_pylist())

    @pytest.mark.parametrize(
        "phrase", ["check in", "art", "start art", "O'Neill", "1.30", "茶", "绿茶", "tv", "कमल", "in 茶"]
    )
    def test_rust_finds_what_python_finds(self, rows, table, phrase):
        query = parse(f'"{phrase}"')
        expected = [row for row, windows in enumerate(rows) if allowed_windows(query, windows).any()]
        assert 0 < len(expected) < len(rows)
        assert self.found(table, sql_filter_for(query)) == expected

    @pytest.mark.parametrize("text", ["x -art", 'x -"check in"', "x -茶 -start -in", "x -tv", "x -कमल"])
    def test_rows_that_show_what_is_excluded_all_the_time_are_left_out(self, rows, table, text):
        query = parse(text)
        # Each of the excluded may stand in another window: the filter asks that one window shows none of them.
        expected = [row for row, windows in enumerate(rows) if allowed_windows(query, windows).any()]
        assert 0 < len(expected) < len(rows)
        assert self.found(table, sql_filter_for(query)) == expected

    @pytest.mark.parametrize("text", ['"art" "check in"', '"art" -in', '"art" OR "绿茶" -check', '"tv" OR "in" "茶"'])
    def test_no_row_with_an_allowed_window_is_lost(self, rows, table, text):
        query = parse(text)
        found = self.found(table, sql_filter_for(query))
        needed = [row for row, windows in enumerate(rows) if allowed_windows(query, windows).any()]
        assert needed and set(needed) <= set(found) and len(found) < len(rows)

    def test_as_a_filter_of_vectors_and_of_full_text(self, rows, table):
        condition = sql_filter_for(parse('"check in" -art'))
        expected = self.found(table, condition)
        full_text = table.search("same", query_type="fts").where(condition, prefilter=True).limit(len(rows))
        nearest = table.search([1.0, 0.0]).where(condition, prefilter=True).limit(len(rows))
        for search in (full_text, nearest):
            assert sorted(search.to_arrow()["number"].to_pylist()) == expected

    def test_nothing_required_needs_no_filter(self):
        assert sql_filter_for(parse("gate a")) is None
        assert sql_filter_for(parse('"gate a" OR b')) is None
        assert sql_filter_for(parse_query('"gate a" -b')) is None

    def test_however_long_a_query_is_the_filter_can_be_run(self, table):
        many = " ".join(f'"check {number}" -"in {number}"' for number in range(38))
        assert self.found(table, sql_filter_for(parse(many))) == []
        long = "check" * 90
        assert sql_filter_for(parse(f'"{long}" x -{long}')) is None


def test_a_text_as_a_phrase():
    query = " OR ".join(map(as_phrase, ["WAY OUT", 'the «old» "mill" >> -b OR c', "!"]))
    parsed = parse_query(query, "query")
    assert [each.phrases for each in parsed.alternatives] == [("WAY OUT",), ("the old mill >> -b OR c",), ()]
    assert parsed.excluded == parsed.then == ()
