"""Conditions on the rows of an index, `where`: one expression of a small part of SQL, and nothing behind it.

LanceDB runs what it is given: of `a = 1 LIMIT 5` or `a = 1; ...` it drops what follows, `a) OR (b` leaves the brackets
that it is put in, and `repeat(path, 1000000)` takes the memory of the machine. So a condition is read here first, and
what LanceDB gets is written anew from what was understood.

```
condition   any [OR any]...                          any         part [AND part]...
part        NOT part | value [test]                  value       + - * / % on numbers, texts, columns, functions, (...)
test        = != <> < <= > >= value | [NOT] LIKE text | [NOT] ILIKE text | [NOT] IN (value, ...)
            | [NOT] BETWEEN value AND value | IS [NOT] NULL | IS [NOT] TRUE | IS [NOT] FALSE
```
"""

import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["FILTER_COLUMNS", "FILTER_FUNCTIONS", "check_condition"]

NUMBER, TEXT, TRUTH = "a number", "a text", "true or false"
WHOLE_COLUMNS = ("segment", "size", "modified")
SHORT_COLUMNS = ("segment",)  # of 32 bits, the others are of 64

FILTER_COLUMNS = {
    "path": TEXT,
    "duration": NUMBER,
    "fps": NUMBER,
    "segment": NUMBER,
    "start": NUMBER,
    "end": NUMBER,
    "has_text": TRUTH,
    "caption_text": TEXT,
    "sources": TEXT,
    "content_hash": TEXT,
    "texts_hash": TEXT,
    "size": NUMBER,
    "modified": NUMBER,
    "id": TEXT,
}
"""The columns that a condition may name, with the kind of their values."""

FILTER_FUNCTIONS = {
    "lower": ((TEXT,), TEXT),
    "upper": ((TEXT,), TEXT),
    "length": ((TEXT,), NUMBER),
    "char_length": ((TEXT,), NUMBER),
    "character_length": ((TEXT,), NUMBER),
    "starts_with": ((TEXT, TEXT), TRUTH),
    "ends_with": ((TEXT, TEXT), TRUTH),
    "contains": ((TEXT, TEXT), TRUTH),
    "strpos": ((TEXT, TEXT), NUMBER),
    "abs": ((NUMBER,), NUMBER),
    "round": ((NUMBER,), NUMBER),
}
"""The functions that it may call, with the kinds of what they take and give: none makes more than it is given."""

WORDS = ("AND", "OR", "NOT", "LIKE", "ILIKE", "IN", "BETWEEN", "IS", "NULL", "TRUE", "FALSE")
COMPARISONS = ("=", "==", "!=", "<>", "<", "<=", ">", ">=")
MAX_CHARACTERS = 100_000  # a list of some hundred paths
MAX_DEPTH = 32  # brackets in brackets: LanceDB goes down into them, and its stack ends
MAX_NUMBER = 2**53  # of real ones: whole numbers are the same up to here
MAX_SHORT_NUMBER, MAX_WHOLE_NUMBER = 2**31 - 1, 2**63 - 1
MAX_PARTS = 500  # of AND, OR and sums, into which it goes down likewise
PIECE = re.compile(
    r"""\s*(?: (?P<text>'(?:[^']|'')*')
             | (?P<quoted>"[^"]+"|`[^`]+`)
             | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?![A-Za-z_0-9.])
             | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
             | (?P<sign><>|!=|<=|>=|==|[-+*/%=<>(),])
             | (?P<end>\Z) )""",
    re.VERBOSE,
)

LITERAL = re.compile("[0-9][0-9.]*(?:e-[0-9]+)?")  # as written anew here


def check_condition(where: str) -> str:
    """A condition as LanceDB may be given it: the same one, of nothing but what is allowed.

    Args:
        where (`str`): one expression, such as `"duration < 60 AND lower(caption_text) LIKE '%tesco%'"`, on the columns
            `FILTER_COLUMNS` with the functions `FILTER_FUNCTIONS`.

    Raises:
        ValueError: it is none; names the piece that is wrong, and what is allowed.
    """
    shown = where if len(where) <= 200 else where[:200] + "..."
    try:
        if len(where) > MAX_CHARACTERS:
            raise ValueError(f"it has {len(where):,} characters, at most {MAX_CHARACTERS:,} are allowed.")
        return _Reader(_split(where)).read()
    except ValueError as error:
        raise ValueError(f"where={shown!r} cannot be used as a filter: {error}") from error


