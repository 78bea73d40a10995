"""Which pairs meet in which step, and what becomes of them."""

from collections import Counter
from itertools import chain

import pytest
import torch
from datasets import Features
from PIL import Image

from tcd_hf.training.batching import BatchPlan, PairCollator, Pairs, chunk_loader
from tcd_hf.training.recipe import TrainingRecipe
from tests.conftest import assert_computed_alike
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.training_data import make_split


@pytest.fixture(scope="module")
def dataset():
    return make_split(14)


def rows(batch):
    return [row for row, _ in batch]


def test_an_epoch_shows_every_video_once_but_for_what_makes_no_batch(dataset):
    plan = BatchPlan(dataset, 4)
    assert plan.steps_per_epoch == 3
    for epoch in range(3):
        batches = plan.epoch(epoch)
        assert [len(batch) for batch in batches] == [4, 4, 4]
        seen = [row for batch in batches for row in rows(batch)]
        assert len(set(seen)) == 12 and set(seen) <= set(range(14))


def test_order_and_captions_are_a_function_of_seed_and_epoch(dataset):
    plan = BatchPlan(dataset, 4, seed=1)
    assert plan.epoch(2) == BatchPlan(dataset, 4, seed=1).epoch(2)
    assert plan.epoch(0) != plan.epoch(1) and plan.epoch(0) != BatchPlan(dataset, 4, seed=2).epoch(0)


def test_a_caption_of_each_video_is_drawn_evenly_and_anew_each_epoch(dataset):
    drawn = Counter(key for epoch in range(600) for batch in BatchPlan(dataset, 7).epoch(epoch) for key in batch)
    assert {caption for row, caption in drawn if row == 5} == {0, 1, 2}  # video 5 has three captions
    assert all(drawn[5, caption] == pytest.approx(200, abs=45) for caption in range(3))
    assert drawn[0, 0] == 600  # video 0 has one


def test_an_epoch_of_captions_shows_every_caption_once(dataset):
    plan = BatchPlan(dataset, 5, epoch_of="captions")
    every = {(row, caption) for row, of_video in enumerate(dataset["captions"]) for caption in range(len(of_video))}
    assert plan.steps_per_epoch == len(every) // 5 and len(every) > len(dataset)
    seen = set()
    for epoch in range(20):
        keys = [key for batch in plan.epoch(epoch) for key in batch]
        assert len(keys) == len(set(keys)) == 5 * plan.steps_per_epoch and set(keys) <= every
        seen |= set(keys)
    assert seen == every and plan.epoch(0) != plan.epoch(1)
    with pytest.raises(ValueError, match=r"goes with `epoch_of=\"videos\"` only"):
        BatchPlan(dataset, 5, group_by_negatives=True, epoch_of="captions")


@pytest.mark.parametrize("epoch_of", ["videos", "captions"])
def test_steps_go_on_anywhere(dataset, epoch_of):
    plan = BatchPlan(dataset, 4, epoch_of=epoch_of)
    whole = [batch for epoch in range(4) for batch in plan.epoch(epoch)]
    for first, last in ((0, 12), (2, 5), (3, 6), (5, 6), (7, 11), (4, 4)):
        assert list(plan.steps(first, last)) == whole[first:last]


