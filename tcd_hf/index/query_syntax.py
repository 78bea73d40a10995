"""What a typed query asks for: words to look for, phrases that must stand there, words that must not.

| typed             | meaning                                                                                    |
| ----------------- | ------------------------------------------------------------------------------------------ |
| `way out`         | words, fuzzy: by their meaning and their spelling                                          |
| `"way out"`       | stands there: in one text of a moment, or in texts that stand next to each other           |
| `-exit`           | not moments that show this word; only before a letter, at the start or after a space       |
| `-"no exit"`      | not moments that show this phrase                                                          |
| `door OR "way in"`| either; only between two words or phrases, and not in a query all in capitals              |
| `entry >> "exit"` | first and then: a moment of each, in this order; only with spaces around, and more than once |

Phrases are compared folded ([`fold`]): case, accents and signs do not matter. Spaces inside are forgiven, since
readings lose and invent them ("check in" is CHECKIN), but a phrase begins and ends where words do: "art" is not in
START.

Every text is a query: what is no operator by these rules is a word, an unclosed quote and the minus of "-50%" too.
This is why the grammar is a regular expression here: parsers of query languages (luqum's of Lucene's syntax, or a
grammar for lark or pyparsing) take any sign for syntax and refuse what does not parse, such as an odd quote.
"""

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple, get_args

import numpy as np

from tcd_hf.choices import QuerySyntax
from tcd_hf.index.lexical import fold
from tcd_hf.index.spelling import MAX_QUERY_LENGTH

__all__ = [
    "MAX_QUERY_LENGTH",
    "UNSPACED_LETTERS",
    "Alternative",
    "Query",
    "allowed_windows",
    "as_phrase",
    "cut_query",
    "parse_query",
    "phrase_pattern",
    "sql_filter_for",
]

