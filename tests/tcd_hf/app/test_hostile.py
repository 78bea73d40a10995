"""Names of files, texts read in videos and subtitles that try to run something, in every place where a page shows them.

Nothing may run, no element come of it, and the text must stand there as it is; control characters and marks that turn
the direction of a line are spelt out.
"""

import re
from types import SimpleNamespace

import pytest

from tcd_hf.app import adding
from tcd_hf.app.adding import Adder
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.printable import one_line
from tcd_hf.reading.text_files import write_cues
from tcd_hf.visualization import write_html_report
from tests.tcd_hf.app.browsing import expect, search, shown_hit
from tests.tcd_hf.app.conftest import make_clip, serving
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor

IMAGE = "<img src=x onerror=hacked=1>"
VECTOR = '"><svg onload=hacked=1><b onmouseover=hacked=1>'
SCRIPT = "</script><script>hacked=1</script></textarea></title><script>hacked=1</script>"
LINK = "javascript:hacked=1//"
TEMPLATE = "${hacked=1} {{constructor.constructor('hacked=1')()}} {% raw %} <%=hacked=1%>"
TURNED = "\u202etxt.exe\u2066 \x1b[31m\x07\x9b1m"
ATTACKS = [IMAGE, VECTOR, SCRIPT, LINK, TEMPLATE, TURNED, f"' onfocus='hacked=1' {IMAGE}", "&lt;img src=x&gt; &#60;b>"]
NAMES = [f"{attack}.mp4".replace("/", "\u2044") for attack in ATTACKS]
FOLDER = "videos<"  # with the folders and the name below, its path holds whole elements
FILE = "script><script>hacked=1</script>.mp4"
# What the page itself is made of, below the parts that show results; and no attribute of it is code.
OURS = "article audio b button canvas code div figcaption figure h2 h3 header img input label li mark ol p progress "
OURS += "section small span textarea ul video"
STRANGE = """ours => [...document.querySelectorAll("#results *, #clip *, #report *, .examples *, .upload *")].filter(
  part => !ours.includes(part.localName) || [...part.attributes].some(
    each => /^on/i.test(each.name) || /^\\s*javascript:/i.test(each.value) && /^(href|src|action)$/.test(each.name)
  )).map(part => part.outerHTML)"""


def texts_of(number: int) -> list[str]:
    """What is read in a clip."""
    return [f"kiosk {ATTACKS[number]}"]


