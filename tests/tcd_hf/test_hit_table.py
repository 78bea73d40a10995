"""Hits on the terminal: weak matches folded, and what matches by meaning."""

import io

import pytest
from rich.console import Console

from tcd_hf.cli import hit_table
from tcd_hf.index.hits import Hit

BOX = {"text": "TESCO", "start": 0.0, "end": 1.0, "box": [0, 0, 1, 1], "time": 0.5, "source": "ocr"}


def hit(name, score, **changes):
    return Hit(f"{name}.mp4", score, 0.1, 0.2, 0.3, 0.0, 2.0, 3.0, **changes)


@pytest.fixture
def printed(monkeypatch):
    def printed(hits, **options):
        console = Console(width=100, record=True, file=io.StringIO())
        monkeypatch.setattr(hit_table, "stdout", console)
        hit_table.print_hits("a shop", hits, **options)
        return console.export_text()

    return printed


def test_weak_matches_stand_in_one_line(printed):
    weak = [hit(name, 0.05, is_weak=True) for name in "bcdef"]
    shown = printed([hit("a", 0.6), *weak])
    assert "0.600" in shown and "0.050" not in shown
    assert "Weak matches, below 0.1 (--scores lists them): b.mp4 0:00:02.0, c.mp4" in shown and "and 2 more" in shown
    listed = printed([hit("a", 0.6), *weak], with_scores=True)
    assert listed.count("0.050") == 5 and "Weak" not in listed
    only = printed(weak[:1])
    assert "a shop" in only and "Weak matches" in only and "matching text" not in only


def test_a_weak_match_may_rank_before_another(printed):
    """Of `first >> then`, whose score is a mean."""
    shown = printed([hit("a", 0.6), hit("b", 0.5, is_weak=True), hit("c", 0.4)])
    assert "a.mp4" in shown and "0.400" in shown and "0.500" not in shown
    assert "b.mp4" not in shown.split("Weak matches")[0] and "c.mp4" not in shown.split("Weak matches")[1]
    assert [line.split()[0] for line in shown.splitlines() if ".400" in line] == ["3"]


def test_a_text_says_how_it_matches_unless_by_its_spelling(printed):
    meant = {**BOX, "match": "means"}
    assert "TESCO (by meaning)" in printed([hit("a", 0.6, evidence=["TESCO"], boxes=[meant])])
    spoken = {**meant, "source": "subtitle"}
    assert "TESCO (subtitle, by meaning)" in printed([hit("a", 0.6, evidence=["TESCO"], boxes=[spoken])])
    assert "TESCO (" not in printed([hit("a", 0.6, evidence=["TESCO"], boxes=[{**BOX, "match": "spells"}])])


def test_the_nearest_text_is_among_the_parts(printed):
    assert "nearest 0.700" in printed([hit("a", 0.6, text_window=0.7)], with_scores=True)
    assert "nearest" not in printed([hit("a", 0.6)], with_scores=True)