class _Piece(NamedTuple):
    """A word, sign, number or text of a condition; the last one is its end."""

    kind: str
    text: str
    place: int

    @property
    def word(self) -> str:
        """In capitals, if it may be a word of the language."""
        return self.text.upper() if self.kind in ("name", "sign") else ""

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 100 else self.text[:100] + "..."
        return "the end" if self.kind == "end" else f"{shown!r} (at character {self.place + 1})"


def _split(where: str) -> list[_Piece]:
    pieces, place = [], 0
    while not pieces or pieces[-1].kind != "end":
        match = PIECE.match(where, place)
        if match is None:
            rest = where[place:].lstrip()
            what = "opens a text that has no end" if rest[0] in "'\"`" else "is no part of a condition"
            raise ValueError(f"{rest[:20]!r} (at character {len(where) - len(rest) + 1}) {what}. {_allowed()}")
        kind = str(match.lastgroup)
        pieces.append(_Piece(kind, match[kind], match.start(kind)))
        place = match.end()
    return pieces


class _Value(NamedTuple):
    """What was read so far: as SQL, and what kind of value it gives."""

    sql: str
    kind: str


class _Reader:
    """Reads the pieces of a condition by the grammar above, each rule by a method."""

    def __init__(self, pieces: list[_Piece]):
        self._pieces = pieces
        self._next = self._depth = self._parts = 0

    def read(self) -> str:
        condition = self._any_of()
        if self._piece.kind != "end":
            raise ValueError(f"{self._piece} follows on a whole condition, of which there may be one. {_allowed()}")
        return self._must_be(condition, TRUTH).sql

    @property
    def _piece(self) -> _Piece:
        return self._pieces[self._next]

    def _take(self, *words: str) -> str:
        """Goes on behind the next piece if it is one of these words or signs, and gives it; else `""`."""
        word = self._piece.word
        if word not in words:
            return ""
        self._next += 1
        return word

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise ValueError(f"{word!r} is missing before {self._piece}.")

    def _must_be(self, value: _Value, kind: str) -> _Value:
        if value.kind != kind:
            raise ValueError(f"{value.sql[:60]} is {value.kind}, where it must be {kind}.")
        return value

    def _any_of(self) -> _Value:
        return self._chain(self._all_of, ("OR",), TRUTH)

    def _all_of(self) -> _Value:
        return self._chain(self._part, ("AND",), TRUTH)

    def _chain(self, read: Callable[[], _Value], signs: tuple[str, ...], kind: str) -> _Value:
        """Values with signs between them, each of a kind; one alone may be of any."""
        value = read()
        while sign := self._take(*signs):
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise ValueError(f"it has more than {MAX_PARTS} parts: use IN ('...', '...') for one of many.")
            left, right = self._must_be(value, kind), self._must_be(read(), kind)
            if sign in ("/", "%") and not re.fullmatch("[0-9.eE]*[1-9][0-9.eE]*", right.sql):
                raise ValueError(f"{right.sql[:60]} divides, which may be a number other than 0 only.")
            value = _Value(f"{left.sql} {sign} {right.sql}", kind)
        return value

    def _part(self) -> _Value:
        if self._take("NOT"):
            with_in = self._deeper(self._part)
            return _Value(f"NOT {self._must_be(with_in, TRUTH).sql}", TRUTH)
        value = self._sum()
        if sign := self._take(*COMPARISONS):
            left, right = _comparable(value, self._must_be(self._sum(), value.kind))
            if value.kind == TRUTH and sign not in ("=", "==", "!=", "<>"):
                raise ValueError(f"{value.sql[:60]} is true or false, which {sign!r} cannot compare.")
            return _Value(f"{left} {sign} {right}", TRUTH)
        if self._take("IS"):
            negated = " NOT" if self._take("NOT") else ""
            word = self._take("NULL", "TRUE", "FALSE")
            if not word:
                raise ValueError(f"NULL, TRUE or FALSE is missing before {self._piece}.")
            return _Value(f"{(value if word == 'NULL' else self._must_be(value, TRUTH)).sql} IS{negated} {word}", TRUTH)
        negated = "NOT " if self._take("NOT") else ""
        if word := self._take("LIKE", "ILIKE"):
            pattern = self._must_be(self._sum(), TEXT)
            return _Value(f"{self._must_be(value, TEXT).sql} {negated}{word} {pattern.sql}", TRUTH)
        if self._take("IN"):
            one, *choices = _comparable(value, *(self._must_be(choice, value.kind) for choice in self._list()))
            return _Value(f"{one} {negated}IN ({', '.join(choices)})", TRUTH)
        if self._take("BETWEEN"):
            least = self._must_be(self._sum(), value.kind)
            self._need("AND")
            one, low, high = _comparable(value, least, self._must_be(self._sum(), value.kind))
            return _Value(f"{one} {negated}BETWEEN {low} AND {high}", TRUTH)
        if negated:
            raise ValueError(f"LIKE, ILIKE, IN or BETWEEN is missing before {self._piece}.")
        return value

    def _sum(self) -> _Value:
        return self._chain(self._product, ("+", "-"), NUMBER)

    def _product(self) -> _Value:
        return self._chain(self._factor, ("*", "/", "%"), NUMBER)

    def _factor(self) -> _Value:
        piece = self._piece
        if self._take("-"):
            return _Value(f"- {self._must_be(self._deeper(self._factor), NUMBER).sql}", NUMBER)
        if self._take("("):
            value = self._deeper(self._any_of)
            self._need(")")
            return _Value(f"({value.sql})", value.kind)
        if word := self._take("TRUE", "FALSE"):
            return _Value(word, TRUTH)
        if piece.kind in ("text", "number"):
            self._next += 1
            return _Value(piece.text, TEXT) if piece.kind == "text" else _number(piece)
        if piece.kind in ("name", "quoted"):
            self._next += 1
            return self._named(piece)
        raise ValueError(f"a value is missing before {piece}. {_allowed()}")

    def _named(self, piece: _Piece) -> _Value:
        """A column, or what a function makes of its arguments."""
        name = piece.text.lower() if piece.kind == "name" else piece.text[1:-1]
        if piece.kind == "name" and name in FILTER_FUNCTIONS and self._piece.word == "(":
            takes, gives = FILTER_FUNCTIONS[name]
            values = self._deeper(self._list)
            if len(values) != len(takes):
                raise ValueError(f"{name} takes {len(takes)} values, got {len(values)}.")
            given = ", ".join(self._must_be(*pair).sql for pair in zip(values, takes, strict=True))
            return _Value(f"{name}({given})", gives)
        if name not in FILTER_COLUMNS or self._piece.word == "(":
            raise ValueError(f"{piece} is no column or function that may be used. {_allowed()}")
        return _Value(f'"{name}"', FILTER_COLUMNS[name])

    def _list(self) -> list[_Value]:
        self._need("(")
        values = [self._sum()]
        while self._take(","):
            values.append(self._sum())
        self._need(")")
        return values

    def _deeper(self, read: Callable):
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"it has more than {MAX_DEPTH} parts inside each other.")
        value = read()
        self._depth -= 1
        return value


