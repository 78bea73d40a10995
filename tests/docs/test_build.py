"""The documentation builds without a warning, links what it names, and loads nothing from elsewhere."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tests.docs.pages import PAGES, ROOT

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


class Page(HTMLParser):
    """What a page loads, the links in it, and its text."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.text = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if values.get(LOADING.get(tag, "")):
            self.loads.append(values[LOADING[tag]])

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("furo", "myst_parser"):
        pytest.importorskip(module, reason="needs the extra tcd-hf[docs]")
    for module in ("gradio", "mteb", "sentence_transformers"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the API reference shows what needs {module}")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-d", folder / "trees", "docs"]
    run = subprocess.run([*command, folder / "html"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder / "html"


@pytest.mark.slow
class TestSite:
    def test_every_page_is_built(self, site):
        for page in PAGES:
            if page.is_relative_to(ROOT / "docs"):
                assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file()

    def test_it_loads_nothing_from_elsewhere(self, site):
        pages = [Page(path) for path in site.rglob("*.html")]
        assert len(pages) > 8 and any(page.loads for page in pages)
        for load in [load for page in pages for load in page.loads]:
            assert not re.match(r"(\w+:)?//", load), load
        for style in site.rglob("*.css"):
            assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style

    def test_local_links_lead_to_something(self, site):
        for path in site.rglob("*.html"):
            page = Page(path)
            for link in page.links:
                file, _, anchor = link.partition("#")
                if "://" in link or not (file or anchor):
                    continue
                target = (path.parent / file) if file else path
                assert target.is_file(), f"{path.name}: {link}"
                if anchor and target.suffix == ".html":
                    assert f'id="{anchor}"' in target.read_text(encoding="utf-8"), f"{path.name}: {link}"

    def test_the_reference_shows_the_public_names_and_links_them(self, site):
        import tcd_hf

        pages = [Page(path) for path in sorted((site / "api").glob("*.html"))]
        links = [link.rpartition("/")[2] for page in pages for link in page.links]
        own = {link.rpartition("#")[2] for page in pages for link in page.links if link.startswith("#")}
        for name in set(tcd_hf.__all__) - {"__version__"}:
            assert f"tcd_hf.{name}" in own, name
        assert links.count("#tcd_hf.TCDModel") > 3
        assert "models.html#tcd_hf.TCDModel" in links
        for page in pages:
            assert "[`" not in page.text and "``" not in page.text and ":py:obj:" not in page.text
