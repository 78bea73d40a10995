from concurrent.futures import ThreadPoolExecutor

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tcd_hf.app.library import Library
from tcd_hf.app.page import answer_query
from tests.tcd_hf.app.conftest import HOSTILE_NAME, make_clip


@pytest.fixture(scope="module")
def client(site):
    return Client(site.url, verbose=False)


def plain(hits):
    return [{"video" if name == "path" else name: value for name, value in hit.to_dict().items()} for hit in hits]


def test_the_api_returns_hits_as_plain_json(site, client):
    hits = client.predict("the store TESCO express", api_name="/search")
    assert hits == plain(site.index.search("the store TESCO express"))
    assert hits[0]["moments"] == []
    assert hits[0]["video"] == site.path("shop.mp4").as_posix()
    assert hits[0]["evidence"] == ["TESCO express"]
    assert hits[0]["boxes"][0]["box"] == [0.1, 0.1, 0.9, 0.25]


def test_the_api_takes_mode_number_and_filters(site, client):
    expected = plain(site.index.search("gate b4", top_k=2, mode="lexical"))
    assert client.predict("gate b4", mode="lexical", top_k=2, api_name="/search") == expected
    hits = client.predict(
        "anything", top_k=50, min_seconds=1, max_seconds=4.5, only_with_text=True, path_contains="O", api_name="/search"
    )
    assert {hit["video"].rsplit("/")[-1] for hit in hits} == {"shop.mp4", "airport.mp4", "toys.mp4", HOSTILE_NAME}
    assert client.predict("anything", path_contains="' OR '1'='1", api_name="/search") == []
    assert client.predict("anything", text_from="given", api_name="/search") == []


def test_the_api_reads_the_syntax_of_queries(site, client):
    query = '"tesco express" OR "star wars"'
    hits = client.predict(query, api_name="/search")
    assert hits == plain(site.index.search(query, syntax="query"))
    assert {hit["video"].rsplit("/")[-1] for hit in hits} == {"shop.mp4", "toys.mp4"}


def test_the_api_is_the_only_one_and_described(client):
    described = client.view_api(return_format="dict")
    assert set(described["named_endpoints"]) == {"/search"}
    names = [parameter["parameter_name"] for parameter in described["named_endpoints"]["/search"]["parameters"]]
    filters = ["min_seconds", "max_seconds", "only_with_text", "path_contains", "text_from"]
    assert names == ["query", "mode", "top_k", *filters, "within"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "  "}, "The query is empty"),
        ({"query": "-kiosk"}, "only says what to leave out"),
        ({"query": "x", "mode": "best"}, "mode must be one of"),
        ({"query": "x", "top_k": 0}, "1 to 50, got 0"),
        ({"query": "x", "top_k": 51}, "1 to 50, got 51"),
        ({"query": "x", "min_seconds": -2}, "from 0 on, got -2"),
        ({"query": "x", "min_seconds": "abc"}, "from 0 on, got abc"),
        ({"query": "x", "top_k": "abc"}, "1 to 50, got abc"),
        ({"query": "x", "mode": ["full"]}, "mode must be one of"),
        ({"query": "x", "path_contains": ["p"]}, "must be a text"),
        ({"query": ["x"]}, "must be a text"),
        ({"query": "x", "text_from": "hearsay"}, "one of ocr, subtitle, given, got 'hearsay'"),
        ({"query": "x", "within": -1}, "from 0 on, got -1"),
        ({"query": "x", "within": "abc"}, "from 0 on, got 'abc'"),
    ],
)
def test_the_api_says_what_is_wrong(client, options, message):
    with pytest.raises(AppError, match=message):
        client.predict(**options, api_name="/search")


def test_of_a_long_query_the_beginning_is_searched_for_and_the_page_says_so(site, client):
    longest = "star wars " * 100
    assert client.predict(longest + "tesco express " * 5000, api_name="/search") == plain(site.index.search(longest))
    library = Library(site.index)
    note = '<p class="note" role="status">Only the first 1,000 characters were searched for.</p>'
    whole = answer_query(library, longest, "full", 5, None)
    assert note not in whole
    cut = answer_query(library, longest.strip() + " tesco express", "full", 5, None)
    assert cut.startswith(note) and cut.count('class="hit"') == whole.count('class="hit"')


def test_half_a_character_is_no_query(site):
    """It cannot be sent as UTF-8, but as JSON."""
    assert "half a character" in answer_query(Library(site.index), "a \ud800 b", "full", 5, None)


def test_several_people_at_once_get_their_own_answers(site):
    queries = {"the store TESCO express": "shop.mp4", "departures gate b4": "airport.mp4", "star wars": "toys.mp4"}

    def ask(number):
        query, expected = list(queries.items())[number % 3]
        client = Client(site.url, verbose=False)
        return [
            client.predict(query, mode="lexical", api_name="/search")[0]["video"].endswith(expected) for _ in range(5)
        ]

    extra = [make_clip(site.folder / f"extra-{number}.mp4", [700 + number]) for number in range(3)]
    try:
        with ThreadPoolExecutor(6) as pool:
            answers = pool.map(ask, range(6))
            for path in extra:  # meanwhile
                site.index.add(path, workers=0)
            assert all(all(answer) for answer in answers)
    finally:
        site.index.remove(extra)
