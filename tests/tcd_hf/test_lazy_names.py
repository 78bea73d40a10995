"""Names that are imported when first used are there for type checkers, too."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

PACKAGES = (
    "tcd_hf",
    "tcd_hf.evaluation",
    "tcd_hf.modeling",
    "tcd_hf.processing",
    "tcd_hf.training",
    "tcd_hf.visualization",
)


def source_of(package: str) -> ast.Module:
    return ast.parse(Path(importlib.util.find_spec(package).origin).read_text(encoding="utf-8"))


def lazy_names(module: ast.Module) -> dict[str, set[str]]:
    """What `lazy_loader.attach` is given, by submodule."""
    (names,) = (node.value for node in ast.walk(module) if isinstance(node, ast.keyword) and node.arg == "submod_attrs")
    return {submodule: set(attributes) for submodule, attributes in ast.literal_eval(names).items()}


def typed_names(module: ast.Module) -> dict[str, set[str]]:
    """What the block for type checkers imports, likewise; an alias says that a name is public."""
    (block,) = (node for node in module.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    names: dict[str, set[str]] = {}
    for imported in block.body:
        assert imported.level == 1 and all(name.asname == name.name for name in imported.names)
        names.setdefault(imported.module, set()).update(name.name for name in imported.names)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_what_is_imported_when_first_used(package):
    module = source_of(package)
    assert typed_names(module) == lazy_names(module)
    for name in set().union(*lazy_names(module).values()):
        assert hasattr(importlib.import_module(package), name)
