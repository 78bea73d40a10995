"""Searchers, writers and visitors at once, for a few seconds: nothing fails, nothing is lost."""

import json

import pytest

from scripts.benchmarks import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_few_seconds(tmp_path, capsys):
    pytest.importorskip("gradio")
    pytest.importorskip("prometheus_client")
    few = ["--searchers", "1", "--writers", "2", "--visitors", "1", "2", "--workers", "1", "2"]
    few += ["--videos", "4", "--seconds", "3"]
    load.main([*few, "--json", str(tmp_path / "report.json")])
    report, shown = json.loads((tmp_path / "report.json").read_text()), capsys.readouterr().out
    assert set(report["index"]["times"]) == {"search", "add", "remove"}
    pages = [f"page, {workers} searching, {visitors} visiting" for workers in (1, 2) for visitors in (1, 2)]
    for page in pages:
        assert set(report[page]["times"]) == {"search", "picture", "player", "evidence"}
    for part in ("index", *pages):
        holds = {name: value for name, value in report[part]["holds"].items() if name != "memory is flat"}  # too short
        assert all(holds.values()), shown
        assert all(report[part]["times"].values()), shown
    assert f"| {pages[-1]}: search |" in shown
