"""Where the package is used: in workers of a DataLoader, from several threads, inside a running event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.utils.data import DataLoader, Dataset

from tcd_hf.index.video_index import VideoIndex
from tests.conftest import assert_computed_alike
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

TEXTS = {1: ["TESCO express", "£1.30"], 2: ["DEPARTURES", "Gate B4"], 3: ["STAR WARS"]}
QUERIES = {"the store tesco express": "shop.mp4", "departures at gate b4": "airport.mp4", "star wars": "toys.mp4"}


class Inputs(Dataset):
    """What a model is given of each video."""

    def __init__(self, paths):
        self.paths = [str(path) for path in paths]
        self.processor = make_tiny_processor(CodeReader(TEXTS))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, number):
        inputs = self.processor(text="star wars", videos=[self.paths[number]], return_tensors="pt")
        return {name: values[0] for name, values in inputs.items()}


def test_a_processor_in_workers_that_are_spawned(clips):
    inputs = Inputs(clips.values())
    inputs[0]  # it has read: whatever it keeps of that goes along
    spawned = list(DataLoader(inputs, batch_size=None, num_workers=2, multiprocessing_context="spawn"))
    assert len(spawned) == len(inputs)
    for number, found in enumerate(spawned):
        expected = inputs[number]
        assert set(found) == set(expected) and "ocr_input_ids" in found
        for name, values in expected.items():
            assert_computed_alike(found[name], values, msg=name)


@pytest.fixture
def index(clips, tmp_path):
    made = make_tiny_model(), make_tiny_processor(CodeReader(TEXTS))
    index = VideoIndex.create(tmp_path / "index", *made, cache_dir=tmp_path / "cache")
    index.add(clips.values(), workers=0)
    return index


def names(hits):
    return [hit.path.rpartition("/")[2] for hit in hits]


def test_threads_that_search_one_index(index):
    def ask(number):
        query = f"{' '.join('x' * (number % 7))} {list(QUERIES)[number % 3]}"  # of many lengths
        return names(index.search([query, query + " again"], mode="lexical", top_k=1)[0])

    expected = [ask(number) for number in range(60)]
    assert expected[:3] == [[name] for name in QUERIES.values()]
    index = VideoIndex.open(index.uri, index.model, index.processor)  # nothing of it is there yet
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(60))) == expected


def test_inside_a_running_event_loop(index, clips):
    """As in a notebook: what is called there may start no loop of its own in the same thread."""

    async def cell():
        assert index.remove(clips["toys.mp4"]) == 1
        report = index.add(clips["toys.mp4"], workers=1)
        assert [path.rpartition("/")[2] for path in report.added] == ["toys.mp4"]
        found = [names(index.search(query, top_k=1)) for query in QUERIES]
        await asyncio.sleep(0)
        return found, names(index.search("star wars", mode="coarse"))

    found, _ = asyncio.run(cell())
    assert found == [[name] for name in QUERIES.values()]


def test_threads_that_share_a_processor():
    """Its tokenizer keeps from each call how it pads and cuts."""
    processor = make_tiny_processor()
    texts = [["a" * (1 + number % 50), "b" * (1 + 7 * number % 90)] for number in range(400)]
    alone = [processor(text=each, return_tensors="np")["input_ids"].tolist() for each in texts]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda each: processor(text=each, return_tensors="np")["input_ids"].tolist(), texts)
        assert list(together) == alone