def test_groups_stay_together(dataset):
    plan = BatchPlan(dataset, 6, group_by_negatives=True)  # groups of three rows, the last one of two
    for epoch in range(20):
        for batch in plan.epoch(epoch):
            sizes = Counter(row // 3 for row in rows(batch))
            assert len(batch) == len(set(rows(batch))) == 6
            whole = [group for group, size in sizes.items() if size == (2 if group == 4 else 3)]
            assert len(whole) >= len(sizes) - 2  # one that the batch before has cut, and one cut to fill this one
    assert any(4 in {row // 3 for row in rows(batch)} for epoch in range(20) for batch in plan.epoch(epoch))
    assert plan.epoch(0) != plan.epoch(1)


def test_groups_larger_than_a_batch_and_rows_without_a_group(dataset):
    names = ["large"] * 9 + [None] * 5
    plan = BatchPlan(dataset.remove_columns("group").add_column("group", names), 4, group_by_negatives=True)
    for epoch in range(10):
        seen = [row for batch in plan.epoch(epoch) for row in rows(batch)]
        assert len(seen) == len(set(seen)) == 12


def test_what_cannot_be_cut_into_batches_is_refused(dataset):
    with pytest.raises(ValueError, match="has 14 videos, too few for a batch of 15"):
        BatchPlan(dataset, 15)
    with pytest.raises(ValueError, match="column `group`"):
        BatchPlan(dataset.remove_columns("group"), 4, group_by_negatives=True)
    bare = [captions if row != 3 else [] for row, captions in enumerate(dataset["captions"])]
    with pytest.raises(ValueError, match=r"1 of 14 videos .* first in row 3: \[\]"):
        BatchPlan(dataset.remove_columns("captions").add_column("captions", bare), 4)
    blank = [captions if row != 5 else ["a sign", " "] for row, captions in enumerate(dataset["captions"])]
    with pytest.raises(ValueError, match=r"1 of 14 videos .* first in row 5: \['a sign', ' '\]"):
        BatchPlan(dataset.remove_columns("captions").add_column("captions", blank), 4)


def test_collated_pairs_are_the_inputs_of_the_model(dataset):
    processor = make_tiny_processor()
    pairs = Pairs(dataset)
    inputs = PairCollator(processor)([pairs[4, 1, 0], pairs[0, 0, 0]])
    expected = processor(
        text=[dataset[4]["captions"][1], dataset[0]["captions"][0]],
        videos=[dataset[4]["frames"], dataset[0]["frames"]],
        ocr_captions=[dataset[4]["ocr_captions"], dataset[0]["ocr_captions"]],
    )
    assert inputs.pop("return_loss") is True and inputs.keys() == expected.keys()
    pixels = "pixel_values_videos"
    assert_computed_alike(inputs[pixels], expected[pixels])
    assert all(torch.equal(inputs[name], expected[name]) for name in expected if name != pixels)
    assert inputs["ocr_mask"].tolist() == [[True] * 4, [False] * 4]
    assert make_tiny_model()(**inputs, return_loss=True).loss.isfinite()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_shares_of_two_processes_make_up_the_batches(dataset, num_workers):
    processor, plan = make_tiny_processor(), BatchPlan(dataset, 6)
    recipe = TrainingRecipe("m", "d", "o", batch_size=6, chunk_size=2, num_workers=num_workers)
    shares = [list(chunk_loader(dataset, processor, plan, recipe, (1, 3), slice(start, start + 3))) for start in (0, 3)]
    whole = list(chunk_loader(dataset, processor, plan, TrainingRecipe("m", "d", "o"), (1, 3), slice(0, 6)))
    assert [len(chunks) for chunks in whole] == [1, 1]
    for step in range(2):
        assert [len(chunk["input_ids"]) for chunk in shares[0][step]] == [2, 1]
        together = [chunk["pixel_values_videos"] for share in shares for chunk in share[step]]
        assert_computed_alike(torch.cat(together), whole[step][0]["pixel_values_videos"])


class TestSetsOfFrames:
    """Where a data set has several, each pair is shown with one of them."""

    @pytest.fixture
    def several(self, dataset):
        """Pictures that tell which set they are of: 10, 20, 30."""

        def add(row):
            plain = [[Image.new("RGB", (16, 16), (10 * number,) * 3)] * 4 for number in (1, 2, 3)]
            return dict(zip(("frames", "frames_1", "frames_2"), plain, strict=True))

        frames = dataset.features["frames"]
        return dataset.map(add, features=Features({**dataset.features, "frames_1": frames, "frames_2": frames}))

    def drawn(self, several, seed=0, steps=(0, 9), share=slice(0, 4)):
        processor, plan = make_tiny_processor(), BatchPlan(several, 4, seed)
        processor.image_processor.do_normalize = False
        chunks = chunk_loader(several, processor, plan, TrainingRecipe("m", "d", "o"), steps, share)
        pixels = [chunk["pixel_values_videos"] for of_step in chunks for chunk in of_step]
        return [[round(video.mean().item() * 255 / 10) for video in step] for step in pixels]

    def test_one_is_drawn_by_seed_and_step_alone(self, several):
        whole = self.drawn(several)
        assert Counter(chain(*whole)).keys() == {1, 2, 3}
        assert self.drawn(several) == whole != self.drawn(several, seed=1)
        assert self.drawn(several, steps=(5, 9)) == whole[5:]  # a run that goes on
        shares = [self.drawn(several, share=slice(start, start + 2)) for start in (0, 2)]
        assert [a + b for a, b in zip(*shares, strict=True)] == whole

    def test_they_are_drawn_evenly(self, several):
        counts = Counter(chain(*self.drawn(several, steps=(0, 90))))
        assert all(count == pytest.approx(120, abs=30) for count in counts.values())
