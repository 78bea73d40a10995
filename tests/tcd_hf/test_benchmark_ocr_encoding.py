"""What the text in a video costs to encode: counts against those worked out by hand."""

import json

import pytest
from transformers import CLIPConfig

for package in ("faker", "english_words", "font_lato", "font_caladea", "font_fredoka_one", "font_amatic_sc"):
    pytest.importorskip(package)

LAYERS, WIDTH, MLP, JOINT = 2, 32, 48, 16
NEAR = 0.01  # what a release of torch may count besides; a part that is left out, or counted twice, is more


@pytest.fixture
def benchmark(monkeypatch):
    from scripts.benchmarks import ocr_encoding

    return ocr_encoding


@pytest.fixture(scope="module")
def config() -> CLIPConfig:
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "projection_dim": JOINT,
    }
    vision = {**tower, "image_size": 16, "patch_size": 8}
    return CLIPConfig(text_config=tower, vision_config=vision, projection_dim=JOINT)


def by_hand(tokens: int, with_attention: bool = True) -> int:
    """Multiply-adds of a transformer over tokens, and of the projection of one of them."""
    attention = 4 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH
    return LAYERS * (2 * tokens * WIDTH * MLP + with_attention * attention) + WIDTH * JOINT


@pytest.mark.parametrize("with_attention", [True, False])
def test_counts_are_those_by_hand(benchmark, config, with_attention):
    tower = benchmark.Tower(config)
    for length in (2, 7, 77):
        assert tower.text(length, with_attention) == pytest.approx(by_hand(length, with_attention), rel=NEAR)
    patches = 4 * 3 * 8 * 8 * WIDTH  # a convolution makes the four patches
    assert tower.frame(with_attention) == pytest.approx(by_hand(5, with_attention) + patches, rel=NEAR)


def test_costs_of_a_batch(benchmark, config):
    tower = benchmark.Tower(config)
    expected = 2 * 16 * (2 * by_hand(3) + by_hand(9)) / 1e9
    assert benchmark.gflops(tower, [3, 9, 3]) == pytest.approx(expected, rel=NEAR)
    assert benchmark.gflops(tower, [3, 9, 3] * 5, num_videos=5) == pytest.approx(expected, rel=NEAR)


def test_shape_of_vit_b_32(benchmark):
    tower = benchmark.Tower(CLIPConfig())
    layers = 12 * (77 * (4 * 512**2 + 2 * 512 * 2048) + 2 * 77**2 * 512)
    assert tower.text(77) == pytest.approx(layers + 512 * 512, rel=NEAR)


def test_choices_of_texts(benchmark):
    assert benchmark.all_places(["a", "b"], 5) == ["a", "b", "a", "b", "a"]
    assert benchmark.all_places([], 3) == ["", "", ""]
    assert benchmark.empty_places(["a", "b"], 3) == ["a", "b", ""]
    assert benchmark.as_seen(["a", "b", "a"], 5) == ["a", "b", "a"]
    assert benchmark.each_once(["a", "b", "a"], 5) == ["a", "b"]


def test_texts_of_clips(benchmark):
    clips = benchmark.texts_of_clips(20, seed=0)
    assert all(len(clip["windows"]) == 12 for clip in clips)
    assert all(text for clip in clips for text in clip["instances"])
    with_text = [clip for clip in clips if clip["instances"]]
    assert 10 < len(with_text) <= 20
    words = [[len(" ".join(clip[way]).split()) for clip in with_text] for way in ("windows", "instances")]
    assert sum(words[1]) == pytest.approx(sum(words[0]), rel=0.1)  # single readings of what the captions hold


def test_readings_of_the_paper(benchmark, config):
    readings = benchmark.nearest_readings(benchmark.Tower(config))
    assert len({each["reading"] for each in readings}) == len(readings) == 48
    errors = [each["largest_error"] for each in readings]
    assert errors == sorted(errors)
    name = "OCR texts, query, 12 frames against 1; texts padded to 77; FLOPs of 16 videos, attention layers not counted"
    [reading] = [each for each in readings if each["reading"] == name]
    frame = by_hand(5, False) + 4 * 3 * 8 * 8 * WIDTH
    for way, texts, frames in (("windows", 13, 12), ("instances", 201, 1)):
        expected = 2 * 16 * (texts * by_hand(77, False) + frames * frame) / 1e9
        assert reading[way] == pytest.approx(expected, rel=NEAR)


def test_report(benchmark, config, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "CLIPConfig", lambda: config)
    options = ["--clips", "20", "--timed-clips", "1", "--json", str(tmp_path / "numbers.json")]
    assert benchmark.main(options) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "numbers.json").read_text())
    padded = report["padded"]["77"]
    assert padded["instances"] / padded["windows"] == pytest.approx(200 / 12)
    assert "| all padded to 77 |" in printed and "| 16.7 | holds |" in printed
    tables = [block.splitlines() for block in printed.split("\n\n") if block.startswith("|")]
    assert [len(table) for table in tables] == [8, 6, 6]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)
    case = report["needed"][benchmark.ALL_PLACES]
    assert case["texts"] == {"windows": 12, "instances": 200}
    assert all(seconds > 0 for seconds in case["seconds"].values())
    # So many instances as would cost the given times more.
    enough = benchmark.enough_instances(case, 5)
    assert enough * case["gflops"]["instances"] / 200 == pytest.approx(5 * case["gflops"]["windows"])


def test_mistakes(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--clips", "0"])
    assert "--clips must be at least 1, got 0" in capsys.readouterr().err
