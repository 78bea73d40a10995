"""What the package says of itself is true of an installation, which has no checkout beside it."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tcd_hf.training.recipe import list_recipes
from tests.wheels import build_wheel

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("tcd_hf", "modeling", "processing") for path in (ROOT / folder).rglob("*.py"))
OF_A_CHECKOUT = re.compile(r"\b(scripts|configs|docs|tests)[/.]\w[\w/.-]*")


def strings(source: str) -> list[str]:
    """All texts of a module, put together where they are formatted: messages, help, docstrings."""
    return [
        "".join(part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Constant, ast.JoinedStr))
    ]


def test_nothing_that_is_said_names_a_file_that_is_not_installed():
    assert len(SOURCES) > 100
    named = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in SOURCES
        for text in strings(path.read_text(encoding="utf-8"))
        for found in OF_A_CHECKOUT.finditer(text)
    ]
    assert not named
    assert OF_A_CHECKOUT.search("".join(strings('f"{x} is lost: run scripts/prepare.py."')))


@pytest.mark.slow
def test_the_wheel_holds_what_the_verbs_need(tmp_path):
    names = set(zipfile.ZipFile(build_wheel(tmp_path)).namelist())
    sources = {str(path.relative_to(ROOT)) for path in SOURCES}
    assert {name if name.startswith("tcd_hf/") else f"tcd_hf/{name}" for name in sources} <= names
    assert {f"tcd_hf/training/recipes/{name}.yaml" for name in list_recipes()} <= names
    assert not [name for name in names if name.startswith(("scripts/", "tests/", "modeling/"))]


DOORS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.name != "__init__.py")


def test_scripts_are_four_doors_and_packages():
    assert [path.name for path in DOORS] == ["evaluate.py", "prepare.py", "push_to_hub.py", "train.py"]
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 10 for path in DOORS)
    for path in SOURCES:
        imports = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
        ]
        assert not [node for node in imports if (node.module or "").split(".")[0] == "scripts"], path


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.name)
def test_doors_open(door, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    command = [sys.executable, str(door), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "--model" in done.stdout or "--repo-id" in done.stdout


def test_docstrings_say_what_a_thing_is_or_does_before_anything_else():
    hanging = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and (ast.get_docstring(node) or "").startswith(("Args:", "Raises:", "Returns:", "Of "))
    ]
    assert not hanging
