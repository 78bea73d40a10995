"""The pages for users, cut into what can be run: fenced blocks, commands, statements with what they print."""

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
CARD = ROOT / "tcd_hf" / "checkpoints" / "tcd-mini" / "README.md"
README = ROOT / "README.md"
PAGES = [README, *(path for folder in ("docs", "docs/api") for path in sorted((ROOT / folder).glob("*.md"))), CARD]
LANGUAGES = {"python", "bash", "text", "bibtex"}  # a page says for every block what it is


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language (`str`): as the fence tells.
        text (`str`): what stands in it.
        line (`int`): of its first line of text in the page, from 1.
        shows (`Block`, *optional*): the block of output that follows at once, for code.
    """

    language: str
    text: str
    line: int
    shows: "Block | None" = None


@dataclass(frozen=True)
class Command:
    """A command of a shell block: its words, and the environment variables set before them."""

    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return shlex.join(self.words)


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page but directives of Sphinx, `{name}`."""
    tokens = [token for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")) if token.level == 0]
    blocks: list[Block] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "fence" and not token.info.startswith("{"):
            shows = None
            if token.info != "text" and following and following.type == "fence" and following.info == "text":
                shows = Block("text", following.content, following.map[0] + 2)
            blocks.append(Block(token.info.strip(), token.content, token.map[0] + 2, shows))
    return blocks


def split_commands(text: str) -> list[Command]:
    """The commands of a shell block: lines, joined where they end in a backslash, and cut at `&&`."""
    commands = []
    for line in re.sub(r"\\\n\s*", "", text).split("\n"):
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
                continue
            first = next((i for i, each in enumerate(words) if not re.match(r"[A-Z_]+=", each)), 0)
            if words:
                variables = tuple(tuple(each.split("=", 1)) for each in words[:first])
                commands.append(Command(tuple(words[first:]), variables))
            words = []
    return commands


def commands_in_text(page: Path) -> list[Command]:
    """The commands of `scripts` in the text of a page, and those of a table whose head says how they begin."""
    beginning, spans, found = "", [], []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type == "inline":
            spans = [child.content for child in token.children if child.type == "code_inline"]
            if spans and re.fullmatch(r"python -m scripts\.(\w+\.)*", spans[-1]):  # of the head of a table
                beginning = spans.pop()
            found += [span for span in spans if span.startswith("python -m scripts.")]
        elif token.type == "tr_close" and beginning and spans:
            found.append(f"{beginning}{spans[-1]}")
        elif token.type == "table_close":
            beginning = ""
    return [command for each in found for command in split_commands(each)]


def split_statements(block: Block) -> list[tuple[ast.Module, list[str], int]]:
    """Statements of a Python block, each with the comment lines right below it and the page's line of the first."""
    lines = block.text.split("\n")
    found = []
    for node in ast.parse(block.text).body:
        end = node.end_lineno
        comments = []
        for line in lines[end:]:
            if not line.startswith("# "):
                break
            comments.append(line)
        ast.increment_lineno(node, block.line - 1)
        found.append((ast.Module([node], []), comments, block.line + end))
    return found
