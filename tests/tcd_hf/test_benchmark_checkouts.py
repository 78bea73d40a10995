"""The comparison of two checkouts: their turns, and what is told of them."""

import re

import pytest

from scripts.benchmarks import checkouts


def test_the_fastest_turns_are_compared(monkeypatch, capsys):
    turns = {part: [[0.2, 0.1], [0.3, 0.08]] for part in checkouts.PARTS}
    monkeypatch.setattr(checkouts, "time_in_turn", lambda *args: turns)
    assert checkouts.main([str(checkouts.ROOT), "--turns", "2"]) == 0
    assert "| score: TCD as written | 100.0 | 80.0 | 0.80 |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkout_is_compared_with_itself(capsys):
    assert checkouts.main([str(checkouts.ROOT), "--turns", "1"]) == 0
    rows = re.findall(r"\| (?:score|process): .* \| ([\d.]+) \| ([\d.]+) \| [\d.]+ \|", capsys.readouterr().out)
    assert len(rows) == len(checkouts.PARTS) and all(float(time) > 0 for row in rows for time in row)


def test_a_folder_must_be_a_checkout(tmp_path, capsys):
    with pytest.raises(SystemExit):
        checkouts.main([str(tmp_path)])
    assert "is no checkout" in capsys.readouterr().err
