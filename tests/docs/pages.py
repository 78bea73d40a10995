"""The pages for users, cut into what can be run: fenced blocks, commands, statements with what they print."""

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
CARD = ROOT / "tcd_hf" / "checkpoints" / "tcd-mini" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), CARD]
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
