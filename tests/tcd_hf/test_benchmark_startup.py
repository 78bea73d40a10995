"""`scripts.benchmarks.startup`: whose code it runs, in which order, and what it says of the times."""

import sys

import pytest

from scripts.benchmarks import startup
from scripts.benchmarks.startup import Checkout, Times

# What stands for the command: says whose it is, and works for 0.2 s.
COMMAND = """
import sys, time
def app():
    while time.process_time() < 0.2: pass
    print({name!r}, *sys.argv[1:])
"""


@pytest.fixture
def make_checkout(tmp_path):
    def make(name: str) -> Checkout:
        root = tmp_path / name
        (root / "tcd_hf" / "cli").mkdir(parents=True)
        for file in ("__init__.py", "cli/__init__.py"):
            (root / "tcd_hf" / file).touch()
        (root / "tcd_hf" / "cli" / "main.py").write_text(COMMAND.format(name=name))
        return Checkout(root, tmp_path / f"{name}.index")

    return make


def test_each_checkout_runs_its_own_code(make_checkout, monkeypatch, tmp_path):
    old, new = make_checkout("old"), make_checkout("new")
    monkeypatch.setenv("PYTHONPATH", str(new.root))
    monkeypatch.chdir(new.root)
    assert startup.run([*startup.COMMAND, "search", "a b"], old) == "old search a b\n"
    assert startup.run([*startup.COMMAND, "list"], new) == "new list\n"


def test_time_of_a_search_is_of_all_its_process(make_checkout):
    seconds = startup.time_search(make_checkout("old"))
    assert 0.19 < seconds.cpu < 10 and 0.19 < seconds.wall < 60


def test_a_command_that_fails_ends_the_benchmark(make_checkout):
    with pytest.raises(SystemExit, match=r"status 3 in .*old"):
        startup.run([sys.executable, "-c", "raise SystemExit(3)"], make_checkout("old"))


def test_checkouts_take_turns():
    turns = []

    def measure(checkout):
        turns.append(checkout)
        return Times(len(turns), 0.0)

    times = startup.take_turns(measure, {"before": "old", "after": "new"}, rounds=2)
    assert turns == ["old", "new", "old", "new"]
    assert [each.wall for each in times["before"]] == [1, 3] and [each.wall for each in times["after"]] == [2, 4]


@pytest.mark.parametrize(("wall", "said"), [(10.4, "+4%, holds"), (10.6, "+6%, FAILS"), (5.0, "-50%, holds")])
def test_medians_are_compared(monkeypatch, capsys, tmp_path, make_checkout, wall, said):
    old = make_checkout("old")
    runs = {"before": iter([30.0, 10.0, 1.0]), "after": iter([wall, 40.0, 0.5])}

    def measure(checkout):
        return Times(next(runs["before" if checkout.root == old.root else "after"]), 2.0)

    monkeypatch.setitem(startup.PARTS, "step", measure)
    options = ["--before", str(old.root), "--parts", "step", "--rounds", "3", "--json", str(tmp_path / "numbers.json")]
    assert startup.main(options) == 0
    assert f"| step | 10.00 | 2.00 | {wall:.2f} | 2.00 | {said} | +0% |" in capsys.readouterr().out
    assert (tmp_path / "numbers.json").exists()


def test_one_checkout_alone_is_not_compared(monkeypatch, capsys):
    monkeypatch.setitem(startup.PARTS, "step", lambda checkout: Times(1.0, 2.0))
    assert startup.main(["--parts", "step", "--rounds", "1"]) == 0
    assert "| step |  |  | 1.00 | 2.00 |  |  |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_training_step_takes_time():
    seconds = startup.time_step(Checkout(startup.ROOT, startup.ROOT))
    assert seconds.wall > 0 and seconds.cpu > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--rounds", "0"], "--rounds must be at least 1, got 0"), (["--before", "nowhere"], "nowhere is no checkout")],
)
def test_mistakes(options, message, capsys):
    with pytest.raises(SystemExit):
        startup.main(options)
    assert message in capsys.readouterr().err
