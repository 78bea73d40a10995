"""Captions are cached in a folder of each test's own."""

import pytest


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "captions"))
    return tmp_path / "captions"
