"""The harness itself: what it takes for a block, a command, and equal output."""

import re
import runpy

import pytest

from tests.docs import commands
from tests.docs.commands import parse_command, why_not_run
from tests.docs.output import find_difference, refresh, same_line
from tests.docs.pages import (
    PAGES,
    README,
    ROOT,
    Block,
    Command,
    commands_in_text,
    read_blocks,
    split_commands,
    split_statements,
)


def test_blocks_know_their_line_and_what_they_print(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```python\nprint(1)\n```\n```text\n1\n```\n\n"
        "```{toctree}\na\n```\n```bash\nx\n```\n\nB\n\n```text\n2\n```\n"
    )
    blocks = read_blocks(page)
    assert [(block.language, block.text, block.line) for block in blocks] == [
        ("python", "print(1)\n", 4),
        ("text", "1\n", 7),
        ("bash", "x\n", 14),
        ("text", "2\n", 20),
    ]
    assert [block.shows for block in blocks] == [blocks[1], None, None, None]


def test_readme_is_short():
    text = README.read_text(encoding="utf-8")
    lines = text.split("\n")
    assert len(lines) <= 200 and len(text.encode()) <= 15_000
    assert not [line for line in lines if len(line) > 120]


def test_readme_links_nothing_that_a_page_of_the_package_lacks(monkeypatch):
    """There are no other files there: pages are named, pictures are left out."""
    text = README.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert pictures and all((ROOT / path).stat().st_size < 300_000 for path in pictures)
    given = {}
    monkeypatch.setattr("setuptools.setup", lambda **options: given.update(options))
    runpy.run_path(str(ROOT / "setup.py"))
    described = given["long_description"]
    assert described.count("\n## ") == text.count("\n## ")
    assert not re.search(r"\]\((?!https://)|<img", described)
    named = re.findall(r"`(docs/[\w/.]+)`", described)
    assert named and all((ROOT / path).is_file() for path in named)


def test_commands_in_text_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\nAs `python -m scripts.a\n--b` tells, and `x` not.\n\n"
        "| `a` | `python -m scripts.benchmarks.` |\n|---|---|\n| `b` | `c --d` |\n\n`python -m scripts.e`\n"
    )
    lines = [str(command) for command in commands_in_text(page)]
    assert lines == ["python -m scripts.a --b", "python -m scripts.benchmarks.c --d", "python -m scripts.e"]
    assert len(commands_in_text(README)) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_text_parse(page):
    for command in commands_in_text(page):
        parse_command(command)


def test_commands():
    text = "A=1 B='x y' run --it 'a b'  # why\n\nfirst \\\n    --second && third\n# a comment\n"
    assert split_commands(text) == [
        Command(("run", "--it", "a b"), (("A", "1"), ("B", "x y"))),
        Command(("first", "--second")),
        Command(("third",)),
    ]


def test_statements_know_the_comments_below_them():
    block = Block("python", "a = 1\n# why\nfor x in (1, 2):\n    print(x)\n# 1\n# 2\n\n# next\nb = 2\n", 10)
    assert [(comments, line) for _, comments, line in split_statements(block)] == [
        (["# why"], 11),
        (["# 1", "# 2"], 14),
        ([], 19),
    ]


def test_output_is_equal_up_to_rounding_spaces_and_rules():
    printed = ["  1 a.mp4   0.359 -0.011 ", "─────", "", "2 b.mp4 0.1"]
    assert same_line("1 a.mp4 0.36 0.001", printed[0])
    assert not same_line("1 a.mp4 0.36 0.02", printed[0])
    assert not same_line("2 a.mp4 0.359 -0.011", printed[0])
    assert find_difference(["1 a.mp4 0.359 -0.011", "2 b.mp4 0.1"], printed) is None
    assert find_difference(["2 b.mp4 0.1", "...", "1 a.mp4 0.359 -0.011"], printed)
    assert find_difference(["0"], printed)
    lines = ["top", "middle", "bottom"]
    assert find_difference(["top", "...", "bottom"], lines) is None
    assert find_difference(["top", "bottom"], lines)


def test_refresh_changes_only_what_is_not_printed():
    shown = ["1 a.mp4 0.359", "...", "price 2.40 now"]
    assert refresh(shown, ["1 a.mp4 0.360", "price 3.40 now ", "else"]) == ["1 a.mp4 0.359", "...", "price 3.40 now"]


@pytest.mark.parametrize(
    "line",
    [
        "tcd-hf search x --index i --no-such-option",
        "tcd-hf find x",
        "tcd-hf index v --index i --workers -1",
        "tcd-hf evaluate --data d --out o.json --no-such-option",
        "tcd-hf evaluate --data d --out o.json --mode none",
        "python scripts/benchmarks/scoring.py",  # by its name, or it does not find the others
        "python -m scripts.benchmarks.scoring --no-such-option",
        "python -m scripts.no_such_package.scoring",
        "python -m scripts.benchmarks.no_such_benchmark",
        "accelerate launch -m tcd_hf.training --model m --data d --output o --no_such_field 1",
        "accelerate launch scripts/train.py --model m --data d --output o",  # nothing that is not installed
        "accelerate launch --no_such_option -m tcd_hf.training --model m --data d --output o",
        "pip install 'tcd-hf[no-such-extra]'",
        "pip install other-package",
        "npm pack other-package",
        "curl x",
    ],
)
def test_commands_that_cannot_be_are_refused(line):
    (command,) = split_commands(line)
    with pytest.raises((AssertionError, SystemExit)):
        parse_command(command)


def commands_of_all_pages() -> list[Command]:
    blocks = [block for page in PAGES for block in read_blocks(page) if block.language == "bash"]
    return [command for block in blocks for command in split_commands(block.text)]


def test_what_is_not_run_has_a_reason():
    assert why_not_run(Command(("tcd-hf", "prepare", "--videofolder", "mine"))) is None
    assert "publishes" in why_not_run(Command(("tcd-hf", "push", "a", "--repo-id", "a/b")))
    assert why_not_run(Command(("tcd-hf", "push", "a", "--dry-run", "b"))) is None
    assert all(commands.NOT_RUN.values())
    lines = [" ".join(command.words) for command in commands_of_all_pages()]
    unused = [pattern for pattern in commands.NOT_RUN if not any(re.match(pattern, line) for line in lines)]
    assert not unused
