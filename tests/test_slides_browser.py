"""The decks in a real browser: nothing overflows, overlaps or is fetched, and the print has all pages."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.slides.__main__ import ROOT, build
from tools.slides.deck import deck_file

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NAMES = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if deck_file(path).is_file()]
SCRIPT = (Path(__file__).parent / "slides_measure.js").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def chromium(*arguments):
    """Run the browser without a window, and give what it prints."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,720", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def measured(deck, edit=lambda page: page):
    """Open a copy of a deck, and give the faults that the script finds in it."""
    page = edit(deck.read_text(encoding="utf-8")).replace("</body>", f"<script>{SCRIPT}</script></body>")
    copy = deck.with_name(f"measured_{deck.name}")
    copy.write_text(page, encoding="utf-8")
    dom = chromium("--virtual-time-budget=60000", "--dump-dom", copy.as_uri())
    found = re.search(r'<script type="application/json" id="measured">(.*?)</script>', dom, re.DOTALL)
    assert found, f"{deck.name}: the deck did not get ready"
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """Build the decks of all notebooks that have a deck file."""
    target = tmp_path_factory.mktemp("slides")
    assert build([ROOT / "notebooks" / f"{name}.ipynb" for name in NAMES], target) == []
    return target


@pytest.mark.parametrize("name", NAMES)
def test_no_slide_has_a_fault(decks, name):
    result = measured(decks / f"{name}.html")
    assert result["faults"] == []
    assert 12 <= result["slides"] <= 25


def test_the_print_has_a_page_for_every_click(decks, tmp_path):
    deck = decks / f"{NAMES[1]}.html"
    result, printed = measured(deck), tmp_path / "deck.pdf"
    chromium(
        "--virtual-time-budget=60000",
        "--no-pdf-header-footer",
        f"--print-to-pdf={printed}",
        f"{deck.as_uri()}?print-pdf",
    )
    pages = re.findall(rb"/Type\s*/Page\b(?!s)", printed.read_bytes())
    assert len(pages) == result["slides"] + result["clicks"]


FAULTS = {
    "an overflow": ("</h2>", "</h2>" + "<p>one line more</p>" * 40, "pixels high"),
    "a raw formula": ("</h2>", "</h2><p>$x</p>", "raw formula"),
    "no notes": ("Minutes", "About", "no notes"),
    "an early answer": ('part answer fragment"', 'part answer"', "answer without a prompt"),
    "a request": ("<body>", '<body><img src="http://127.0.0.1:9/x.png" alt="x">', "asks for http"),
    "an overlap": ("part output", 'part output" style="margin-top: -60px', "overlap"),
    "a broken image": ("data:image/jpeg;base64,", "data:image/jpeg;base64,x", "broken"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_script_finds_what_is_wrong(decks, kind):
    old, new, expected = FAULTS[kind]
    deck = decks / f"{NAMES[0]}.html"
    assert old in deck.read_text(encoding="utf-8")
    assert any(expected in fault for fault in measured(deck, lambda page: page.replace(old, new))["faults"])
