"""Names of files and texts of videos are whatever somebody made them: what of them is shown as it is, and what spelt
out."""

import re

__all__ = ["UNPRINTABLE", "one_line", "printable"]

UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, of which a terminal takes some for orders, marks that turn the direction of what follows, and
what stands for bytes of a name that is not UTF-8. Tabs and line ends are none of them."""


def printable(text: str) -> str:
    """A text in which control characters and marks of direction are spelt out, as `\\x1b` or `\\u202e`."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(name: object) -> str:
    """A name, or a text of one line, with all that would break the line spelt out."""
    return printable(str(name)).replace("\n", "\\n").replace("\t", "\\t")
