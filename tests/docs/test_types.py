"""What pages show passes a type checker, against the package as it is installed; and so does the package itself.

The checker is basedpyright, by the settings of pyproject.toml. From a source checkout it cannot find `tcd_hf.modeling`
and `tcd_hf.processing`, which lie elsewhere there; so a wheel is built, and unpacked where the checker looks.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.docs.pages import PAGES, ROOT, read_blocks
from tests.wheels import build_wheel

WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in read_blocks(page))]
# What a checker that sees the package has something to say of, by the line that it says it of.
PROBE = """\
from tcd_hf import TCDModel, VideoIndex, load_mini

reveal_type(VideoIndex)
VideoIndex.create("my.index", *load_mini(), exist_okk=True)
for hit in VideoIndex.open("my.index").search("a car"):
    hit.scor
for hits in VideoIndex.open("my.index").search(["a car"]):
    reveal_type(hits[0])
reveal_type(TCDModel.from_backbone("openai/clip-vit-base-patch32").to("cpu"))
reveal_type(TCDModel.from_pretrained("my-tcd"))
reveal_type(TCDModel.from_pretrained("my-tcd", output_loading_info=True)[1])
model, processor = load_mini()
model.score(model.get_text_features(**processor(text="a car")).pooler_output, [])
load_mini(max_lenght=9)
VideoIndex.open("my.index").search("a car", mode="fast")
"""
SEEN = {
    3: 'Type of "VideoIndex" is "type[VideoIndex]"',
    4: 'No parameter named "exist_okk"',
    6: 'Cannot access attribute "scor" for class "Hit"',
    8: 'Type of "hits[0]" is "Hit"',
    9: 'to("cpu")" is "TCDModel"',
    10: 'Type of "TCDModel.from_pretrained("my-tcd")" is "TCDModel"',
    11: 'output_loading_info=True)[1]" is "dict[str, Any]"',
    14: 'No parameter named "max_lenght"',
    15: 'cannot be assigned to parameter "mode" of type "SearchMode"',
    13: 'cannot be assigned to parameter "video_features" of type "TCDVideoFeatures"',
}
# Whose types are missing where they are not installed; mteb needs Python 3.11.
NEEDED = ("doctr", "font_lato", "gradio", "matplotlib", "mteb", "prometheus_client", "ray", "sentence_transformers")
NEEDED += ("watchfiles",)


def write_module(page: Path, folder: Path) -> Path:
    """The Python blocks of a page as one module, each line where it stands in the page."""
    lines = [""] * page.read_text(encoding="utf-8").count("\n")
    for block in read_blocks(page):
        if block.language == "python":
            text = block.text.rstrip("\n").split("\n")
            lines[block.line - 1 : block.line - 1 + len(text)] = text
    path = folder / f"{page.stem}.py"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What the checker says, one line each: `of_package`, and `of_pages` and `of_probe` by file or line."""
    checker = shutil.which("basedpyright", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    if checker is None:
        pytest.skip("needs basedpyright, of the extra tcd-hf[test]")
    for module in NEEDED:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the package uses types of {module}, which is not installed")
    folder = tmp_path_factory.mktemp("types")
    with zipfile.ZipFile(build_wheel(folder / "wheel")) as wheel:
        wheel.extractall(folder / "site")
    (folder / "pages").mkdir()
    modules = {write_module(page, folder / "pages"): page.name for page in WITH_PYTHON}
    (folder / "probe.py").write_text(PROBE)
    settings = {
        "extends": str(ROOT / "pyproject.toml"),
        "include": ["site/tcd_hf", "pages", "probe.py"],
        "extraPaths": ["site"],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [checker, "--project", folder, "--pythonpath", sys.executable, "--outputjson"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout, run.stderr
    result = SimpleNamespace(of_package=[], of_pages={page.name: [] for page in WITH_PYTHON}, of_probe={}, report="")
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] > 100, report
    for found in report["generalDiagnostics"]:
        path, line = Path(found["file"]), found["range"]["start"]["line"] + 1
        message = f"{line}: {found['message']} ({found.get('rule', found['severity'])})"
        if path.name == "probe.py":
            result.of_probe[line] = found["message"]
        elif path in modules:
            result.of_pages[modules[path]].append(message)
        else:
            result.of_package.append(f"{path.relative_to(folder / 'site')}:{message}")
    return result


@pytest.mark.slow
class TestTypes:
    def test_the_checker_sees_the_package(self, checked):
        assert checked.of_probe.keys() == SEEN.keys()
        for line, message in SEEN.items():
            assert message in checked.of_probe[line]

    @pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
    def test_pages(self, checked, page):
        assert not checked.of_pages[page.name], "\n".join(checked.of_pages[page.name])

    def test_package(self, checked):
        assert not checked.of_package, "\n".join(checked.of_package)


def test_pages_and_package_are_checked_without_exceptions():
    sources = [*(ROOT / "tcd_hf").rglob("*.py"), *(ROOT / "modeling").glob("*.py"), *(ROOT / "processing").glob("*.py")]
    assert len(sources) > 100
    for path in [*sources, *PAGES]:
        text = path.read_text(encoding="utf-8")
        assert "# type: ignore" not in text and "# pyright:" not in text, f"{path} asks a type checker to look away."


def test_lines_of_a_page_keep_their_place(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# A\n\n```python\nprint(1)\n\nprint(2)\n```\n\nB\n\n```bash\nx\n```\n```python\nprint(3)\n```\n")
    (tmp_path / "modules").mkdir()
    lines = write_module(page, tmp_path / "modules").read_text().split("\n")
    assert [line for line in lines if "print" in line] == ["print(1)", "print(2)", "print(3)"]
    assert [lines.index(f"print({n})") + 1 for n in (1, 2, 3)] == [4, 6, 15]
