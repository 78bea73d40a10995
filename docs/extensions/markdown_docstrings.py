"""Turns the docstrings of this package, which are written as those of transformers, into reStructuredText for Sphinx.

They are Markdown with sections: ``Args:``, ``Attributes:``, ``Returns:``, ``Yields:``, ``Raises:`` and ``Example:``. A
name in brackets, [`TCDModel`] or [`~VideoIndex.search`], is a link to what the page documents.
"""

import re
from textwrap import dedent, indent

ENTRIES = {"Args": "Parameters", "Attributes": "Attributes", "Raises": "Raises"}
TEXTS = {"Returns": "Returns", "Yields": "Yields"}
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Examples?):\s*(.*)")
INLINE = re.compile(
    r"\[`(?P<link>~?[\w.]+)`\](?!\()"
    r"|\[(?P<text>[^\]`]+)\]\((?P<url>[^)\s]+)\)"
    r"|(?P<fence>`+)(?P<code>.+?)(?P=fence)(?!`)"
    r"|(?P<underscore>(?<=\w)_(?!\w))",
    re.DOTALL,
)


def setup(app):
    """Registers the conversion with Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}


def _process(app, what, name, obj, options, lines):
    lines[:] = to_rest("\n".join(lines)).split("\n")


def to_rest(docstring: str) -> str:
    """A whole docstring, dedented, as reStructuredText."""
    output, lines = [], docstring.strip("\n").split("\n")
    while lines:
        line = lines.pop(0)
        section = SECTION.fullmatch(line)
        if section:
            name, rest = section.groups()
            body = _take_indented(lines)
            output.append(_section(name, "\n".join([rest, body]) if rest else body))
        else:
            plain = [line]
            while lines and not SECTION.fullmatch(lines[0]):
                plain.append(lines.pop(0))
            output.append(_blocks("\n".join(plain)))
    return "\n\n".join(output) + "\n"


def _take_indented(lines: list[str]) -> str:
    taken = []
    while lines and (not lines[0].strip() or lines[0].startswith(" ")):
        taken.append(lines.pop(0))
    if not "".join(taken).strip():  # an example whose code begins at the margin
        while lines and not SECTION.fullmatch(lines[0]):
            taken.append(lines.pop(0))
    return dedent("\n".join(taken)).strip("\n")


def _section(name: str, body: str) -> str:
    if name in ENTRIES:
        entries = "\n".join(_entry(entry) for entry in _split_entries(body))
        return f":{ENTRIES[name]}:\n{indent(entries, '    ')}"
    if name in TEXTS:
        return f":{TEXTS[name]}:\n{indent(_blocks(body), '    ')}"
    return f".. rubric:: Example\n\n{_blocks(body)}"


def _split_entries(body: str) -> list[str]:
    """Entries begin at the margin; one whose names and type take two lines goes on there."""
    entries: list[str] = []
    for line in body.split("\n"):
        if entries and (not line.strip() or line.startswith(" ") or _split_head(entries[-1])[1] is None):
            entries[-1] += "\n" + line
        else:
            entries.append(line)
    return entries


def _entry(entry: str) -> str:
    """``name (`type`, *optional*): text`` as a definition."""
    head, text = _split_head(entry)
    match = re.fullmatch(r"([^(]+?)(?:\s+\((.*)\))?", head, re.DOTALL)
    names, kind = match.groups() if match else (head, None)
    names = " ".join(names.split())
    linked = re.sub(r"(\**)([\w.]+)", lambda name: "**" + name[1].replace("*", "\\*") + name[2] + "**", names)
    if "`" in names:
        linked = _inline(names)
    kind = f" ({_inline(' '.join(kind.split()))})" if kind else ""
    return f"{linked}{kind}\n{indent(_blocks(text or '') or '..', '    ')}\n"


def _split_head(entry: str) -> tuple[str, str | None]:
    """Names with their type, and the text after the first colon outside code and brackets; `None` without a colon."""
    depth, code = 0, False
    for place, character in enumerate(entry):
        if character == "`":
            code = not code
        elif not code:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if character == ":" and depth == 0 and entry[place + 1 : place + 2] in ("", " ", "\n"):
                first, _, rest = entry[place + 1 :].partition("\n")
                return entry[:place], f"{first.strip()}\n{dedent(rest)}".strip("\n")
    return entry, None


def _blocks(text: str) -> str:
    """Markdown paragraphs, lists and fenced code."""
    output: list[str] = []
    for part in re.split(r"^( *```\w*\n.*?\n *```)$", text, flags=re.DOTALL | re.MULTILINE):
        if part.lstrip().startswith("```"):
            language, _, code = dedent(part).partition("\n")
            code = code.rsplit("\n", 1)[0]
            language = "pycon" if ">>>" in code else language.strip("` ")
            margin = part[: len(part) - len(part.lstrip(" "))]
            output.append(indent(f".. code-block:: {language}\n\n{indent(code, '    ')}", margin))
        elif part.strip():
            output.append(_lists(_tables(_inline(part))).strip("\n"))
    return "\n\n".join(output)


def _tables(text: str) -> str:
    """Tables, as list tables."""

    def convert(match: re.Match) -> str:
        head, _, *rows = [line.strip().strip("|").split("|") for line in match[0].strip().split("\n")]
        lines = [".. list-table::", "    :header-rows: 1", ""]
        for cells in [head, *rows]:
            lines += [f"    {'  ' if column else '* '}- {cell.strip()}" for column, cell in enumerate(cells)]
        return "\n".join(lines) + "\n"

    return re.sub(r"(?m)(?:^\|.*\|$\n?){3,}", convert, text)


def _lists(text: str) -> str:
    """A blank line before a list, which Markdown does not ask for."""
    return re.sub(r"(?m)^(?!\s*(?:-|\d+\.) )(\S.*)\n(?=(?:-|\d+\.) )", r"\1\n\n", text)


def _inline(text: str) -> str:
    def convert(match: re.Match) -> str:
        if match["link"]:
            tilde, name = ("~", match["link"][1:]) if match["link"].startswith("~") else ("", match["link"])
            output = f":py:obj:`{tilde}.{name}`"
        elif match["url"]:
            output = f"`{match['text']} <{match['url']}>`__"
        elif match["code"]:
            output = f"``{match['code']}``"
        else:
            return "\\" + match[0]
        after = text[match.end() : match.end() + 1]
        return output + ("\\ " if after.isalnum() else "")

    return INLINE.sub(convert, text)
