"""The website, built once and read in a browser: every page at two widths, and by keyboard."""

import json
from pathlib import Path

import pytest
import site_checks

from tools import website

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
VIEWS = {"wide": (1280, "light"), "narrow": (400, "dark")}
FURNITURE = ("Download", ".ipynb", "Contents", "Search", "To use Colab", "Show the setup cell")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built website."""
    folder = tmp_path_factory.mktemp("build")
    assert website.build(ROOT, folder) == 0, "Sphinx warned: see above"
    return folder / "html"


def html_pages(folder):
    """List the pages as addresses within the site."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.html") if "_static" not in path.parts
    )


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=site_checks.browser_path(), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def axe():
    """axe-core."""
    from axe_playwright_python.sync_playwright import Axe

    return Axe()


@pytest.fixture
def opened(browser, file_server):
    """Serve a folder to a new tab: ``opened(folder, width, scheme)`` gives tab, watch and address."""
    contexts = []

    def start(folder, width=1280, scheme="light"):
        base = file_server(folder)
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # milliseconds: a machine may have more to do than this test
        return page, site_checks.Watch(page, base), base

    yield start
    for context in contexts:
        context.close()


def test_every_notebook_and_page_is_there(site):
    names = set(html_pages(site))
    folders = ROOT / "notebooks", ROOT / "notebooks" / "solutions"
    sources = [path for folder in folders for path in folder.glob("[0-9]*.ipynb")]
    sources += (ROOT / "docs").glob("*.md")
    assert {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in sources} <= names
    assert {f"api/{module}.html" for module in website.CORE} | {"index.html", "search.html"} <= names


def test_links_images_and_addresses(site):
    pages = {}
    faults = [
        fault for name in html_pages(site) for fault in site_checks.static_faults(site / name, site, pages)
    ]
    assert faults == []
    assert sum(len(page.images) for page in pages.values()) > 50


def test_an_output_is_described_by_its_caption(site):
    book = json.loads((ROOT / "notebooks" / "01_transposed_convolution.ipynb").read_text(encoding="utf-8"))
    captions = [text for cell in book["cells"] if (text := "".join(cell["source"])).startswith("*Figure:")]
    alts = [alt for _, alt in site_checks.contents(site / "notebooks/01_transposed_convolution.html").images]
    first = website.caption_of(captions[0].split("*")[1])
    assert first in alts


def test_a_reader_downloads_the_notebook_as_it_is(site):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        downloaded = site / "_sources" / "notebooks" / path.name
        assert downloaded.read_bytes() == path.read_bytes()
        page = site_checks.contents(site / "notebooks" / f"{path.stem}.html")
        assert any(link.endswith(f"_sources/notebooks/{path.name}") for link in page.links)


def first_of_folders(names):
    """Choose a page of each folder, to stand for the others in what the style and the template decide."""
    return {name.rpartition("/")[0]: name for name in reversed(names)}.values()


def axe_runs(name, view, first):
    """Choose what axe-core reads of a page: reading all of every page, in each view, takes minutes."""
    if name in first:
        return site_checks.WHOLE
    if view == "narrow":  # in dark colours, which come from the style
        return site_checks.SCROLLING
    notebook = Path(name).parent.name == "notebooks"
    return site_checks.ALL_BUT_THE_COLOURS_OF_CODE if notebook else site_checks.WHOLE


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_typeset_accessible_and_asks_nobody(site, opened, axe, view):
    page, watch, base = opened(site, *VIEWS[view])
    names, faults = html_pages(site), []
    for name in names:
        page.goto(base + name)
        runs = axe_runs(name, view, first_of_folders(names))
        found = [*site_checks.page_faults(page), *site_checks.axe_faults(page, axe, runs)]
        faults += [f"{name}: {fault}" for fault in [*found, *watch.take()]]
    assert faults == []


def test_the_keyboard_reaches_everything(site, opened):
    page, _, base = opened(site)
    names, faults = html_pages(site), []
    for name in names:
        page.goto(base + name)
        part = "body" if name in first_of_folders(names) else "main"
        faults += [f"{name}: {fault}" for fault in site_checks.keyboard_faults(page, part)]
    assert faults == []


