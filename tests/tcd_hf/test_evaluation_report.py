import json
import sys

import numpy as np
import pytest

from tcd_hf.evaluation.metrics import retrieval_ranks, summarise_ranks
from tcd_hf.evaluation.rank_plot import hit_rates, plot_ranks
from tcd_hf.evaluation.report import ALL_QUERIES, summarise_by_query_type, to_markdown, write_results

RANKS = {"t2v": np.array([1, 1, 2.5, 60]), "v2t": np.array([1, np.nan, 3])}
TYPES = ["text", "visual", "text", "visual"]


class TestSummary:
    def test_by_type(self):
        results = summarise_by_query_type(RANKS, TYPES)
        assert list(results) == [ALL_QUERIES, "text", "visual"]
        assert results[ALL_QUERIES]["t2v"] == {"queries": 4, **summarise_ranks(RANKS["t2v"])}
        assert results[ALL_QUERIES]["v2t"]["queries"] == 2
        assert results[ALL_QUERIES]["v2t"]["MnR"] == 2
        assert list(results["text"]) == ["t2v"]
        assert (results["text"]["t2v"]["R@1"], results["text"]["t2v"]["R@5"]) == (0.5, 1.0)
        assert (results["visual"]["t2v"]["queries"], results["visual"]["t2v"]["R@50"]) == (2, 0.5)

    def test_without_types(self):
        assert list(summarise_by_query_type(RANKS)) == [ALL_QUERIES]

    def test_types_of_a_query_search_the_whole_gallery(self):
        similarity = np.array([[0.5, 0.9], [0.1, 0.8]])  # among its own type's videos, text 0 would be first
        results = summarise_by_query_type(retrieval_ranks(similarity, np.array([0, 1])), ["a", "b"])
        assert results["a"]["t2v"]["MnR"] == 2

    def test_types_that_do_not_fit(self):
        with pytest.raises(ValueError, match=r"each of the 4 texts, got shape \(3,\)"):
            summarise_by_query_type(RANKS, TYPES[:3])


class TestFiles:
    def test_table(self):
        lines = to_markdown(summarise_by_query_type(RANKS, TYPES)).splitlines()
        assert lines == [
            "| queries | direction | count | R@1 | R@5 | R@10 | R@50 | MdR | MnR | MRR |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
            "| all queries | text to video | 4 | 0.500 | 0.750 | 0.750 | 0.750 | 1.75 | 16.125 | 0.604 |",
            "| all queries | video to text | 2 | 0.500 | 1.000 | 1.000 | 1.000 | 2 | 2.000 | 0.667 |",
            "| text | text to video | 2 | 0.500 | 1.000 | 1.000 | 1.000 | 1.75 | 1.750 | 0.700 |",
            "| visual | text to video | 2 | 0.500 | 0.500 | 0.500 | 0.500 | 30.5 | 30.500 | 0.508 |",
        ]

    def test_the_transposed_way_has_its_own_line(self):
        ranks = {**RANKS, "v2t_transposed": np.array([4.0, 4.0])}
        assert "| all queries | video to text, transposed | 2 | 0.000 |" in to_markdown(summarise_by_query_type(ranks))

    def test_json_beside_the_table(self, tmp_path):
        results = summarise_by_query_type(RANKS, TYPES)
        write_results(results, tmp_path / "new" / "results.json")
        written = json.loads((tmp_path / "new" / "results.json").read_text(encoding="utf-8"))
        assert written == {"about": {}, "results": results}
        assert (tmp_path / "new" / "results.md").read_text(encoding="utf-8") == to_markdown(results) + "\n"

    def test_what_was_measured(self, tmp_path):
        results, about = summarise_by_query_type(RANKS), {"dataset": "Town", "num_texts": 4}
        write_results(results, tmp_path / "results.json", about)
        assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["about"] == about
        lines = (tmp_path / "results.md").read_text(encoding="utf-8")
        assert lines == f"- dataset: Town\n- num texts: 4\n\n{to_markdown(results)}\n"

    def test_another_ending(self, tmp_path):
        with pytest.raises(ValueError, match=r"must end in \.json, got .*results\.md"):
            write_results(summarise_by_query_type(RANKS), tmp_path / "results.md")


class TestPlot:
    def test_hit_rates(self):
        cutoffs, rates = hit_rates("a", RANKS["t2v"])
        assert cutoffs.tolist() == [1, 3, 60]  # rank 2.5 is no hit at 2
        assert rates.tolist() == [0.5, 0.75, 1]
        cutoffs, rates = hit_rates("b", np.array([np.nan, 4, 4]))
        assert (cutoffs.tolist(), rates.tolist()) == ([1, 4], [0, 1])

    @pytest.mark.parametrize("k", [1, 5, 10, 50])
    def test_hit_rates_are_the_recalls(self, k):
        ranks = np.random.default_rng(0).integers(2, 160, size=300) / 2
        cutoffs, rates = hit_rates("a", ranks)
        assert rates[np.searchsorted(cutoffs, k, side="right") - 1] == summarise_ranks(ranks)[f"R@{k}"]

    @pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
    def test_writes_a_picture(self, tmp_path, ending, start):
        pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")
        path = tmp_path / "plots" / f"ranks.{ending}"
        plot_ranks(RANKS, path, title="Small")
        assert path.read_bytes().startswith(start)

    def test_names_the_curves(self, tmp_path):
        matplotlib = pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            plot_ranks({f"curve {i}": np.array([1, 1, 2, 3]) for i in range(9)}, tmp_path / "ranks.svg")
        picture = (tmp_path / "ranks.svg").read_text(encoding="utf-8")
        assert all(f"curve {i} (R@1 0.500)" in picture for i in range(9))

    def test_all_answers_first(self, tmp_path):
        pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")
        plot_ranks({"perfect": np.ones(3)}, tmp_path / "ranks.png")
        assert (tmp_path / "ranks.png").stat().st_size > 0

    @pytest.mark.parametrize(
        ("ranks", "message"),
        [
            ({}, "1 to 28 curves, got 0"),
            ({str(i): np.ones(1) for i in range(29)}, "got 29"),
            ({"empty": np.array([np.nan])}, "No query to plot for 'empty'"),
        ],
    )
    def test_mistakes(self, tmp_path, ranks, message):
        pytest.importorskip("matplotlib", reason="needs the extra tcd-hf[plot]")
        with pytest.raises(ValueError, match=message):
            plot_ranks(ranks, tmp_path / "ranks.png")

    def test_without_matplotlib(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r'pip install "tcd-hf\[plot\]"'):
            plot_ranks(RANKS, tmp_path / "ranks.png")
