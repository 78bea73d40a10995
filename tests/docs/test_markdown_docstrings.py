import importlib.util

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def to_rest():
    path = ROOT / "docs" / "extensions" / "markdown_docstrings.py"
    spec = importlib.util.spec_from_file_location("markdown_docstrings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.to_rest


@pytest.mark.parametrize(
    ("markdown", "rest"),
    [
        ("A [`TCDModel`] or [`~VideoIndex.open`].", "A :py:obj:`.TCDModel` or :py:obj:`~.VideoIndex.open`."),
        ("Takes `None` and `x: y`s.", "Takes ``None`` and ``x: y``\\ s."),
        ("See [the page](https://example.org/a_b).", "See `the page <https://example.org/a_b>`__."),
        ("*optional* and **bold**", "*optional* and **bold**"),
        ("names_ of `names_`", "names\\_ of ``names_``"),
        ("Leaves\n- one\n- two", "Leaves\n\n- one\n- two"),
    ],
)
def test_inline(to_rest, markdown, rest):
    assert to_rest(markdown).strip() == rest


def test_sections(to_rest):
    docstring = """Adds.

Args:
    index ([`VideoIndex`]): to be added to, in (0, 1].
    first, second (`float`, *optional*, default to 0.5
    and 0.0):
        Weights.
    **options: others

Returns:
    `int`: how many.

Raises:
    ValueError, OSError: see [`load`].
"""
    expected = """Adds.

:Parameters:
    **index** (:py:obj:`.VideoIndex`)
        to be added to, in (0, 1].

    **first**, **second** (``float``, *optional*, default to 0.5 and 0.0)
        Weights.

    **\\*\\*options**
        others

:Returns:
    ``int``: how many.

:Raises:
    **ValueError**, **OSError**
        see :py:obj:`.load`.
"""
    lines = [line.rstrip() for line in to_rest(docstring).split("\n")]
    assert [line for line in lines if line] == [line for line in expected.split("\n") if line]


def test_code_and_tables(to_rest):
    docstring = "Example:\n\n```python\n>>> a = [`x`]\n```\n\n| name | splits |\n| --- | --- |\n| `a` | b |\n"
    rest = to_rest(docstring)
    assert ".. rubric:: Example\n\n.. code-block:: pycon\n\n    >>> a = [`x`]" in rest
    assert "    * - name\n      - splits\n    * - ``a``\n      - b" in rest