MAX_ALTERNATIVES = 8  # of all parts together: each is embedded and recalled by itself
# Of an alternative, and of a phrase, in the SQL filter, which lets too many rows through rather than grow too long.
MAX_FILTERED_PHRASES, MAX_FILTERED_LETTERS = 16, 200
UNSPACED_LETTERS = (  # ranges inside a [...] of Python's and of Rust's regular expressions
    "\u0e00-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3040-\u312f\u31f0-\u31ff"  # kana, Bopomofo
    "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Letters of scripts that write no spaces between words."""

_QUOTES = '"＂“”„‟«»'
# A quote opens a phrase where words begin; those that can only open do so anywhere, as in 找“绿茶”.
_OPENING = rf"""(?:[“„«]|(?:(?<![^\s(\[{{])|(?<=\s-)|(?<=^-))[{_QUOTES}])"""
_PHRASE = rf"{_OPENING}[^{_QUOTES}]*[{_QUOTES}]"
_TOKEN = re.compile(
    rf"""
    (?P<minus>(?<!\S)-(?=[^\W\d_]|{_PHRASE}))?
    (?:(?P<phrase>{_PHRASE})[^\w\s]*(?!\S) | (?P<phrase_within>{_PHRASE}) | (?P<word>\S+?)(?=\s|$|{_PHRASE}))
    """,
    re.VERBOSE,
)
_THEN = re.compile(r"(?<!\S)>>(?!\S)")
SPACE_FORGIVEN = r"[ \t]?"  # between two letters of a phrase
_SAME_WINDOW = "="  # in the column `texts`: the window shows the texts of the one before


class Alternative(NamedTuple):
    """One of the things that a query asks for.

    Attributes:
        text (`str`): its words and phrases in order, without operators and quotes: what is embedded and scored.
        phrases (`tuple[str, ...]`): phrases that a moment must show, as they were typed.
    """

    text: str
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """What a query asks for, see [`parse_query`].

    Attributes:
        text (`str`): all its words and phrases in order, without operators, quotes and what it excludes.
        alternatives (`tuple[Alternative, ...]`): at least one; a moment that answers any of them answers the query.
        excluded (`tuple[str, ...]`): words and phrases that no moment may show, as they were typed.
        then (`tuple[Query, ...]`): what must follow it in time, in order; all else is of the first part alone.
    """

    text: str
    alternatives: tuple[Alternative, ...]
    excluded: tuple[str, ...] = ()
    then: "tuple[Query, ...]" = ()

    @property
    def parts(self) -> "tuple[Query, ...]":
        """What to find one after the other, each a query by itself; of most queries only one."""
        return replace(self, then=()), *self.then

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases of all alternatives, each once."""
        return tuple(dict.fromkeys(phrase for alternative in self.alternatives for phrase in alternative.phrases))

    @property
    def is_plain(self) -> bool:
        """Whether it is one text that requires and excludes nothing."""
        return len(self.alternatives) == 1 and not self.phrases and not self.excluded and not self.then

    def to_dict(self) -> dict[str, Any]:
        """How the query was understood, as plain JSON types: `text` (one for each alternative), `phrases`, `excluded`,
        and, of a query in several parts, `then`: the same of those that follow."""
        understood = {
            "text": [alternative.text for alternative in self.alternatives],
            "phrases": list(self.phrases),
            "excluded": list(self.excluded),
        }
        return {**understood, "then": [part.to_dict() for part in self.then]} if self.then else understood


class _Token(NamedTuple):
    kind: str  # "word", "phrase" or "excluded"
    text: str


def as_phrase(text: str) -> str:
    """A text in quotes, as a query asks for it; quotes inside of it, of any kind, become spaces."""
    return f'"{re.sub(f"[{_QUOTES}]", " ", text)}"'


def cut_query(text: str) -> str:
    """The first 1000 characters of a query; a warning tells of more."""
    if len(text) > MAX_QUERY_LENGTH:
        warnings.warn(
            f"Only the first {MAX_QUERY_LENGTH:,} of {len(text):,} characters of a query are searched for.",
            stacklevel=2,
        )
    return text[:MAX_QUERY_LENGTH]


def parse_query(text: str, syntax: QuerySyntax = "plain") -> Query:
    """Reads a query.

    Args:
        text (`str`): what was typed; only the first 1000 characters count.
        syntax (`str`, defaults to `"plain"`): `"plain"` takes the text as it is; `"query"` reads quotes, exclusions,
            `OR` and `>>`, see the table at the top of this module.

    Raises:
        ValueError: an unknown syntax; a text with lone surrogates; a query, or a part of one, of which nothing is left
            to look for; or more than 8 alternatives.
    """
    if syntax not in get_args(QuerySyntax):
        raise ValueError(f"syntax must be one of {', '.join(map(repr, get_args(QuerySyntax)))}, got {syntax!r}.")
    text = cut_query(text)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # what Python makes of bytes of a command line that are not UTF-8
        raise ValueError(
            f"The query {text!r} is not all UTF-8: set the terminal to UTF-8, or give queries in a file (--queries)."
        ) from error
    if syntax == "plain":
        return Query(text, (Alternative(text),))
    typed = _split_in_order(text)
    if len(typed) > 1 and not all(map(str.strip, typed)):
        raise ValueError(
            f"The query {text!r} has a '>>' with nothing on one side: say what comes first and what then, as in "
            "'entry >> exit'."
        )
    parts = [_read_part(part) for part in typed]
    count = sum(math.prod(map(len, choices)) for choices, _ in parts)
    if count > MAX_ALTERNATIVES:
        raise ValueError(
            f"The query {text!r} asks for {count} alternatives, at most {MAX_ALTERNATIVES} are possible: "
            f"use fewer {'parts or ' if len(parts) > 1 else ''}OR, or search one after the other."
        )
    first, *then = (_query(choices, excluded) for choices, excluded in parts)
    return replace(first, then=tuple(then))


def phrase_pattern(phrase: str) -> str:
    """A regular expression that finds a phrase in folded texts, for Python's `re` as for Rust's `regex` (SQL).

    It searches in the texts of a window, joined by tabs, and in the column `texts`, where a line is a window. What it
    finds is its group 1.

    Args:
        phrase (`str`): has a letter or digit.
    """
    letters = _letters(phrase)
    before, after = (_edge(letter, "\\n") for letter in (letters[0], letters[-1]))
    return f"{before and f'(?:^|{before})'}({SPACE_FORGIVEN.join(letters)}){after and f'(?:{after}|$)'}"


def allowed_windows(query: Query, windows: Sequence[Sequence[str]]) -> np.ndarray:
    """Which windows may answer which alternative of a query: they show all its phrases, and nothing excluded.

    Args:
        query ([`Query`])
        windows (`Sequence[Sequence[str]]`): for each window its folded texts, in order.

    Returns:
        `np.ndarray` of shape `(num_alternatives, num_windows)`, bool.
    """
    allowed = np.ones((len(query.alternatives), len(windows)), bool)
    if not query.phrases and not query.excluded:
        return allowed
    joined = ["\t".join(texts) for texts in windows]
    for phrase in query.excluded:
        allowed &= ~_shown(phrase, joined)
    for row, alternative in zip(allowed, query.alternatives, strict=True):
        for phrase in alternative.phrases:
            row &= _shown(phrase, joined)
    return allowed


def sql_filter_for(query: Query) -> str | None:
    """An SQL condition on the column `texts` that rows must pass for one of their windows to be allowed.

    It is necessary, not sufficient: which windows are allowed, [`allowed_windows`] says. `None` if every row may.
    """
    conditions = []
    required = [_filterable(alternative.phrases) for alternative in query.alternatives]
    if all(required):
        either = [" AND ".join(_sql_match(phrase_pattern(phrase)) for phrase in phrases) for phrases in required]
        conditions.append(" OR ".join(f"({both})" for both in dict.fromkeys(either)))
    excluded = _filterable(query.excluded)
    if excluded:
        conditions.append(f"NOT {_sql_match(_in_every_window(excluded))}")
    return " AND ".join(f"({condition})" for condition in conditions) or None


def _split_in_order(text: str) -> list[str]:
    """A query cut at every `>>` that stands by itself, outside of quotes."""
    parts, start = [], 0
    for match in _TOKEN.finditer(text):
        if arrow := _THEN.match(text, match.start()):
            parts.append(text[start : arrow.start()])
            start = arrow.end()
    return [*parts, text[start:]]


def _read_part(text: str) -> tuple[list[list[_Token]], tuple[str, ...]]:
    """What a query without `>>` looks for, see [`_choices`], and what it excludes."""
    tokens = list(_tokens(text))
    choices = _choices(tokens)
    excluded = tuple(dict.fromkeys(token.text for token in tokens if token.kind == "excluded"))
    if not choices and excluded:
        raise ValueError(
            f"The query {text!r} only says what to leave out: name also what to look for, as in 'street -night'."
        )
    if not choices:
        raise ValueError(f"The query {text!r} is empty: say what to look for.")
    return choices, excluded


def _query(choices: list[list[_Token]], excluded: tuple[str, ...]) -> Query:
    alternatives = dict.fromkeys(_alternative(choice) for choice in product(*choices))
    everything = _alternative([token for choice in choices for token in choice])
    return Query(everything.text, tuple(alternatives), excluded)


def _tokens(text: str) -> Iterable[_Token]:
    """What a query is made of, without phrases and exclusions in which there is nothing to compare."""
    for match in _TOKEN.finditer(text):
        phrase = match["phrase"] or match["phrase_within"]
        shown = " ".join((phrase or match["word"]).strip(_QUOTES if phrase else None).split())
        if match["minus"]:
            if fold(shown):
                yield _Token("excluded", shown if phrase else shown.rstrip(".,;:!?)]}"))
        elif shown:
            yield _Token("phrase" if phrase and fold(shown) else "word", shown)


def _choices(tokens: list[_Token]) -> list[list[_Token]]:
    """What to look for in order: for each position what may stand there, more than one where there is an `OR`."""
    words = "".join(token.text for token in tokens if token.kind == "word" and token.text != "OR")
    all_capitals = any(map(str.isupper, words)) and not any(map(str.islower, words))

    def is_operator(position: int) -> bool:
        if tokens[position] != ("word", "OR") or not 0 < position < len(tokens) - 1:
            return False
        sides = tokens[position - 1], tokens[position + 1]
        if any(side.kind == "excluded" or side == ("word", "OR") for side in sides):
            return False
        return not all_capitals or any(side.kind == "phrase" for side in sides)

    choices: list[list[_Token]] = []
    for position, token in enumerate(tokens):
        if token.kind == "excluded" or is_operator(position):
            continue
        if position and is_operator(position - 1):
            choices[-1].append(token)
        else:
            choices.append([token])
    return choices


def _alternative(tokens: Sequence[_Token]) -> Alternative:
    phrases = dict.fromkeys(token.text for token in tokens if token.kind == "phrase")
    return Alternative(" ".join(token.text for token in tokens), tuple(phrases))


def _shown(phrase: str, joined: Sequence[str]) -> np.ndarray:
    """Which windows show a phrase, `(num_windows,)` bool."""
    search = re.compile(phrase_pattern(phrase)).search
    return np.fromiter((search(texts) is not None for texts in joined), bool, len(joined))


def _filterable(phrases: Sequence[str]) -> list[str]:
    return [phrase for phrase in phrases if len(phrase) <= MAX_FILTERED_LETTERS][:MAX_FILTERED_PHRASES]


def _letters(phrase: str) -> list[str]:
    letters = list(fold(phrase).replace(" ", ""))
    if not letters:
        raise ValueError(f"A phrase needs a letter or digit, got {phrase!r}.")
    return list(map(re.escape, letters))


def _edge(letter: str, line_break: str = "") -> str:
    """What stands beside the first or last letter of a phrase, unless a text begins or ends; `""` for anything."""
    return "" if re.match(f"[{UNSPACED_LETTERS}]", letter) else rf"[ \t{line_break}{UNSPACED_LETTERS}]"


def _in_every_window(phrases: Iterable[str]) -> str:
    """A regular expression for the column `texts` of which each window shows one of these phrases."""
    lines = [_SAME_WINDOW]
    for phrase in phrases:
        letters = _letters(phrase)
        before, after = _edge(letters[0]), _edge(letters[-1])
        before = rf"(?:[^\n]*{before})?" if before else r"[^\n]*"
        after = rf"(?:{after}[^\n]*)?" if after else r"[^\n]*"
        lines.append(before + SPACE_FORGIVEN.join(letters) + after)
    window = f"(?:{'|'.join(lines)})"
    return rf"^{window}(?:\n{window})*$"


def _sql_match(pattern: str) -> str:
    quoted = pattern.replace("'", "''")
    return f"regexp_like(texts, '{quoted}')"