def test_search_finds_each_notebook(site, opened):
    page, watch, base = opened(site)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        title = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"][0].lstrip("# ").strip()
        page.goto(base + "index.html")
        page.keyboard.press("Control+k")
        page.keyboard.type(title.partition(". ")[2])
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#search-results a[href*='{path.stem}.html']", timeout=20_000)
    assert watch.take() == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_result_is_one_tab_away_and_quotes_the_text(site, opened, axe, view):
    page, _, base = opened(site, *VIEWS[view])
    page.goto(f"{base}search.html?q=bilinear kernel")
    page.wait_for_selector("#search-results li:nth-child(3) p.context")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#search-results li') !== null")
    quoted = " ".join(page.locator("#search-results p.context").all_inner_texts())
    assert not [words for words in FURNITURE if words in quoted]
    assert site_checks.axe_faults(page, axe) == [], "highlighted words have a background of their own"


def test_the_skip_link_leads_past_the_side_bar(site, opened):
    page, _, base = opened(site)
    page.goto(f"{base}notebooks/01_transposed_convolution.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_an_answer_is_folded_and_opens_with_the_keyboard_and_in_print(site, opened):
    page, _, base = opened(site)
    page.goto(f"{base}notebooks/solutions/01_transposed_convolution.html")
    answer = page.locator(".cell.tag_solution").first
    summary = page.locator("details.toggle-details > summary").first
    assert not answer.is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    assert answer.is_visible()
    page.reload()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".cell.tag_solution").first.is_visible()


def test_print_leaves_the_navigation_out(site, opened):
    page, _, base = opened(site)
    page.goto(f"{base}notebooks/01_transposed_convolution.html")
    navigation = (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer")
    for part in navigation:
        page.wait_for_selector(part, state="visible")
    page.emulate_media(media="print")
    for part in navigation:
        page.wait_for_selector(part, state="hidden")
    assert page.locator("h1:visible").count() == 1


# --- the checks can fail ------------------------------------------------------------------------------------

BAD = """<!DOCTYPE html><html lang="en"><head><title>Bad</title></head><body><main><h1>Bad</h1>
<img src="a.png" alt="../_images/a.png"><img src="https://example.org/b.png" alt="a dog">
<p style="color: #ccc; background: #fff">Pale words.</p><span class="math">\\(x\\)</span>
<a href="gone.html">gone</a> <a href="#nowhere">nowhere</a> <a href="https://example.org/">elsewhere</a>
<div style="width: 2000px">wide</div>
<a href="bad.html" id="trap" style="outline: none" onkeydown="event.preventDefault()">trap</a>
<a href="bad.html">behind the trap</a></main><div class="bd-sidebar-primary">LINKS</div></body></html>"""


@pytest.fixture
def bad(tmp_path):
    """A folder with a page that does everything wrong."""
    links = '<a href="bad.html">one of many</a>' * (site_checks.SIDE_STOPS + 1)
    (tmp_path / "bad.html").write_text(BAD.replace("LINKS", links), encoding="utf-8")
    return tmp_path


def test_bad_links_images_and_addresses_are_found(bad):
    assert site_checks.static_faults(bad / "bad.html", bad, {}) == [
        "bad.html: broken link gone.html",
        "bad.html: broken link #nowhere: no such part",
        "bad.html: https://example.org/b.png would be fetched",
        "bad.html: image a.png: its alternative text is '../_images/a.png'",
    ]


def test_bad_pages_are_found_in_the_browser(bad, opened, axe):
    page, watch, base = opened(bad)
    page.route("https://example.org/**", lambda route: route.abort())
    page.goto(f"{base}bad.html")
    faults = "\n".join([*site_checks.page_faults(page), *site_checks.axe_faults(page, axe), *watch.take()])
    assert "color-contrast" in str(site_checks.axe_faults(page, axe, site_checks.ALL_BUT_THE_COLOURS_OF_CODE))
    for fault in ("formula not typeset", "raw TeX", "sideways", "color-contrast (serious)", "status 404"):
        assert fault in faults
    assert "request to https://example.org/b.png" in faults
    faults = "\n".join(site_checks.keyboard_faults(page))
    assert "behind the trap" in faults and 'no sign of the focus on <a href="bad.html" id="trap"' in faults
    assert f"{site_checks.SIDE_STOPS + 1} stops of the Tab key in the side bar" in faults