def given(number: int) -> str:
    return f"kiosk spoken {ATTACKS[number]}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server of an index whose every name and text is hostile; with `folder`, `index`, and `clips` in the order of
    the attacks."""
    from tcd_hf.app.server import build_app

    folder = tmp_path_factory.mktemp("hostile")
    (folder / FOLDER / FILE).parent.mkdir(parents=True)
    root = folder / IMAGE  # from which videos may be added
    root.mkdir()
    clips = [make_clip(folder / FOLDER / name, [number + 1] * 2) for number, name in enumerate(NAMES)]
    clips.append(make_clip(folder / FOLDER / FILE, [200]))
    reader = CodeReader({number + 1: texts_of(number) for number in range(len(ATTACKS))})
    made = make_tiny_model(), make_tiny_processor(reader)
    index = VideoIndex.create(folder / "index", *made, cache_dir=folder / "cache")
    spoken = {clips[number]: [(0.0, 1.0, given(number))] for number in range(len(ATTACKS))}
    index.add(clips, workers=0, texts=spoken)
    workers, adding.WORKERS = adding.WORKERS, 0
    with serving(build_app(index, uploads=folder / "uploads", allow_add=[root], max_upload_mb=1)) as server:
        yield SimpleNamespace(url=server.url, folder=folder, root=root, index=index, clips=clips)
    adding.WORKERS = workers


def check(page):
    """Nothing ran, and there is no element that is not ours."""
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate(STRANGE, OURS.split()) == []


@pytest.mark.parametrize(
    "number",
    range(len(ATTACKS)),
    ids=["image", "vector", "script", "link", "template", "turned", "attribute", "entities"],
)
def test_hits_clip_timeline_and_transcript(site, visit, number):
    page = visit(site.url)
    search(page, f"kiosk {ATTACKS[number]}")
    name = one_line(site.clips[number].name)
    hit = shown_hit(page, name)
    expect(hit).to_have_count(1)
    expect(hit.locator(".title")).to_have_attribute("title", one_line(site.clips[number]))
    marked = hit.locator("mark").all_text_contents()
    assert one_line(texts_of(number)[0]) in marked
    hit.click()
    expect(page.locator("#clip h2")).to_have_text(name)
    expect(page.locator("#clip article")).to_have_attribute("aria-label", name)
    expect(page.locator("#clip .mark").first).to_have_attribute("title", re.compile(re.escape(marked[0])))
    cues = [one_line(text) for text in [*texts_of(number), given(number)]]
    expect(page.locator("#clip .cue").first).to_be_visible()
    assert set(page.locator("#clip .cue .words").all_text_contents()) == set(cues)
    assert "given text" in page.locator("#clip .cue .source").all_text_contents()
    page.locator("#clip #find").fill(ATTACKS[number])
    page.locator("#clip .cue .words").last.hover()
    page.wait_for_load_state("networkidle")
    check(page)


def test_a_path_that_is_whole_elements(site, visit):
    page = visit(site.url)
    search(page, "anything")
    path = str(site.clips[-1])
    assert "</script>" in path and "<script>" in path
    hit = page.locator(".hit").filter(has=page.locator(f"[title={css(path)}]"))
    expect(hit.locator(".title")).to_have_text(site.clips[-1].name)
    hit.click()
    expect(page.locator("#clip h2")).to_have_attribute("title", path)
    check(page)


def css(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_queries_that_are_refused_and_examples(site, visit):
    page = visit(site.url)
    for attack in ATTACKS:
        search(page, f"{attack} >> ")
        expect(page.locator("#results")).to_contain_text("nothing on one side")
        check(page)
    assert "<" not in "".join(page.locator(".example").all_text_contents())


def test_what_becomes_of_added_videos(site, visit):
    bad = [site.root / name for name in NAMES]
    for file in bad:
        file.write_bytes(b"no video")
    page = visit(site.url)
    page.get_by_role("tab", name="Add videos").click()
    expect(page.locator("#add-path")).to_contain_text(str(site.root))
    report = page.locator("#report")
    for asked in (*ATTACKS, "."):
        page.get_by_label("File or folder on the server").fill(asked)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(report).to_contain_text("could not be read" if asked == "." else "Nothing was added")
        check(page)
    named = report.locator("li b").all_text_contents()
    assert set(named) == {one_line(file.name) for file in bad}
    files = [{"name": name, "mimeType": "video/mp4", "buffer": b"no video"} for name in NAMES]
    files += [{"name": f"{attack}.html", "mimeType": "video/mp4", "buffer": b"x"} for attack in ATTACKS]
    page.set_input_files("#upload-files", files)
    expect(page.locator(".sent")).to_contain_text(f"{len(NAMES)} sent.")
    expect(report).to_contain_text("_img src_x onerror_hacked_1_")
    said = page.locator(".sent").text_content()
    assert IMAGE in said and not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said)
    check(page)


def test_news_of_reading(site, browser):
    """Each state of the report that the page goes through, also those that are gone too quickly to be seen."""
    clips = [make_clip(site.root / f"good {name}", [9]) for name in NAMES]
    page = browser.new_page()
    news = list(Adder(site.index, None, [site.root]).add_path("."))
    for html in news:
        page.set_content(f'<div id="report">{html}</div>')
        check(page)
    for clip in clips:
        assert any(one_line(clip.name) in shown(page, html) for html in news)
        clip.unlink()
    page.close()


def shown(page, html):
    page.set_content(html)
    return page.evaluate("document.body.innerText")


def test_the_page_of_results_in_one_file(site, browser, tmp_path):
    queries = [f"kiosk {attack}" for attack in ATTACKS]
    results = list(zip(queries, site.index.search(queries, top_k=20), strict=True))
    lost = results[0][1][0].__class__(**{**vars(results[0][1][0]), "path": f"/lost/{IMAGE}{TURNED}"})
    write_html_report(tmp_path / "report.html", [*results, (SCRIPT, [lost])], title=VECTOR)
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    text = page.evaluate("document.body.innerText")
    read = [text for number in range(len(ATTACKS)) for text in texts_of(number)]
    for shown_text in (*queries, VECTOR, *map(str, site.clips), *read):
        assert re.sub(r"\s+", " ", one_line(shown_text)) in re.sub(r"\s+", " ", text)
    assert page.title() == VECTOR
    assert page.evaluate("typeof hacked") == "undefined"
    ours = "html head meta title style body header h1 main section h2 p ol li img div ul span footer"
    found = page.evaluate("[...document.querySelectorAll('*')].map(part => part.localName)")
    assert set(found) <= set(ours.split())
    assert (
        page.evaluate(
            "[...document.querySelectorAll('*')].some(part => [...part.attributes].some("
            "each => /^on/i.test(each.name)))"
        )
        is False
    )
    page.close()


def test_subtitles_that_were_exported(site, browser):
    page = browser.new_page()
    for clip in site.clips[:-1]:
        cues = site.index.transcript(clip)
        found = page.evaluate(
            """async content => {
            const video = document.createElement("video"), track = document.createElement("track");
            track.src = URL.createObjectURL(new Blob([content], {type: "text/vtt"}));
            track.default = true; video.append(track); document.body.append(video); track.track.mode = "showing";
            await new Promise(done => { track.onload = track.onerror = done; });
            return [...track.track.cues].map(cue => {
              const shown = cue.getCueAsHTML(); document.body.append(shown.cloneNode(true)); return shown.textContent;
            });
            }""",
            write_cues(cues, "vtt"),
        )
        assert sorted(found) == sorted(cue.text for cue in cues if cue.end > cue.start)
        assert page.evaluate("typeof hacked") == "undefined"
    page.close()