def _number(piece: _Piece) -> _Value:
    if piece.text.isdigit():
        digits = piece.text.lstrip("0") or "0"
        if len(digits) > len(str(MAX_WHOLE_NUMBER)) or int(digits) > MAX_WHOLE_NUMBER:
            raise ValueError(f"{piece} is beyond {MAX_WHOLE_NUMBER}, the largest whole number that may be used.")
        return _Value(digits, NUMBER)
    real = float(piece.text)
    if real > MAX_NUMBER:
        raise ValueError(f"{piece} is beyond {MAX_NUMBER}, the largest number with a point or exponent.")
    return _Value(str(int(real)) if real.is_integer() else repr(real), NUMBER)


def _comparable(*values: _Value) -> list[str]:
    """Values that are compared, as SQL. LanceDB turns literals that a column is compared with into its type, even those
    inside other expressions, and fails where it cannot; so such a column is put into an expression."""
    literals = [literal for value in values if value.kind == NUMBER for literal in LITERAL.findall(value.sql)]
    columns: tuple[str, ...] = ()
    if any(not literal.isdigit() for literal in literals):
        columns = WHOLE_COLUMNS
    elif any(float(literal) > MAX_SHORT_NUMBER for literal in literals):
        columns = SHORT_COLUMNS
    return [_in_an_expression(value, columns) for value in values]


def _in_an_expression(value: _Value, columns: tuple[str, ...]) -> str:
    if value.kind == TRUTH and value.sql.strip("()").startswith('"'):
        return f"({value.sql} IS TRUE)"
    return f"({value.sql}) * 1.0" if any(f'"{name}"' in value.sql for name in columns) else value.sql


def _allowed() -> str:
    return (
        f"Columns: {', '.join(FILTER_COLUMNS)}. Functions: {', '.join(FILTER_FUNCTIONS)}. Words: {', '.join(WORDS)}. "
        "Texts stand in single quotes."
    )
