import os
import shutil

import pytest
from PIL import Image


def test_a_page_is_cut_below_its_last_line(tmp_path):
    from scripts.pictures import clips as script

    page = Image.new("RGB", (90, 200), "white")
    page.putpixel((40, 99), (0, 0, 0))
    page.save(tmp_path / "page.png")
    script.cut_below(tmp_path / "page.png")
    assert Image.open(tmp_path / "page.png").size == (90, 100 + script.MARGIN)


@pytest.mark.slow
def test_makes_the_pictures_of_the_documentation(tmp_path, monkeypatch):
    for module, extra in (("matplotlib", "plot"), ("font_lato", "synthetic"), ("faker", "train-mini")):
        pytest.importorskip(module, reason=f"needs the extra tcd-hf[{extra}]")
    from scripts.pictures import clips as script

    monkeypatch.setattr(script, "CLIPS", script.CLIPS[:2])  # reading one takes seconds
    monkeypatch.chdir(tmp_path)
    assert script.main(["--out", "pictures"]) == 0
    assert os.getcwd() == str(tmp_path)
    made = {path.name: path for path in (tmp_path / "pictures").iterdir()}
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert set(made) == set(script.PICTURES) - (set() if browser else {"report.png"})
    for path in made.values():
        assert path.stat().st_size < 300_000
        assert max(Image.open(path).size) <= script.MAX_SIDE
